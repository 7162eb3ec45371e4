"""Every format, read back by the library that it is for."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import webdataset
from cleanlab.classification import CleanLearning
from datasets import load_dataset
from open_clip_train.data import CsvDataset
from PIL import Image
from sklearn.dummy import DummyClassifier
from torchvision.datasets import ImageFolder

from mimic.errors import MimicError
from mimic.reports.exports import Options, write_export
from tests.reports.exports.conftest import CAPTIONS, CLASSES, DROPPED, MISSING, RELABELLED, RESCUED, WITHOUT_LABEL, N


def shade(image):
    """Which sample an image is: its grey value says so."""
    return round(np.asarray(image.convert("L"), dtype=float).mean() / 4)


def beside(export):
    return json.loads(export.path.with_name(export.path.name + ".json").read_text(encoding="utf-8"))


def test_parquet_says_what_it_is(pile, tmp_path):
    path = write_export(pile.decided, tmp_path / "out", "parquet").path
    frame = pd.read_parquet(path)
    assert frame["id"].tolist() == pile.ids
    assert frame["kept"].to_numpy().nonzero()[0].tolist() == pile.kept(True).tolist()
    np.testing.assert_array_equal(frame["score"].to_numpy(np.float32), pile.scores)
    assert frame.loc[RELABELLED, ["label", "given_label", "decision"]].tolist() == [CLASSES[3], CLASSES[0], "relabel"]
    facts = json.loads(pq.read_metadata(path).metadata[b"mimic"])
    assert facts["counts"] == pile.decided.counts()


def test_csv_holds_no_formula(pile, tmp_path):
    path = write_export(pile.decided, tmp_path / "out", "csv").path
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == N
    for row, given, label in zip(rows, pile.ids, pile.labels, strict=True):
        for cell in (row["id"], row["path"], row["label"], row["given_label"]):
            assert not re.match(r"[=+\-@\t\r\n＝＋－＠]", cell)
        assert row["id"].removeprefix("'") == given
        assert row["given_label"].removeprefix("'") == (label or "")
    assert rows[4]["id"] == "line\nbreak"


def test_jsonl_is_exact(pile, tmp_path):
    lines = write_export(pile.rule, tmp_path / "out", "jsonl").path.read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines[:-1]]
    assert [row["id"] for row in rows] == pile.ids
    assert [row["label"] for row in rows] == pile.labels
    assert [np.nan if row["score"] is None else row["score"] for row in rows] == pytest.approx(
        pile.scores.tolist(), nan_ok=True, rel=1e-7
    )


def test_datacomp_is_sorted_and_unique(pile, tmp_path):
    array = np.load(write_export(pile.decided, tmp_path / "out", "datacomp").path)
    assert array.dtype == np.dtype("u8,u8")
    uids = [f"{int(a):016x}{int(b):016x}" for a, b in array]
    assert uids == sorted(f"{(N - i) * 2**80 + i:032x}" for i in pile.kept(True).tolist())
    with pytest.raises(MimicError, match="'NA' in the column caption is no DataComp uid"):
        write_export(pile.decided, tmp_path / "no", "datacomp", Options(column="caption"))


def test_webdataset_reads_the_shards(pile, tmp_path):
    export = write_export(pile.decided, tmp_path / "out", "webdataset", Options(shard_size=20))
    shards = sorted(str(path) for path in export.path.iterdir())
    assert [Path(shard).name for shard in shards] == ["000000.tar", "000001.tar"]
    assert "2 shards" in export.notes
    assert "1 shard" in write_export(pile.decided, tmp_path / "one", "webdataset").notes
    read = list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).decode("pil"))
    expected = [i for i in pile.kept(True) if i != MISSING]
    assert [int(sample["__key__"]) for sample in read] == expected
    for number, sample in zip(expected, read, strict=True):
        assert sample["json"]["id"] == pile.ids[number]
        assert sample["txt"] == pile.captions[number]
        assert shade(sample.get("png") or sample["jpg"]) == number
        label = CLASSES[3] if number == RELABELLED else pile.labels[number]
        assert sample["json"]["label"] == label
        assert sample.get("cls") == (None if label is None else CLASSES.index(label))
    assert beside(export)["failures"]["reasons"] == {"file is missing": 1}


def test_datasets_reads_the_image_folder(pile, tmp_path):
    export = write_export(pile.decided, tmp_path / "out", "hf", Options(images="copy"))
    read = load_dataset(str(export.path), cache_dir=str(tmp_path / "cache"))
    assert set(read) == {"train", "te_st"}
    seen = {}
    for split in read.values():
        for row in split:
            seen[shade(row["image"])] = row
    assert sorted(seen) == [i for i in pile.kept(True) if i != MISSING]
    for number, row in seen.items():
        assert row["id"] == pile.ids[number]
        assert row["given_label"] == (pile.labels[number] or "")
        assert row["label"] == (CLASSES[3] if number == RELABELLED else pile.labels[number] or "")
    assert export.failures == 1


@pytest.mark.parametrize("images", ["symlink", "hardlink", "copy"])
def test_torchvision_reads_the_view(pile, tmp_path, images):
    export = write_export(pile.decided, tmp_path / "out", "imagefolder", Options(images=images))
    classes = json.loads((export.path / "classes.json").read_text(encoding="utf-8"))
    names = {one["index"]: one["class"] for one in classes}
    seen = {}
    for split in ("train", "te st"):
        read = ImageFolder(export.path / split, allow_empty=True)
        seen |= {shade(image): names[index] for image, index in read}
    expected = {i: pile.labels[i] for i in pile.kept(True)} | {RELABELLED: CLASSES[3]}
    del expected[MISSING], expected[WITHOUT_LABEL]
    assert seen == expected
    assert beside(export)["failures"]["reasons"] == {"file is missing": 1, "has no label": 1}
    assert any("allow_empty=True" in note for note in export.notes)
    first = next(path for path in export.path.rglob("*.png"))
    assert first.is_symlink() == (images == "symlink")
    assert (first.stat().st_nlink == 2) == (images == "hardlink")


def test_open_clip_reads_the_table(pile, tmp_path):
    export = write_export(pile.decided, tmp_path / "out", "open_clip")
    read = CsvDataset(str(export.path), shade, "filepath", "title", tokenizer=lambda texts: texts)
    got = dict(read[i] for i in range(len(read)))
    expected = {i: pile.captions[i] for i in pile.kept(True) if i != MISSING}
    expected[RELABELLED] = CLASSES[3]
    assert {number: title.strip() for number, title in got.items()} == expected
    assert set(CAPTIONS) & set(got)


def test_fiftyone_as_its_documentation_says(pile, tmp_path):
    export = write_export(pile.decided, tmp_path / "out", "fiftyone")
    labels = json.loads((export.path / "labels.json").read_text(encoding="utf-8"))["labels"]
    files = {str(p.relative_to(export.path / "data").with_suffix("")): p for p in export.path.glob("data/*/*")}
    assert files.keys() == labels.keys()
    for uuid, path in files.items():
        number = shade(Image.open(path))
        target = labels[uuid]
        if number == WITHOUT_LABEL:
            assert target is None
            continue
        assert target["label"] == (CLASSES[3] if number == RELABELLED else pile.labels[number])
        assert target["attributes"]["given_label"] == pile.labels[number]
    assert len(files) == pile.kept(True).size - 1


def test_cleanlab_prunes_what_we_drop(pile, tmp_path):
    frame = pd.read_parquet(write_export(pile.decided, tmp_path / "out", "cleanlab").path)
    assert frame.columns.tolist() == ["id", "is_label_issue", "label_score", "given_label", "predicted_label"]
    issues = set(range(N)) - set(pile.kept(True)) | {RELABELLED}
    assert set(frame.index[frame["is_label_issue"]]) == issues
    assert DROPPED in issues
    assert RESCUED not in issues
    assert frame.loc[RELABELLED, "predicted_label"] == CLASSES[3]
    assert frame["given_label"].fillna("").tolist() == [label or "" for label in pile.labels]
    scored = ~np.isnan(pile.scores)
    assert frame["label_score"].notna().tolist() == scored.tolist()
    assert frame["label_score"].between(0, 1)[scored].all()
    order = np.argsort(pile.scores[scored], kind="stable")
    assert frame["label_score"][scored].iloc[order].is_monotonic_increasing
    codes = np.array([CLASSES.index(label or "cat") for label in pile.labels])
    fitted = CleanLearning(DummyClassifier()).fit(np.zeros((N, 1)), codes, label_issues=frame[["is_label_issue"]])
    assert int(fitted.label_issues_mask.sum()) == len(issues)


@pytest.mark.parametrize("form", ["imagefolder", "hf", "fiftyone", "webdataset", "open_clip"])
def test_an_image_that_nobody_could_score_or_read_does_not_leave(pile, tmp_path, form):
    (broken,) = pile.root.glob("plain/30 *")
    whole, before = broken.read_bytes(), write_export(pile.rule, tmp_path / "before", form)
    broken.write_bytes(whole[:20])
    try:
        export = write_export(pile.rule, tmp_path / "after", form)
    finally:
        broken.write_bytes(whole)
    assert export.failures == before.failures + 1
    (reason,) = (each["reason"] for each in beside(export)["failures"]["examples"] if each["id"] == "id 30")
    assert reason.startswith(("broken image", "not an image"))
    files = [path for path in export.path.rglob("*") if path.is_file()] if export.path.is_dir() else [export.path]
    assert not any("000000030" in path.name or b"000000030" in path.read_bytes() for path in files)
    if form == "imagefolder":
        for split in ("train", "te st"):
            assert all(image.size for image, _ in ImageFolder(export.path / split, allow_empty=True))
