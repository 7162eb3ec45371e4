"""A data set of captions without images, and its scores, straight from Parquet files by DuckDB.

The tables are those of any data set and any run. Memory stays below `files.MEMORY` and what the files' own buffers
need; beyond it DuckDB works on the disk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from mimic.errors import MimicError
from mimic.workspace.datasets import Source, add_dataset, refuse_duplicates, samples_schema, write_facts
from mimic.workspace.files import SAMPLES_FILE, building, quoted
from mimic.workspace.layout import Dataset, Run, Workspace
from mimic.workspace.publish import MakeTables


def create_metadata_dataset(
    workspace: Workspace, name: str, files: Sequence[Path], columns: Mapping[str, pa.DataType], source: Source
) -> Dataset:
    """A data set of the rows of Parquet files with columns ``uid`` and ``text``. The same again is the one there is.

    Args:
        files: in the order that the samples shall have.
        columns: further column → type; all of them are in every file.

    Raises:
        MimicError: no rows; a row without a uid, or two with one; see `add_dataset`.
    """

    def write(folder: Path) -> dict[str, Any]:
        digest = hashlib.sha256(json.dumps(list(columns)).encode())
        for file in files:
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        with building(folder / SAMPLES_FILE) as connection:
            rows = _samples(connection, files, columns, source)
        known: dict[str, Any] = {
            "samples": rows,
            "task": "captions",
            "images": False,
            "classes": [],
            "columns": list(columns),
        }
        known |= {"truth": False, "splits": {}, "content": digest.hexdigest()}
        return write_facts(folder, name, source, files[0].parent, known)

    return add_dataset(workspace, name, write)


def _samples(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    columns: Mapping[str, pa.DataType],
    source: Source,
) -> int:
    schema = samples_schema(columns, "captions")
    types = pa.RecordBatchReader.from_batches(schema, iter(()))
    connection.from_arrow(types).create("samples")
    further = "".join(f", {quoted(name)}" for name in columns)
    names = "".join(f", {quoted(name)}" for name in columns)
    try:
        # the order of a file's rows is kept, so that rowid = sample
        for first, file in _places(files):
            connection.execute(
                f"INSERT INTO samples (sample, id, caption{names})"
                f" SELECT ({first} + file_row_number)::INTEGER, uid::VARCHAR, text::VARCHAR{further}"
                f" FROM read_parquet({_literal(file)}, file_row_number = true)"
            )
    except duckdb.Error as error:
        raise MimicError(f"{file} cannot be read ({str(error).splitlines()[0]}): check the file") from None
    rows, known = connection.execute("SELECT count(*), count(id) FROM samples").fetchall()[0]
    if not rows:
        raise MimicError(f"{source.path} holds no samples, so there is nothing to import")
    if known < rows:
        raise MimicError(f"rows of {source.path} without a uid: {rows - known:,}, and every row needs one")
    refuse_duplicates(connection, source)
    connection.execute("CREATE TABLE classes (code INTEGER, name VARCHAR)")
    return int(rows)


def score_tables(files: Sequence[Path], scores: Mapping[str, str]) -> MakeTables:
    """Makes the tables of a run from columns (column → signal) of the files that a data set was made from."""

    def make(connection: duckdb.DuckDBPyConnection, run: Run) -> None:
        signals = ", ".join(
            f"CASE WHEN isfinite({quoted(column)}) THEN {quoted(column)}::FLOAT END AS {quoted(signal)}"
            for column, signal in scores.items()
        )
        rows = " UNION ALL ".join(
            f"SELECT ({first} + file_row_number)::INTEGER AS sample, {signals}"
            f" FROM read_parquet({_literal(file)}, file_row_number = true)"
            for first, file in _places(files)
        )
        connection.execute(
            f"CREATE TABLE scores AS SELECT * FROM ({rows}) ORDER BY {quoted(run.main)} NULLS LAST, sample"
        )
        connection.execute("CREATE TABLE predictions (sample INTEGER, rank INTEGER, label VARCHAR, logprob FLOAT)")
        connection.execute(
            "CREATE TABLE failures AS SELECT c.sample, s.id, s.path, 'no number in the file' AS reason"
            f" FROM scores c JOIN data.samples s ON s.rowid = c.sample WHERE c.{quoted(run.main)} IS NULL ORDER BY 1"
        )

    return make


def _places(files: Sequence[Path]) -> list[tuple[int, Path]]:
    """Each file with the number of its first row."""
    with duckdb.connect() as connection:
        counts = [
            connection.execute(f"SELECT num_rows FROM parquet_file_metadata({_literal(file)})").fetchall()[0][0]
            for file in files
        ]
    return list(zip([0, *accumulate(counts)], files, strict=False))


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
