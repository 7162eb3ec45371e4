"""The three kinds of manifest give the same samples; ours are text, further columns keep their types."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mimic.errors import MimicError
from mimic.sources.manifest import read_manifest

ROWS = [
    {"path": "a/1.png", "label": "01", "truth": "NA", "split": "train", "width": 28, "note": "x"},
    {"path": "./a/../b/2.png", "label": "null", "truth": None, "split": None, "width": 30, "note": 'ü, "q"\nnew line'},
    {"path": "c.png", "label": None, "truth": "01", "split": "test", "width": None, "note": ""},
]

WRITERS: dict[str, Callable[[Path, pd.DataFrame], None]] = {
    "m.csv": lambda path, table: table.to_csv(path, index=False),
    "m.jsonl": lambda path, _: path.write_text("".join(json.dumps(row) + "\n" for row in ROWS)) and None,
    "m.parquet": lambda path, table: table.to_parquet(path),
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").touch()
    return tmp_path


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_gives_the_same_samples(name: str, images: Path) -> None:
    WRITERS[name](images / name, pd.DataFrame(ROWS).astype({"width": "Int64"}))
    listing = read_manifest(images / name)
    samples = list(listing.samples())
    assert [s.path for s in samples] == ["a/1.png", "b/2.png", "c.png"]
    assert [s.id for s in samples] == [s.path for s in samples]
    assert [s.label for s in samples] == ["01", "null", None]
    assert [s.truth for s in samples] == ["NA", None, "01"]
    assert [s.split for s in samples] == ["train", None, "test"]
    assert [s.extra["width"] for s in samples] == [28, 30, None]
    assert [s.extra["note"] for s in samples] == ["x", 'ü, "q"\nnew line', ""]
    assert listing.classes == ["01", "null"]
    assert listing.root == images
    assert listing.columns == {"width": pa.int64(), "note": listing.columns["note"]}


def test_numbers_and_categories_become_class_names(images: Path) -> None:
    table = pd.DataFrame({"path": ["a/1.png", "x", "y"], "label": [10.0, 9.0, None], "id": [3, 2, 1]})
    table["kind"] = pd.Categorical(["p", "q", "p"])
    table.to_parquet(images / "m.parquet")
    listing = read_manifest(images / "m.parquet")
    assert [s.label for s in listing.samples()] == ["10", "9", None]
    assert [s.id for s in listing.samples()] == ["3", "2", "1"]
    assert listing.classes == ["9", "10"]
    assert [s.extra["kind"] for s in listing.samples()] == ["p", "q", "p"]


def test_classes_can_be_given(images: Path) -> None:
    (images / "m.csv").write_text("path,label\na/1.png,b\n")
    assert read_manifest(images / "m.csv", classes=["b", "a"]).classes == ["b", "a"]


def test_a_root_can_be_given_and_absolute_paths_inside_it_work(images: Path) -> None:
    (images / "lists").mkdir()
    (images / "lists/m.csv").write_text(f"path,label\n{images}/a/1.png,x\na/2.png,x\n")
    assert [s.path for s in read_manifest(images / "lists/m.csv", root=images).samples()] == ["a/1.png", "a/2.png"]


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "a/../../x", "out.png", ".", "dir/x.png", "a/\0.png"])
def test_nothing_outside_the_root(path: str, images: Path) -> None:
    outside = images / "data"
    outside.mkdir()
    (outside / "ok.png").touch()
    (images / "secret.png").touch()
    (outside / "out.png").symlink_to(images / "secret.png")
    (outside / "dir").symlink_to(images, target_is_directory=True)
    pq.write_table(pa.table({"path": ["ok.png", path], "label": ["x", "x"]}), outside / "m.parquet")
    with pytest.raises(MimicError, match="leads out of the root"):
        read_manifest(outside / "m.parquet")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("m.txt", "path,label\n", "no manifest by its ending"),
        ("m.csv", "", "cannot be read as .csv"),
        ("m.csv", "path,class\na,b\n", r"no column label \(it has path, class\)"),
        ("m.csv", "x\n1\n", "no column path and no column label"),
        ("m.csv", "path,label\n", "has no rows"),
        ("m.csv", "path,label,label\na/1.png,x,y\n", "two columns of the same name"),
        ("m.csv", "path,label\na/1.png,x\n,y\n", "row 2 .* has no path"),
        ("m.csv", "path,label\nnowhere.png,x\n", "none of the first 1 images"),
        ("m.csv", "path,label\na,b,c\n", "cannot be read as .csv"),
        ("m.jsonl", "{", "cannot be read as .jsonl"),
        ("m.jsonl", '{"path": "a", "label": [1]}', "which is no text"),
        ("m.jsonl", '{"path": "a", "label": 1.5}', "which is no text"),
        ("m.parquet", "PAR1 not really", "cannot be read as .parquet"),
    ],
)
def test_bad_manifests_get_a_sentence(name: str, text: str, sentence: str, images: Path) -> None:
    (images / name).write_text(text)
    with pytest.raises(MimicError, match=sentence) as caught:
        list(read_manifest(images / name).samples())
    assert "\n" not in str(caught.value)
