"""The three kinds of manifest give the same samples; ours are text, further columns keep their types."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mimic.errors import MimicError
from mimic.runs.importing import import_dataset
from mimic.sources.manifest import read_manifest
from mimic.workspace.layout import Workspace
from mimic.workspace.samples import read_samples
from tests import hostile

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
        ("m.csv", "path,class\na,b\n", r"no column label or caption \(it has path, class\)"),
        ("m.csv", "x\n1\n", "no column path and no column label or caption"),
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


CAPTIONED = [
    {"path": "a/1.png", "caption": "One", "fault": "", "split": "train", "width": 1},
    {"path": "b.png", "caption": 'Ünï, "x"\n', "fault": "swapped", "split": "train", "width": 2},
    {"path": "./a/1.png", "caption": "Two", "fault": None, "split": None, "width": 3},
    {"path": "a/1.png", "caption": None, "fault": None, "split": None, "width": 4},
]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_captions_of_every_kind(kind: str, images: Path) -> None:
    table, path = pd.DataFrame(CAPTIONED), images / f"m.{kind}"
    if kind == "parquet":
        table.to_parquet(path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in CAPTIONED))
    else:
        table = table.fillna({"caption": "", "fault": ""})
        table.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    listing = read_manifest(path)
    samples = list(listing.samples())
    assert (listing.task, listing.classes, list(listing.columns)) == ("captions", [], ["width"])
    assert [s.id for s in samples] == ["a/1.png", "b.png", "a/1.png#1", "a/1.png#2"]
    assert [s.caption or None for s in samples] == ["One", 'Ünï, "x"\n', "Two", None]
    assert [s.caption_group for s in samples] == ["a/1.png", None, "a/1.png", "a/1.png"]
    assert [s.fault for s in samples][:2] == ["", "swapped"]
    assert [s.extra["width"] for s in samples] == [1, 2, 3, 4]


def test_names_that_others_use_and_lists_of_captions(images: Path) -> None:
    rows = [
        {"file_name": "a/1.png", "captions": ["x", "y"], "uid": "u"},
        {"file_name": "b", "captions": [], "uid": "v"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), images / "m.parquet")
    assert [(s.id, s.path, s.caption, s.caption_group) for s in read_manifest(images / "m.parquet").samples()] == [
        ("u", "a/1.png", "x", "a/1.png"),
        ("u#1", "a/1.png", "y", "a/1.png"),
        ("v", "b", None, None),
    ]
    (images / "m.tsv").write_text("filepath\ttitle\na/1.png\tA cat\n")
    assert [(s.path, s.caption) for s in read_manifest(images / "m.tsv").samples()] == [("a/1.png", "A cat")]


def test_a_caption_beside_a_label_is_a_further_column(images: Path) -> None:
    (images / "m.csv").write_text("path,label,caption,fault\na/1.png,cat,A cat,none\n")
    listing = read_manifest(images / "m.csv")
    (sample,) = listing.samples()
    assert (listing.task, sample.label, sample.caption) == ("labels", "cat", None)
    assert sample.extra == {"caption": "A cat", "fault": "none"}


def test_captions_that_are_code_somewhere_come_through_as_text(tmp_path: Path) -> None:
    captions = [*hostile.CAPTIONS, "x" * hostile.HUGE]
    hostile.manifest(tmp_path / "m.csv", captions)
    dataset, _ = import_dataset(Workspace(tmp_path / "w"), tmp_path / "m.csv", "d")
    read = [sample.caption for sample in read_samples(dataset, 0, 100)]
    assert read[:-1] == hostile.CAPTIONS
    assert read[-1] == "x" * (1 << 20)
    pq.write_table(pa.table({"path": ["0.png"], "caption": ["a\0b"]}), tmp_path / "m.parquet")
    assert [sample.caption for sample in read_manifest(tmp_path / "m.parquet").samples()] == ["a\ufffdb"]
