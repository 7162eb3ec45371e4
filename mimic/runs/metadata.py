"""DataComp's metadata as a data set of captions and a run that holds its CLIP scores."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from mimic.errors import MimicError
from mimic.files import make_folder, write_json
from mimic.sources.datacomp import Metadata, read_metadata
from mimic.workspace.datasets import Source
from mimic.workspace.layout import Dataset, Run, Workspace, first_facts
from mimic.workspace.locks import held
from mimic.workspace.metadata import create_metadata_dataset, score_tables
from mimic.workspace.publish import finished, publish


def import_metadata(workspace: Workspace, path: Path, name: str) -> tuple[Dataset, Run]:
    """Import a Parquet file, or a folder of them, that `is_metadata`. The same again gives what is there.

    Args:
        path: the file or folder.
        name: what to call the data set.

    Raises:
        MimicError: see `read_metadata` and `create_metadata_dataset`; files of 2³¹ rows or more.
    """
    found = read_metadata(path)
    if sum(found.rows) >= 2**31:
        raise MimicError(f"{path} has {sum(found.rows):,} rows and a data set holds less than 2³¹: import a part of it")
    dataset = create_metadata_dataset(workspace, name, found.files, found.columns, Source("metadata", path.resolve()))
    told = hashlib.sha256(f"{dataset.content} {list(found.scores)}".encode()).hexdigest()[:10]
    folder = make_folder(workspace.runs_folder / f"{name[:60]}-metadata-{told}")
    with held(folder):
        run = finished(workspace, folder.name)
        if run is None:
            if not (folder / "run.json").exists():
                write_json(folder / "run.json", _facts(folder.name, dataset, found))
            run = publish(workspace.run(folder.name), dataset, {}, score_tables(found.files, found.scores))
    return dataset, run


def _facts(name: str, dataset: Dataset, found: Metadata) -> dict[str, Any]:
    return {
        **first_facts(dataset.workspace, name, dataset.name, "import"),
        "config": {"columns": list(found.scores)},
        "main": next(iter(found.scores.values())),
        "signals": list(found.scores.values()),
        "meanings": {signal: f"{column}, imported from {found.path.name}" for column, signal in found.scores.items()},
        "samples": dataset.size,
        "shards": {"count": 1, "size": dataset.size},
        "file": {"name": found.path.name, "sha256": dataset.content},
    }
