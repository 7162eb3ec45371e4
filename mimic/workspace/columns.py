"""Somebody else's column, joined to a data set by its ids: Parquet, CSV, or NumPy.

.parquet, .csv   a column with ids and one with numbers
.npy             a structured array with such fields; or one number a sample, in the data set's order

Names that DataComp and LAION use are known, so that their files need no --id and no --value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from mimic.errors import MimicError
from mimic.workspace.files import quoted
from mimic.workspace.layout import Dataset, Run

SUFFIXES = (".parquet", ".csv", ".npy")
# Looked for in this order, without case.
IDS = ("id", "uid", "key", "sample_id", "path")


@dataclass(frozen=True)
class Known:
    """What a column of that name holds: the signal's name, and whether high is bad."""

    signal: str
    negate: bool = False


# Column → signal: DataComp's metadata and LAION's.
KNOWN = {
    "clip_b32_similarity_score": Known("clip_b32"),
    "clip_l14_similarity_score": Known("clip_l14"),
    "similarity": Known("clip"),
    "aesthetic": Known("aesthetic"),
    "aesthetic_score": Known("aesthetic"),
    "pwatermark": Known("neg_watermark", negate=True),
    "punsafe": Known("neg_unsafe", negate=True),
}


@dataclass(frozen=True)
class Column:
    """A column to be imported.

    Attributes:
        path: the file.
        id: its column with ids; None: a row is a sample, in the data set's order.
        value: its column with numbers.
        signal: what to call it here.
        negate: whether its natural sign is the other way.
    """

    path: Path
    id: str | None
    value: str
    signal: str
    negate: bool


@dataclass(frozen=True)
class Matched:
    """How a file's rows met the samples.

    Attributes:
        rows: of the file.
        matched: samples that got a number.
        unmatched: ids of the file that no sample has.
        duplicates: rows beyond the first of an id; the first counts.
        not_numbers: rows whose value is missing or no finite number.
    """

    rows: int
    matched: int
    unmatched: int
    duplicates: int
    not_numbers: int


def find_column(path: Path, id: str | None = None, value: str | None = None, negate: bool = False) -> Column:
    """Which columns of a file are meant.

    Args:
        path: .parquet, .csv or .npy.
        id, value: their names; None: a name that is known.
        negate: turn the sign round.

    Raises:
        MimicError: no such file or column; none is known, or several are; the file cannot be read.
    """
    if not path.is_file():
        raise MimicError(f"there is no file {path}: give one that ends in {', '.join(SUFFIXES)}")
    if path.suffix.lower() not in SUFFIXES:
        raise MimicError(f"{path} cannot be imported by its name: give one that ends in {', '.join(SUFFIXES)}")
    if path.suffix.lower() == ".npy" and (array := _array(path)).dtype.names is None:
        if array.ndim != 1:
            raise MimicError(f"{path} has the shape {array.shape}: it needs one number a sample, or named fields")
        return _named(path, None, value or path.stem, negate)
    names = _names(path)
    id = _chosen(path, names, id, [name for known in IDS for name in names if name.lower() == known][:1], "--id")
    value = _chosen(path, names, value, [name for name in names if name.lower() in KNOWN], "--value")
    return _named(path, id, value, negate)


def column_tables(connection: duckdb.DuckDBPyConnection, run: Run, dataset: Dataset, column: Column) -> Matched:
    """Makes the tables scores, predictions and failures of an imported column; the data set is attached as ``data``.

    Raises:
        MimicError: no id of the file is a sample's, or an array of another length.
    """
    _given(connection, dataset, column)
    signal = quoted(column.signal)
    connection.execute(
        "CREATE TEMP TABLE firsts AS SELECT key, min_by(value, place) AS value, count(*) AS times"
        " FROM given GROUP BY key"
    )
    connection.execute(
        f"CREATE TABLE scores AS SELECT s.sample, f.value AS {signal}"
        f" FROM data.samples s LEFT JOIN firsts f ON f.key = s.id ORDER BY {signal} NULLS LAST, s.sample"
    )
    connection.execute("CREATE TABLE predictions (sample INTEGER, rank INTEGER, label VARCHAR, logprob FLOAT)")
    connection.execute(
        "CREATE TABLE failures AS SELECT s.sample, s.id, s.path,"
        " CASE WHEN f.key IS NULL THEN 'not in the file' ELSE 'no number in the file' END AS reason"
        " FROM data.samples s LEFT JOIN firsts f ON f.key = s.id WHERE f.value IS NULL ORDER BY s.sample"
    )
    counts = connection.execute(
        "SELECT (SELECT count(*) FROM given),"
        f" (SELECT count({signal}) FROM scores),"
        " (SELECT count(*) FROM firsts f ANTI JOIN data.samples s ON f.key = s.id),"
        " (SELECT coalesce(sum(times - 1), 0)::BIGINT FROM firsts),"
        " (SELECT count(*) FROM given WHERE value IS NULL)"
    ).fetchall()[0]
    examples = [
        connection.execute(f"SELECT {name} FROM {table} LIMIT 1").fetchall()
        for name, table in (("key", "firsts"), ("id", "data.samples"))
    ]
    connection.execute("DROP TABLE firsts; DROP TABLE given")
    found = Matched(*counts)
    if found.unmatched + found.not_numbers >= found.rows and not found.matched:
        theirs, ours = (rows[0][0] if rows else None for rows in examples)
        raise MimicError(
            f"{column.path} gives no sample of data set {dataset.name!r} a number: its ids look like {theirs!r} and"
            f" the data set's like {ours!r}"
        )
    return found


def _given(connection: duckdb.DuckDBPyConnection, dataset: Dataset, column: Column) -> None:
    """The file's rows as a temporary table given(place, key, value)."""
    value = f"TRY_CAST({quoted(column.value)} AS FLOAT)"
    finite = f"CASE WHEN isfinite({value}) THEN {'-' if column.negate else ''}{value} END"
    if column.id is None:
        array = _array(column.path)
        if len(array) != dataset.size:
            raise MimicError(
                f"{column.path} holds {len(array):,} numbers and data set {dataset.name!r} has {dataset.size:,} samples"
            )
        connection.register("file", pa.table({column.value: array.astype(np.float64)}))
        rows = f"SELECT row_number() OVER () - 1 AS place, {quoted(column.value)} FROM file"
        connection.execute(
            f"CREATE TEMP TABLE given AS SELECT place, s.id AS key, {finite} AS value"
            f" FROM ({rows}) r JOIN data.samples s ON s.sample = r.place"
        )
    else:
        source = _source(column.path)
        if column.path.suffix.lower() == ".npy":
            array = _array(column.path)
            connection.register("file", pa.table({name: array[name] for name in (column.id, column.value)}))
            source = "file"
        connection.execute(
            f"CREATE TEMP TABLE given AS SELECT row_number() OVER () AS place, {quoted(column.id)}::VARCHAR AS key,"
            f" {finite} AS value FROM {source} WHERE {quoted(column.id)} IS NOT NULL"
        )
    connection.execute("DROP VIEW IF EXISTS file")


def _source(path: Path) -> str:
    literal = "'" + str(path).replace("'", "''") + "'"
    # Everything as text: an id like 007 must not turn into a number.
    return f"read_csv({literal}, all_varchar = true)" if path.suffix.lower() == ".csv" else f"read_parquet({literal})"


def _names(path: Path) -> list[str]:
    if path.suffix.lower() == ".npy":
        return list(_array(path).dtype.names or ())
    try:
        with duckdb.connect() as connection:
            connection.execute(f"SELECT * FROM {_source(path)} LIMIT 0")
            return [column[0] for column in connection.description or []]
    except duckdb.Error as error:
        raise MimicError(f"{path} cannot be read ({str(error).splitlines()[0]}): check the file") from None


def _array(path: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise MimicError(f"{path} cannot be read as a NumPy array ({error})") from None
    return array


def _chosen(path: Path, names: Sequence[str], asked: str | None, known: Sequence[str], option: str) -> str:
    listed = ", ".join(names[:12]) + (" …" if len(names) > 12 else "")
    if asked is not None and asked not in names:
        raise MimicError(f"{path} has no column {asked!r}: it has {listed}")
    if asked is None and len(known) != 1:
        what = f"several that could be meant ({', '.join(known)})" if known else "none of a known name"
        raise MimicError(f"{path} has {what}: say which with {option}; it has {listed}")
    return asked or known[0]


def _named(path: Path, id: str | None, value: str, negate: bool) -> Column:
    known = KNOWN.get(value.lower(), Known(value))
    signal = f"neg_{known.signal}" if negate and not known.negate else known.signal
    return Column(path, id, value, signal, negate != known.negate)
