"""Every sample as a row: Parquet, CSV and JSONL. Dropped ones too, so that nothing need be guessed from absence.

Columns: sample (the row of the data set), id, path, label, given_label (as imported; another one where somebody
relabelled), score (empty where not scored), kept, decision (keep, drop or relabel where somebody decided), scored
(false where the rule has no score to go by: kept is then true, unless the rule ends with ! or somebody decided).
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from mimic.reports.exports.job import Job
from mimic.workspace.spreadsheets import harmless

COLUMNS = ("sample", "id", "path", "label", "given_label", "score", "kept", "decision", "scored")


def write_parquet(job: Job, target: Path) -> None:
    """One row group a span; rule, counts and versions also in the file's metadata, key ``mimic``."""
    tables = (table.select(COLUMNS) for table in job.selection.tables())
    first = next(tables)
    with pq.ParquetWriter(target, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
        writer.add_key_value_metadata({"mimic": json.dumps(job.facts, ensure_ascii=False)})


def write_csv(job: Job, target: Path) -> None:
    """Texts that a spreadsheet would run as a formula begin with an apostrophe; `load_filter` takes it off again."""
    tables = (_harmless(table.select(COLUMNS)) for table in job.selection.tables())
    first = next(tables)
    with pcsv.CSVWriter(target, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def write_jsonl(job: Job, target: Path) -> None:
    """An object a line, UTF-8."""
    with target.open("w", encoding="utf-8", newline="\n") as file:
        for table in job.selection.tables():
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in table.select(COLUMNS).to_pylist())


def _harmless(table: pa.Table) -> pa.Table:
    """The same table with every text that could be a formula marked as text."""
    for place, column in enumerate(table.schema):
        if pa.types.is_string(column.type):
            table = table.set_column(place, column, harmless(table.column(place)))
    return table
