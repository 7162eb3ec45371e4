"""COCO's captions: an annotation is a sample, those of one image are a group; what does not fit is counted."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from mimic.cli import app
from mimic.errors import MimicError
from mimic.sources.open import open_source
from mimic.workspace.layout import Workspace
from mimic.workspace.samples import read_samples

TOLD: dict[str, Any] = {
    "info": {"year": 2017},
    "images": [
        {"id": 5, "file_name": "05.jpg", "width": 64, "height": 48},
        {"id": 3, "file_name": "03.jpg", "width": "wide"},
        {"id": 4, "file_name": "04.jpg"},
        {"id": "x", "file_name": "x.jpg"},
    ],
    "annotations": [
        {"id": 1, "image_id": 3, "caption": "A cat."},
        {"id": 2, "image_id": 5, "caption": "Two dogs.\0"},
        {"id": 3, "image_id": 5, "caption": "Dogs at play."},
        {"id": 4, "image_id": 99, "caption": "Nobody."},
        {"id": 5, "image_id": 3, "bbox": [1, 2, 3, 4]},
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in ("03.jpg", "05.jpg"):
        Image.new("RGB", (4, 4)).save(tmp_path / "images" / name)
    (tmp_path / "captions.json").write_text(json.dumps(TOLD))
    return tmp_path


def test_annotations_become_grouped_samples(folder: Path) -> None:
    listing = open_source(folder / "captions.json", folder / "images")
    samples = list(listing.samples())
    assert [(s.id, s.path, s.caption) for s in samples] == [
        ("1", "03.jpg", "A cat."), ("2", "05.jpg", "Two dogs.�"), ("3", "05.jpg", "Dogs at play."),
    ]  # fmt: skip
    assert [s.caption_group for s in samples] == [None, "05.jpg", "05.jpg"]
    assert [s.extra for s in samples] == [{"width": None, "height": None}] + [{"width": 64, "height": 48}] * 2
    assert {what: count for what, (count, _) in listing.found.counts.items()} == {
        "annotations without a caption": 1,
        "captions of an image that the file does not name": 1,
        "images without a caption": 1,
    }


def test_by_the_command(folder: Path) -> None:
    arguments = ["import", f"{folder}/captions.json", "--root", f"{folder}/images", "--workspace", f"{folder}/w"]
    done = CliRunner().invoke(app, [*arguments, "--dataset", "coco"])
    assert done.exit_code == 0, done.output
    assert "found images without a caption: 1, e.g. 04.jpg" in " ".join(done.output.split())
    assert next(s.caption for s in read_samples(Workspace(folder / "w").dataset("coco"), 0, 9)) == "A cat."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("[]", "no images and annotations"),
        ('{"images": 3, "annotations": {}}', "holds no captions"),
        ('{"images": [{"id": 1, "file_name": "../x.jpg"}], "annotations": [{"id": 1, "image_id": 1, "caption": ""}]}',
         "leads out of the root"),
    ],
)  # fmt: skip
def test_refusals(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(MimicError, match=said):
        open_source(tmp_path / "c.json")


def test_images_that_are_elsewhere(folder: Path) -> None:
    with pytest.raises(MimicError, match="--root"):
        open_source(folder / "captions.json")
