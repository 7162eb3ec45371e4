"""Visits on the disk: what every sample scored each time that the training came by. Knows no torch.

FOLDER/visits.json              what was recorded and how
FOLDER/parts/00000.parquet …    rows in the order of the steps; a part appears whole or not at all
    sample int64 | id string    the sample's number, or the user's own name for it
    step int32                  the batch it was in, from 0 on
    epoch int32                 null where none was given
    batch_size int32
    score, weight, loss, margin float32; margin null without labels. NaN as it came
FOLDER/scores.duckdb            after `publish_visits`: tables visits and scores

The visit is not stored but counted: the how-manyth time, from 0, that a sample is seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mimic.errors import MimicError
from mimic.files import replacing
from mimic.workspace.files import building
from mimic.workspace.layout import Run

MEASURES = ("score", "weight", "loss", "margin")

# name → (one value a sample from its visits, what it means); the first is the main one, and higher is better.
SIGNALS = {
    "mimic_mean": ("avg(score)", "the Mimic Score, mean over visits"),
    "mimic_last": ("last(score ORDER BY visit)", "the Mimic Score at the last visit"),
    "weight_mean": ("avg(weight * batch_size)", "the weight in its batch, 1 = the batch's mean; mean over visits"),
    "logprob_mean": ("-avg(loss)", "minus the loss in nats, mean over visits"),
    "margin_mean": ("avg(margin)", "the label's logit minus the highest other one, mean over visits"),
}


@dataclass(frozen=True)
class Visits:
    """The samples × visits matrix of one measure.

    Attributes:
        samples: (N,), numbers or names, sorted.
        values: (N, V) float32, V the most visits of any sample; NaN where a sample has had fewer, or no value.
        epochs: (N, V) int32; −1 where there is none.
    """

    samples: NDArray[Any]
    values: NDArray[np.float32]
    epochs: NDArray[np.int32]


def visits_schema(key: pa.Field) -> pa.Schema:
    """The columns of a part; `key` is the field ``sample`` or ``id``."""
    counts = [pa.field(name, pa.int32()) for name in ("step", "epoch", "batch_size")]
    return pa.schema([key, *counts, *(pa.field(name, pa.float32()) for name in MEASURES)])


def parts_of(folder: Path) -> list[Path]:
    """Finished parts, in order of their numbers."""
    return sorted((folder / "parts").glob("[0-9]*.parquet"), key=lambda path: int(path.stem))


def write_part(folder: Path, number: int, table: pa.Table) -> None:
    """Puts rows on the disk under a number of their own."""
    path = folder / "parts" / f"{number:05}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        pq.write_table(table, temporary, write_statistics=False)  # by them DuckDB would take a NaN for impossible


def forget_from(part: Path, step: int) -> bool:
    """Drops a part's rows of a step and of all later ones, which a resumed run is going to make again.

    Returns:
        Whether the part still exists.
    """
    table = pq.read_table(part)
    kept = table.filter(pc.less(table["step"], step))
    if kept.num_rows == 0:
        part.unlink()
        return False
    if kept.num_rows < table.num_rows:
        write_part(part.parent.parent, int(part.stem), kept)
    return True


def read_visits(folder: Path | str, measure: str = "score") -> Visits:
    """The samples × visits matrix of a record, finished or not.

    Args:
        folder: what `GradMimic` was given as `record`.
        measure: ``"score"``, ``"weight"``, ``"loss"`` or ``"margin"``.

    Raises:
        MimicError: there is no such measure, or nothing is recorded there.
    """
    if measure not in MEASURES:
        raise MimicError(f"there is no measure {measure!r}: one of {', '.join(MEASURES)}")
    parts = parts_of(Path(folder))
    if not parts:
        raise MimicError(f"{folder} holds no recorded visits: give it to GradMimic as record=")
    table = pa.concat_tables([pq.read_table(part) for part in parts])
    steps = table["step"].to_numpy()
    keys = table[0].to_numpy()
    samples, rows = np.unique(keys, return_inverse=True)
    order = np.lexsort((np.arange(len(steps)), steps, rows))
    rows = rows[order]
    first = np.searchsorted(rows, np.arange(len(samples)))
    columns = np.arange(len(rows)) - first[rows]
    values = np.full((len(samples), int(columns.max()) + 1), np.nan, dtype=np.float32)
    values[rows, columns] = table[measure].to_numpy()[order]
    epochs = np.full(values.shape, -1, dtype=np.int32)
    epochs[rows, columns] = table["epoch"].fill_null(-1).to_numpy()[order]
    return Visits(samples, values, epochs)


def visit_tables(
    connection: duckdb.DuckDBPyConnection, parts: list[Path], signals: Sequence[str] = tuple(SIGNALS)
) -> None:
    """Makes tables ``visits`` and ``scores`` in an open database: the same rows and bits whatever the parts' sizes.

    `visits` is sorted by sample and visit; `scores` has a row a sample with some of `SIGNALS`, sorted by the first of
    them, the worst first.
    """
    key = pq.read_schema(parts[0]).names[0]
    listed = ", ".join("'" + str(part).replace("'", "''") + "'" for part in parts)
    connection.execute("SET threads = 1")  # sums of floats depend on their order
    connection.execute(
        f"CREATE TABLE visits AS SELECT {key}, (row_number() OVER (PARTITION BY {key} ORDER BY step, filename,"
        " file_row_number) - 1)::INTEGER AS visit, step, epoch, batch_size,"
        + ", ".join(f"nullif({name}, 'nan'::FLOAT) AS {name}" for name in MEASURES)
        + f" FROM read_parquet([{listed}], filename = true, file_row_number = true) ORDER BY {key}, visit"
    )
    columns = ", ".join(f"({SIGNALS[name][0]})::FLOAT AS {name}" for name in signals)
    connection.execute(
        f"CREATE TABLE scores AS SELECT {key}, {columns} FROM visits"
        f" GROUP BY {key} ORDER BY {signals[0]} NULLS LAST, {key}"
    )
    connection.execute("RESET threads")


def run_tables(connection: duckdb.DuckDBPyConnection, run: Run, failed: Mapping[int, str] | None = None) -> None:
    """The tables of a run that recorded visits, for `mimic.workspace.publish.publish`; keys are the data set's numbers.

    Args:
        connection: to the file being built, with the data set attached as ``data``.
        run: parts and signals are read from it.
        failed: sample number → why it could not be visited. Others that never were are not in `scores`.
    """
    others = [signal for signal in run.signals if signal != run.main]
    visit_tables(connection, run.parts, [run.main, *others])
    connection.execute("CREATE TABLE predictions (sample INTEGER, rank INTEGER, label VARCHAR, logprob FLOAT)")
    given = failed or {}
    numbers, reasons = pa.array(given.keys(), pa.int32()), pa.array(given.values(), pa.string())
    connection.register("failed", pa.table({"sample": numbers, "reason": reasons}))
    connection.execute(
        "CREATE TABLE failures AS SELECT sample, s.id, s.path, f.reason"
        " FROM failed f JOIN data.samples s USING (sample) ORDER BY sample"
    )
    connection.execute(
        "CREATE OR REPLACE TABLE scores AS SELECT * FROM"
        " (SELECT sample::INTEGER AS sample, * EXCLUDE (sample) FROM scores"
        " UNION ALL BY NAME SELECT sample FROM failed)"
        f" ORDER BY {run.main} NULLS LAST, sample"
    )
    connection.unregister("failed")


def publish_visits(folder: Path | str) -> Path:
    """Builds scores.duckdb beside the parts, with tables ``visits`` and ``scores``, for anyone with DuckDB.

    Returns:
        The file, complete; an earlier one is replaced.

    Raises:
        MimicError: nothing is recorded there.
    """
    folder = Path(folder)
    parts = parts_of(folder)
    if not parts:
        raise MimicError(f"{folder} holds no recorded visits: give it to GradMimic as record=")
    with building(folder / "scores.duckdb") as connection:
        visit_tables(connection, parts)
    return folder / "scores.duckdb"
