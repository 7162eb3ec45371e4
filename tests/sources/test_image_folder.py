"""Hugging Face's imagefolder: what `datasets` reads from it is what we read."""

import errno
import json
import os
from pathlib import Path

import datasets
import pytest

from mimic.errors import MimicError
from mimic.images import image_bytes, read_image
from mimic.sources.open import open_source
from tests.hostile import png


def write(folder: Path, rows: list[dict[str, object]]) -> None:
    folder.mkdir(parents=True)
    for row in rows:
        (folder / str(row["file_name"])).write_bytes(png(colour=str(row["text"]).split()[0]))
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


ROWS: list[dict[str, object]] = [
    {"file_name": "1.png", "text": "red thing", "n": 1},
    {"file_name": "2.png", "text": "blue thing", "n": 2},
]


def test_splits_as_datasets_has_them(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write(folder / "train", ROWS)
    write(folder / "test", ROWS[:1])
    listing = open_source(folder)
    ours = list(listing.samples())
    theirs = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))
    for split in ("train", "test"):
        mine = [sample for sample in ours if sample.split == split]
        assert [sample.caption for sample in mine] == list(theirs[split]["text"])
        for sample, row in zip(mine, theirs[split], strict=True):
            picture = read_image(image_bytes(listing.root, sample.path or ""))
            assert picture.convert("RGB").tobytes() == row["image"].convert("RGB").tobytes()
    assert {sample.extra["n"] for sample in ours} == {1, 2}


def test_one_folder_and_labels(tmp_path: Path) -> None:
    write(tmp_path / "data", [{**row, "label": 7} for row in ROWS])
    listing = open_source(tmp_path / "data")
    assert (listing.task, listing.classes, [s.label for s in listing.samples()]) == ("labels", ["7"], ["7", "7"])


def test_columns_that_do_not_match(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train", ROWS)
    write(tmp_path / "data" / "test", [{**ROWS[0], "n": ["x"]}])
    with pytest.raises(MimicError, match="do not match"):
        open_source(tmp_path / "data")


def test_a_folder_that_may_not_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog/a.png").write_bytes(png())
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert [sample.label for sample in open_source(tmp_path).samples()] == ["dog"]
    scandir = os.scandir

    def refused(folder: Path) -> object:
        if Path(folder).name == "cat":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(MimicError, match=r"cat cannot be read \(Permission denied\): check its permissions"):
        open_source(tmp_path)
