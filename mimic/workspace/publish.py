"""From finished parts to a published run: scores.duckdb, sorted, binned, and never written again.

parts/00000.parquet   one a shard: sample int32; a float32 column a signal, NaN = not scored; prediction_1..3 int32
                      (the model's outputs, best first) and prediction_logprob_1..3 float32, by the reference;
                      reference_agrees, start_agrees bool: whether the best output is the given label's;
                      reason string, null = scored. Its metadata hold the seconds it took and the SHA-256 of its values,
                      by which a part is known to be what was written
scores.duckdb         scores       a row a sample, NULL for NaN, sorted by the main signal, then by sample
                      bins         histograms of every signal, by class, cumulated
                      predictions  the reference's three best labels of each sample
                      failures     what could not be scored, and why
                      run          run.json flattened one level: key, JSON value
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mimic.data import Shard
from mimic.errors import MimicError
from mimic.files import write_json
from mimic.workspace.events import note
from mimic.workspace.files import building, is_sound, naming_damage, quoted
from mimic.workspace.layout import Dataset, Run, Workspace
from mimic.workspace.queries.connection import drawn
from mimic.workspace.sealed import DamagedFile, read_sealed, write_sealed

MakeTables = Callable[[duckdb.DuckDBPyConnection, Run], None]

BINS = 200
RANKS = (1, 2, 3)

_SCORES_FILE = "scores.duckdb"
_TAIL = 0.001  # bins are spaced between these quantiles, or one outlier would squeeze everything into a single bin
_DRAWN = 2_000_000  # rows that the quantiles are of, where there are more
_ROWS = 500_000
_SECONDS = b"seconds"

_LOG = logging.getLogger(__name__)


def part_schema(signals: Sequence[str]) -> pa.Schema:
    """The columns of a part, in order."""
    return pa.schema(
        [
            pa.field("sample", pa.int32()),
            *(pa.field(signal, pa.float32()) for signal in signals),
            *(pa.field(f"prediction_{rank}", pa.int32()) for rank in RANKS),
            *(pa.field(f"prediction_logprob_{rank}", pa.float32()) for rank in RANKS),
            pa.field("reference_agrees", pa.bool_()),
            pa.field("start_agrees", pa.bool_()),
            pa.field("reason", pa.string()),
        ]
    )


def write_part(run: Run, shard: Shard, table: pa.Table, seconds: float = 0.0) -> None:
    """Put a shard's results on the disk. Written last of a shard: a part's existence means that the shard is done.

    Args:
        run: the run, with its signals.
        shard: the shard.
        table: as `part_schema` says, a row a sample of the shard.
        seconds: how long the shard took; kept in the part, so that a run's time survives its interruptions.
    """
    if table.schema != part_schema(run.signals) or table.num_rows != len(shard):
        raise ValueError(f"part {shard.index} has {table.num_rows} rows of {table.schema}")
    path = run.part(shard)
    path.parent.mkdir(exist_ok=True)
    write_sealed(path, table, {_SECONDS: f"{seconds:.3f}"})
    note(run, "shard", shard=shard.index, samples=len(shard), seconds=round(seconds, 3))


def read_part(run: Run, shard: Shard) -> pa.Table:
    """What a finished shard gave, as `write_part` got it.

    Raises:
        MimicError: the part is damaged. It is removed, so that the run's own command does its shard again.
    """
    try:
        return read_sealed(run.part(shard))
    except DamagedFile as error:
        run.part(shard).unlink(missing_ok=True)
        again = f"run the command that made run {run.id} again, which does that shard again"
        raise MimicError(f"{error}: {again}") from None


def damaged_parts(run: Run) -> dict[str, str]:
    """Reads every finished part and removes the damaged ones: name → what is wrong with it."""
    found = {}
    for part in run.parts:
        try:
            read_sealed(part)
        except DamagedFile as error:
            found[part.name] = error.why
            part.unlink(missing_ok=True)
    return found


def read_parts(run: Run, columns: Sequence[str]) -> pa.Table:
    """Some columns of every finished part, in the order of the shards."""
    return pa.concat_tables([pq.read_table(part, columns=list(columns)) for part in run.parts])


def seconds_spent(run: Run) -> float:
    """How long the finished parts took, together."""
    return sum(float((pq.read_schema(part).metadata or {}).get(_SECONDS, 0)) for part in run.parts)


def finished(workspace: Workspace, run: str) -> Run | None:
    """The run, if it is published and its table can be read to the last row; None where its work is to be done."""
    if not (workspace.runs_folder / run / "run.json").exists():
        return None
    found = workspace.run(run)
    if found.scores_file is None:
        return None
    if not is_sound(found.scores_file):
        _LOG.warning("%s is damaged or gone: it is built again", found.scores_file)
        return None
    return found


def publish(run: Run, dataset: Dataset, facts: Mapping[str, Any], make_tables: MakeTables | None = None) -> Run:
    """Build scores.duckdb from the parts, then name it in run.json, which is what publishes the run.

    Args:
        run: everything of it has its part.
        dataset: what it scored.
        facts: what else run.json shall say from now on, e.g. ``seconds`` and ``check``.
        make_tables: makes the tables ``scores`` (sorted, a column a signal of the run), ``predictions``, ``failures``
            and any others, on a connection where the data set is attached as ``data``; by default from the parts of a
            scoring run. The tables ``bins`` and ``run`` are made here for every run.
    """
    final: dict[str, Any] = {key: value for key, value in run.facts.items() if key != "error"}
    with naming_damage(dataset.samples_file), building(run.folder / _SCORES_FILE) as connection:
        connection.execute(f"ATTACH {_literal(str(dataset.samples_file))} AS data (READ_ONLY)")
        (make_tables or score_tables)(connection, run)
        _bins(connection, run.signals)
        scored, failed = connection.execute(
            "SELECT (SELECT count(*) FROM scores) - count(*), count(*) FROM failures"
        ).fetchall()[0]
        final |= {
            "published": _SCORES_FILE,
            # of a table built again, the first time: it holds the same
            "published_at": run.facts.get("published_at", datetime.now(UTC).isoformat(timespec="seconds")),
            "counts": {"scored": scored, "not_scored": failed},
            **facts,
        }
        rows = list(_flattened(final))
        connection.register("flat", pa.table({"key": [k for k, _ in rows], "value": [v for _, v in rows]}))
        connection.execute("CREATE TABLE run AS SELECT key, value FROM flat")
        connection.unregister("flat")
        connection.execute("DETACH data")
    write_json(run.folder / "run.json", final)
    note(run, "published", file=final["published"], **final["counts"])
    return Run(run.folder, final)


def score_tables(connection: duckdb.DuckDBPyConnection, run: Run) -> None:
    """The tables scores, predictions and failures from the parts of a scoring run."""
    parts = ", ".join(_literal(str(part)) for part in run.parts)
    connection.execute(f"CREATE TEMP VIEW parts AS SELECT * FROM read_parquet([{parts}])")
    signals = ", ".join(f"nullif({quoted(s)}, 'nan'::FLOAT) AS {quoted(s)}" for s in run.signals)
    connection.execute(
        f"CREATE TABLE scores AS SELECT sample, {signals} FROM parts ORDER BY {quoted(run.main)} NULLS LAST, sample"
    )
    outputs = run.facts["outputs"]
    columns = ", ".join(f"prediction_{rank}" for rank in RANKS)
    logprobs = ", ".join(f"prediction_logprob_{rank}" for rank in RANKS)
    # The parts have the samples' order, so nothing is to be sorted: three rows a sample are the largest table.
    connection.execute("SET VARIABLE outputs = ?", [outputs])
    connection.execute(
        "CREATE TABLE predictions AS SELECT sample, rank, getvariable('outputs')[code + 1] AS label, logprob"
        f" FROM (SELECT sample, unnest({list(RANKS)}) AS rank, unnest([{columns}]) AS code,"
        f" unnest([{logprobs}]) AS logprob FROM parts) WHERE code IS NOT NULL"
    )
    connection.execute(
        "CREATE TABLE failures AS SELECT p.sample, s.id, s.path, p.reason"
        " FROM parts p JOIN data.samples s USING (sample) WHERE p.reason IS NOT NULL ORDER BY p.sample"
    )


def _bins(connection: duckdb.DuckDBPyConnection, signals: Sequence[str]) -> None:
    connection.execute(
        "CREATE TABLE bins"
        " (signal VARCHAR, bin INTEGER, low DOUBLE, high DOUBLE, label INTEGER, n BIGINT, below BIGINT)"
    )
    classes = connection.execute("SELECT coalesce(max(label_code), -1) + 1 FROM data.samples").fetchall()[0][0]
    edges = {signal: found for signal in signals if (found := _edges(connection, signal)) is not None}
    # The last column counts samples without a label.
    counts = {signal: np.zeros((max(len(edges[signal]) - 1, 1), classes + 1), np.int64) for signal in edges}
    for labels, columns in _columns(connection, list(edges)):
        for signal, values in columns.items():
            known = ~np.isnan(values)
            codes = np.where(labels[known] < 0, classes, labels[known])
            cells = bin_of(edges[signal], values[known]) * (classes + 1) + codes
            counts[signal] += np.bincount(cells, minlength=counts[signal].size).reshape(counts[signal].shape)
    for signal in edges:
        connection.register("counted", _bins_table(signal, edges[signal], counts[signal]))
        connection.execute("INSERT INTO bins SELECT * FROM counted")
        connection.unregister("counted")


def _edges(connection: duckdb.DuckDBPyConnection, signal: str) -> NDArray[np.float64] | None:
    """Bin edges, at most `BINS` + 1 of them; None where no sample has the signal; one edge where all are equal."""
    name = quoted(signal)
    least, most, count = connection.execute(f"SELECT min({name}), max({name}), count(*) FROM scores").fetchall()[0]
    if least is None:
        return None
    if least == most:
        return np.array([least], dtype=np.float64)
    # Of more rows than this a draw, always the same: quantiles hold every value in memory, and here they only space
    # the bins, which hold every sample whatever their edges are.
    low, high = connection.execute(
        f"SELECT quantile_cont({name}, {_TAIL}), quantile_cont({name}, {1 - _TAIL})"
        f" FROM scores WHERE {drawn('sample', min(_DRAWN / count, 1))}"
    ).fetchall()[0]
    if low is None or low == high:
        low, high = least, most
    edges = np.unique(np.linspace(low, high, BINS + 1, dtype=np.float64))
    edges[0], edges[-1] = least, most
    return edges


def bin_of(edges: NDArray[np.float64], values: NDArray[np.float32]) -> NDArray[np.intp]:
    """The bin of each value, all within the edges: ``[low, high)``, but the last bin includes its upper edge."""
    place: NDArray[np.intp] = np.searchsorted(edges, values.astype(np.float64), side="right") - 1
    return np.minimum(place, max(len(edges) - 2, 0))


def _columns(
    connection: duckdb.DuckDBPyConnection, signals: Sequence[str]
) -> Iterator[tuple[NDArray[np.int32], dict[str, NDArray[np.float32]]]]:
    """Label codes (−1: none) and the signals' values (NaN: not scored) of all samples, in pieces."""
    reader = connection.sql(
        f"SELECT coalesce(s.label_code, -1) AS label, {', '.join(f'c.{quoted(signal)}' for signal in signals)}"
        " FROM scores c JOIN data.samples s USING (sample)"
    ).to_arrow_reader(_ROWS)
    for batch in reader:
        label, *values = (column.to_numpy(zero_copy_only=False) for column in batch.columns)
        yield label, dict(zip(signals, values, strict=True))


def _bins_table(signal: str, edges: NDArray[np.float64], counts: NDArray[np.int64]) -> pa.Table:
    totals = counts.sum(axis=1)
    below = np.cumsum(totals) - totals
    bins, labels = np.nonzero(counts)
    codes = np.where(labels == counts.shape[1] - 1, -1, labels)
    upper = edges[1:] if len(edges) > 1 else edges
    return pa.table(
        {
            "signal": pa.array([signal] * len(bins)),
            "bin": pa.array(bins, pa.int32()),
            "low": edges[bins],
            "high": upper[bins],
            "label": pa.array(codes, pa.int32(), mask=codes < 0),
            "n": counts[bins, labels],
            "below": below[bins],
        }
    )


def _flattened(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in facts.items():
        if isinstance(value, dict) and value:
            yield from ((f"{key}.{inner}", json.dumps(item, ensure_ascii=False)) for inner, item in value.items())
        else:
            yield key, json.dumps(value, ensure_ascii=False)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
