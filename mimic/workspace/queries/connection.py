"""One in-memory DuckDB for all readers: published files are attached to it read-only, each question has its own cursor.

A published file never changes, so answers may be remembered for as long as `Published` compares equal.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from mimic.data import Task
from mimic.errors import MimicError
from mimic.storage import Location
from mimic.workspace.files import how_to_mend, naming_damage, quoted
from mimic.workspace.layout import Dataset, Run

Parameters = Sequence[Any] | Mapping[str, Any]

# The server once grew to 0.8 GB, nearly all of it DuckDB's buffers; beyond this they go back to the file.
_MEMORY = "1GB"

_LOCK = threading.Lock()
_ATTACHED: dict[Path, tuple[str, tuple[int, int]]] = {}


@dataclass(frozen=True)
class Published:
    """A published run beside its data set: what questions are asked of. Small, hashable, equal while nothing changed.

    Attributes:
        run, dataset: their names.
        published_at: tells a rebuilt run from the one before.
        main: the signal that the scores are sorted by.
        classes: class names; a label's code is its place.
        columns: the data set's further columns.
        task, has_truth, has_images: as of the data set.
        scored, not_scored: how many samples of the run are one or the other.
    """

    run: str
    dataset: str
    published_at: str
    scores_file: Path
    samples_file: Path
    root: Location
    main: str
    signals: tuple[str, ...]
    classes: tuple[str, ...]
    columns: tuple[str, ...]
    task: Task
    has_truth: bool
    has_images: bool
    scored: int
    not_scored: int

    @classmethod
    def of(cls, run: Run, dataset: Dataset) -> Published:
        """The run's readable side.

        Raises:
            MimicError: the run is not published.
        """
        if run.scores_file is None:
            raise MimicError(
                f"run {run.id} is {run.state}, so it has no scores to show: "
                f"`mimic show {run.id}{run.workspace.option}` says more"
            )
        return cls(
            run=run.id,
            dataset=dataset.name,
            published_at=str(run.facts.get("published_at")),
            scores_file=run.scores_file,
            samples_file=dataset.samples_file,
            root=dataset.root,
            main=run.main,
            signals=tuple(run.signals),
            classes=tuple(dataset.classes),
            columns=tuple(dataset.columns),
            task=dataset.task,
            has_truth=dataset.has_truth,
            has_images=dataset.has_images,
            scored=run.counts["scored"],
            not_scored=run.counts["not_scored"],
        )

    @property
    def size(self) -> int:
        """Samples of the run, scored or not."""
        return self.scored + self.not_scored

    def column(self, signal: str) -> str:
        """The signal's column as SQL writes it.

        Raises:
            MimicError: the run has no such signal.
        """
        if signal not in self.signals:
            raise MimicError(f"run {self.run} has no signal {signal!r}: it has {', '.join(self.signals)}")
        return quoted(signal)


@dataclass(frozen=True)
class Tables:
    """A cursor, and how its SQL calls the tables of a published run; `visits` and `curves` only a training run has."""

    cursor: duckdb.DuckDBPyConnection
    scores: str
    bins: str
    predictions: str
    failures: str
    run: str
    visits: str
    curves: str
    samples: str

    def has(self, table: str) -> bool:
        """Whether the run has that table, named as here."""
        database, _, name = table.partition(".")
        sql = "SELECT count(*) FROM duckdb_tables() WHERE database_name = ? AND table_name = ?"
        return bool(self.rows(sql, [database, name])[0][0])

    def rows(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """The answer as tuples, drained."""
        return self.cursor.execute(sql, parameters).fetchall()

    def frame(self, sql: str, parameters: Parameters = ()) -> pd.DataFrame:
        """The answer as a DataFrame, drained; None where a text is missing (pandas would say NaN, which is true)."""
        frame = self.cursor.execute(sql, parameters).df()
        for column in frame.columns[frame.dtypes == "str"]:
            words = frame[column].to_numpy(dtype=object, copy=True)
            words[frame[column].isna().to_numpy()] = None
            frame[column] = pd.Series(words, frame.index, dtype=object)
        return frame

    def arrow(self, sql: str, parameters: Parameters = ()) -> pa.Table:
        """The answer as an Arrow table, drained."""
        return self.cursor.sql(sql, params=parameters).to_arrow_table()

    def batches(self, sql: str, parameters: Parameters, rows: int) -> Iterator[pa.RecordBatch]:
        """The answer in pieces of at most `rows`; the cursor is busy until the last one."""
        yield from self.cursor.sql(sql, params=parameters).to_arrow_reader(rows)


@contextmanager
def tables(published: Published) -> Iterator[Tables]:
    """A cursor over a published run, closed at the end. Safe to use from many threads, one cursor each."""
    scores, samples = _attach(published.scores_file), _attach(published.samples_file)
    of_run = ("scores", "bins", "predictions", "failures", "run", "visits", "curves")
    names = {name: f"{scores}.{name}" for name in of_run}
    with naming_damage(published.scores_file, published.samples_file), cursor() as own:
        yield Tables(own, **names, samples=f"{samples}.samples")


@contextmanager
def cursor() -> Iterator[duckdb.DuckDBPyConnection]:
    """A cursor of the shared connection: as good as a connection of one's own, without its cost."""
    own = _connection().cursor()
    try:
        yield own
    finally:
        own.close()


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    # No extension is ever loaded or fetched at run time: what is not built in is not needed.
    extensions = {"autoload_known_extensions": "false", "autoinstall_known_extensions": "false"}
    return duckdb.connect(":memory:", config={"memory_limit": _MEMORY, **extensions})


def _attach(path: Path) -> str:
    """The name under which the file is attached. A file put in another's place is attached afresh."""
    try:
        seen = path.stat()
    except FileNotFoundError:
        _detach(path)
        raise MimicError(f"{path} is gone: {how_to_mend(path)}") from None
    version = (seen.st_ino, seen.st_mtime_ns)
    with _LOCK:
        name, known = _ATTACHED.get(path, ("", (0, 0)))
        if known == version:
            return name
        if name:
            _connection().execute(f"DETACH {name}")
            del _ATTACHED[path]
        name = "f" + hashlib.sha256(f"{path}{version}".encode()).hexdigest()[:16]
        literal = "'" + str(path).replace("'", "''") + "'"
        with naming_damage(path):
            _connection().execute(f"ATTACH {literal} AS {name} (READ_ONLY)")
        _ATTACHED[path] = (name, version)
        return name


def _detach(path: Path) -> None:
    """Let go of a file that is gone, or its bytes would lie on the disk for as long as this process lives."""
    with _LOCK:
        name, _ = _ATTACHED.pop(path, ("", (0, 0)))
        if name:
            _connection().execute(f"DETACH {name}")


def numbered(samples: Sequence[int]) -> pa.Table:
    """Some samples as a table to be joined with, and their places in the order given: columns place, sample."""
    numbers = pa.array([int(sample) for sample in samples], pa.int32())
    return pa.table({"place": pa.array(range(len(samples)), pa.int32()), "sample": numbers})


def shuffled(column: str, seed: int) -> str:
    """SQL whose order over an integer column is a fixed shuffle of its rows, another one for each seed."""
    # moved off zero, whose hash is zero; spread by a prime, so that neighbouring seeds share nothing
    return f"hash({column}::BIGINT + {(int(seed) + 1) * 1_000_003})"


def drawn(column: str, share: float, seed: int = 0) -> str:
    """SQL that lets through about this share of the rows, 0 … 1, the first of a shuffle: a draw without a sort."""
    return f"{shuffled(column, seed)} < {int(share * 2**64)}::UBIGINT" if share < 1 else "true"


def float32_at_least(value: float) -> float:
    """The lowest float32 that is ≥ `value`: for a float32 score s, s ≥ value ⇔ s ≥ this, and s < value ⇔ s < this.

    Compared so, DuckDB need not widen the column, and skips the row groups that lie wholly on one side.
    """
    with np.errstate(over="ignore"):
        nearest = np.float32(value)
    if math.isinf(value) or float(nearest) >= value:
        return float(nearest)
    return float(np.nextafter(nearest, np.float32(np.inf)))
