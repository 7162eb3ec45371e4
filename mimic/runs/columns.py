"""Importing somebody else's column as a run of a data set, so that pages show and compare it like any signal."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import duckdb

from mimic.files import make_folder, write_json
from mimic.workspace.columns import Column, Matched, column_tables
from mimic.workspace.layout import Dataset, Run, Workspace, first_facts
from mimic.workspace.locks import held
from mimic.workspace.publish import finished, publish


def import_column(workspace: Workspace, dataset: Dataset, column: Column) -> tuple[Run, Matched]:
    """Publish a file's column as a run. The same file again gives the run that is there.

    Args:
        workspace: where the run goes.
        dataset: whose samples the file's ids are.
        column: what to read, see `find_column`.

    Returns:
        The published run, and how the file's rows met the samples.

    Raises:
        MimicError: see `column_tables`.
    """
    digest = _sha256(column.path)
    told = [dataset.content, digest, column.id, column.value, column.signal, column.negate]
    name = re.sub(r"[^A-Za-z0-9_]+", "-", f"{dataset.name}-{column.signal}").strip("-")[:60]
    folder = make_folder(workspace.runs_folder / f"{name}-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:10]}")
    with held(folder):
        run = finished(workspace, folder.name)
        if run is None:
            if not (folder / "run.json").exists():
                write_json(folder / "run.json", _facts(folder.name, dataset, column, digest))
            run = workspace.run(folder.name)
            facts: dict[str, object] = {}

            def make(connection: duckdb.DuckDBPyConnection, run: Run) -> None:
                facts["matched"] = vars(column_tables(connection, run, dataset, column))

            try:
                run = publish(run, dataset, facts, make)
            except BaseException:
                (folder / "run.json").unlink()
                raise
    return run, Matched(**run.facts["matched"])


def _facts(name: str, dataset: Dataset, column: Column, digest: str) -> dict[str, object]:
    sign = "minus " if column.negate else ""
    return {
        **first_facts(dataset.workspace, name, dataset.name, "import"),
        "config": {"id": column.id, "value": column.value, "negate": column.negate},
        "main": column.signal,
        "signals": [column.signal],
        "meanings": {column.signal: f"{sign}{column.value}, imported from {column.path.name}"},
        "samples": dataset.size,
        "shards": {"count": 1, "size": dataset.size},
        "file": {"name": column.path.name, "sha256": digest},
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
