"""What leaves as files: every sample's decision, with the rule and the counts beside it.

The same filter on the same run gives the same bytes, however often it is exported.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from mimic.errors import MimicError
from mimic.filters.rules import ThresholdRule
from mimic.workspace.files import finish, temporary_name, write_json
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.rows import kept_rows

FORMATS = ("parquet", "csv")

_ROWS = 100_000


@dataclass(frozen=True)
class Export:
    """A written export: its file, its SHA-256, and how many samples are kept, dropped and not scored."""

    path: Path
    sha256: str
    counts: dict[str, int]


def write_export(published: Published, rule: ThresholdRule, path: Path, form: str) -> Export:
    """Write every sample of the rule's run with its decision; ``<path>.json`` beside it holds rule, counts and hash.

    Args:
        published: the run that the rule names.
        path: the file to write; it appears whole.
        form: ``parquet`` (rule and counts also in its metadata, key ``mimic``) or ``csv``.

    Columns: sample, id, path, label, <signal> (empty where not scored), kept.

    Raises:
        MimicError: an unknown form, or a rule of another run.
    """
    if form not in FORMATS:
        raise MimicError(f"no export format {form!r}: choose {' or '.join(FORMATS)}")
    if rule.run != published.run:
        raise MimicError(f"the rule belongs to run {rule.run}, not to {published.run}: open it there")
    temporary = temporary_name(path)
    tally = _Tally(rule.signal)
    tables = tally.counted(_even(kept_rows(published, rule.signal, rule.threshold, rule.drop_unscored)))
    with temporary.open("wb") as file:
        if form == "parquet":
            _write_parquet(file, tables, tally, _facts(published, rule))
        else:
            _write_csv(file, tables)
    with temporary.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    finish(temporary, path)
    facts = _facts(published, rule) | {"counts": tally.counts, "file": path.name, "sha256": digest}
    write_json(path.with_name(path.name + ".json"), facts)
    return Export(path, digest, tally.counts)


def export_bytes(published: Published, rule: ThresholdRule, form: str) -> bytes:
    """The file of `write_export` as bytes, for a download."""
    with tempfile.TemporaryDirectory(prefix="mimic-") as folder:
        return write_export(published, rule, Path(folder) / f"export.{form}", form).path.read_bytes()


class _Tally:
    """Counts samples as they pass; a sample without a score is counted apart, whatever becomes of it."""

    def __init__(self, signal: str) -> None:
        self.signal = signal
        self.counts = {"kept": 0, "dropped": 0, "not_scored": 0}

    def counted(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        for table in tables:
            scored = pc.is_valid(table[self.signal])
            kept = pc.sum(pc.and_(scored, table["kept"])).as_py() or 0
            missing = table[self.signal].null_count
            self.counts["kept"] += kept
            self.counts["not_scored"] += missing
            self.counts["dropped"] += table.num_rows - missing - kept
            yield table


def _even(batches: Iterable[pa.RecordBatch], rows: int = _ROWS) -> Iterator[pa.Table]:
    """The same rows in tables of `rows` each, so that files do not depend on how the reader happened to cut them."""
    pending: list[pa.RecordBatch] = []
    waiting = 0
    for batch in batches:
        pending.append(batch)
        waiting += batch.num_rows
        while waiting >= rows:
            table = pa.Table.from_batches(pending)
            yield table.slice(0, rows)
            pending = table.slice(rows).to_batches()
            waiting -= rows
    if pending:
        yield pa.Table.from_batches(pending)


def _write_parquet(file: BinaryIO, tables: Iterator[pa.Table], tally: _Tally, facts: dict[str, Any]) -> None:
    first = next(tables)
    with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
        writer.add_key_value_metadata({"mimic": json.dumps(facts | {"counts": tally.counts}, ensure_ascii=False)})


def _write_csv(file: BinaryIO, tables: Iterator[pa.Table]) -> None:
    first = next(tables)
    with pcsv.CSVWriter(file, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _facts(published: Published, rule: ThresholdRule) -> dict[str, Any]:
    return {"dataset": published.dataset, "run": published.run, "rule": rule.model_dump(), "reason": rule.reason}
