"""Captions that leave: as shards, as open_clip's table and as DataComp's subset, each read as its own readers do."""

from __future__ import annotations

import bisect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from open_clip_train.data import CsvDataset

from benchmarks.metadata import write_metadata
from mimic.filters.signal_rules import ThresholdRule
from mimic.images import image_bytes
from mimic.reports.exports import Export, Selection, write_export
from mimic.runs.importing import import_dataset
from mimic.runs.metadata import import_metadata
from mimic.sources.open import open_source
from mimic.workspace.layout import Run, Workspace
from mimic.workspace.queries.dense import Dense
from mimic.workspace.samples import read_samples
from tests import hostile
from tests.pages import captioned


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace(tmp_path_factory.mktemp("captions"))
    captioned.build(made)
    return made


def exported(workspace: Workspace, run: Run, form: str, path: Path, threshold: float) -> tuple[Export, Selection]:
    rule = ThresholdRule(run=run.id, signal=run.main, threshold=threshold)
    selection = Selection(Dense(workspace, workspace.dataset(run.dataset)), rule)
    return write_export(selection, path, form), selection


def test_shards_out_of_shards(workspace: Workspace, tmp_path: Path) -> None:
    export, selection = exported(workspace, workspace.run("captions-run"), "webdataset", tmp_path / "out", 0.0)
    kept = [row["sample"] for row in selection.kept()]
    samples = read_samples(workspace.dataset("captions"), 0, 1000)
    shards = sorted(str(file) for file in export.path.iterdir())
    read = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert [int(one["__key__"]) for one in read] == kept
    assert 0 < len(kept) < 1000
    for number, one in zip(kept, read, strict=True):
        assert one["txt"].decode() == samples[number].caption
        assert one["webp"] == image_bytes(captioned.SAMPLE, samples[number].path or "")
    again = list(open_source(export.path).samples())
    assert [one.id for one in again] == [samples[number].id for number in kept]
    assert [one.caption for one in again] == [samples[number].caption for number in kept]
    assert export.failures == 0


def test_open_clip_reads_the_captions(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    hostile.manifest(tmp_path / "m.csv", hostile.CAPTIONS)
    dataset, _ = import_dataset(workspace, tmp_path / "m.csv", "c")
    run = captioned.score(workspace, dataset, "r")
    export, _ = exported(workspace, run, "open_clip", tmp_path / "out.tsv", -99.0)
    read = CsvDataset(str(export.path), lambda image: image.size, "filepath", "title", tokenizer=lambda texts: texts)
    assert [read[i][1].strip() for i in range(len(read))] == [text.strip() for text in hostile.CAPTIONS]


def test_open_clips_table_cannot_lead_into_a_tar(workspace: Workspace, tmp_path: Path) -> None:
    export, selection = exported(workspace, workspace.run("captions-run"), "open_clip", tmp_path / "out.tsv", 0.0)
    assert export.failures == selection.counts()["kept"]
    assert "lies in a tar" in json.dumps(json.loads((tmp_path / "out.tsv.json").read_text())["failures"])


def test_the_image_folder_takes_them_out_of_the_tar(workspace: Workspace, tmp_path: Path) -> None:
    export, selection = exported(workspace, workspace.run("captions-run"), "hf", tmp_path / "out", 1.5)
    files = list(export.path.rglob("*.webp"))
    assert len(files) == selection.counts()["kept"]
    assert not any(file.is_symlink() for file in files)
    again = {sample.id: sample.caption for sample in open_source(export.path).samples()}
    assert again == {row["id"]: row["further"] for row in selection.kept(further="caption")}


def resharder_keeps(subset: Any, uid: str) -> bool:
    """DataComp's own rule: the uid's halves as (u8, u8), looked up by binary search in the sorted file."""
    key = (int(uid[:16], 16), int(uid[16:], 16))
    place = bisect.bisect_left(subset, key, key=lambda pair: (int(pair[0]), int(pair[1])))
    return place < len(subset) and tuple(int(half) for half in subset[place]) == key


@pytest.mark.parametrize("with_images", [True, False])
def test_datacomp_finds_who_is_kept_and_nobody_else(with_images: bool, workspace: Workspace, tmp_path: Path) -> None:
    if with_images:
        run, line = workspace.run("captions-run"), 0.0
    else:
        write_metadata(tmp_path / "m.parquet", 3000)
        workspace = Workspace(tmp_path / "w")
        run, line = import_metadata(workspace, tmp_path / "m.parquet", "pool")[1], 0.21
    export, selection = exported(workspace, run, "datacomp", tmp_path / "out.npy", line)
    subset = np.load(export.path)
    kept = {row["id"] for row in selection.kept()}
    everyone = read_samples(workspace.dataset(run.dataset), 0, 10_000)
    assert {sample.id for sample in everyone if resharder_keeps(subset, sample.id)} == kept
    assert 0 < len(kept) < len(everyone)
