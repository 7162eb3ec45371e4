"""Data sets that Hugging Face's own package wrote: images read in place, the same rows as it reads itself."""

import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Picture

from mimic.errors import MimicError
from mimic.images import image_bytes, read_image
from mimic.runs.importing import import_dataset
from mimic.sources.huggingface import is_hugging_face
from mimic.sources.open import open_source
from mimic.workspace.layout import Workspace
from mimic.workspace.samples import read_samples

datasets = pytest.importorskip("datasets")
COUNT = 7


def pictures(count: int = COUNT, seed: int = 0) -> list[Picture.Image]:
    return [
        Picture.fromarray(each) for each in np.random.default_rng(seed).integers(0, 255, (count, 5, 4, 3), np.uint8)
    ]


def labelled(count: int = COUNT) -> Any:
    names = ["cat", "dog", "ant"]  # not in alphabetical order: codes are what counts
    features = datasets.Features(
        {"image": datasets.Image(), "labels": datasets.ClassLabel(names=names), "path": datasets.Value("string")}
    )
    rows = {"image": pictures(count), "labels": [i % 3 if i else -1 for i in range(count)], "path": ["p"] * count}
    return datasets.Dataset.from_dict(rows, features=features)


def captioned() -> Any:
    features = datasets.Features({"img": datasets.Image(), "caption": datasets.List(datasets.Value("string"))})
    rows = {"img": pictures(3), "caption": [["a cat", "one cat"], ["a dog"], []]}
    return datasets.Dataset.from_dict(rows, features=features)


def pixels(listing: Any) -> list[np.ndarray]:
    read = [read_image(image_bytes(listing.root, sample.path)) for sample in listing.samples()]
    return [np.asarray(each) for each in read]


@pytest.mark.parametrize("shards", [1, 3])
def test_a_saved_data_set_is_read_in_place(shards: int, tmp_path: Path) -> None:
    labelled().save_to_disk(tmp_path / "saved", num_shards=shards)
    before = sorted(path for path in tmp_path.rglob("*"))
    listing = open_source(tmp_path / "saved")
    samples = list(listing.samples())
    assert [sample.label for sample in samples] == [None, "dog", "ant", "cat", "dog", "ant", "cat"]
    assert listing.classes == ["cat", "dog", "ant"]
    assert samples[0].extra["path_given"] == "p"
    assert samples[1].path is not None
    assert ".arrow#" in samples[1].path
    assert samples[1].path.endswith(".png")
    assert all((a == np.asarray(b)).all() for a, b in zip(pixels(listing), pictures(), strict=True))
    assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_rows_are_numbered_through_the_files_of_a_split(kind: str, tmp_path: Path) -> None:
    if kind == "arrow":
        labelled().save_to_disk(tmp_path / "hub", num_shards=3)
    else:
        (tmp_path / "hub/data").mkdir(parents=True)
        for shard in range(3):
            part = labelled().shard(3, shard, contiguous=True)
            part.to_parquet(tmp_path / f"hub/data/train-{shard:05}-of-00003.parquet")
    dataset, _ = import_dataset(Workspace(tmp_path / "w"), tmp_path / "hub", "numbered")
    prefix = "train/" if kind == "parquet" else ""
    assert [sample.id for sample in read_samples(dataset, 0, COUNT)] == [f"{prefix}{row}" for row in range(COUNT)]


def test_splits_and_further_columns(tmp_path: Path) -> None:
    both = datasets.DatasetDict({"train": labelled(4), "test": labelled(2).add_column("width", [3, 4])})
    both.save_to_disk(tmp_path / "saved")
    samples = list(open_source(tmp_path / "saved").samples())
    assert [sample.split for sample in samples] == ["train"] * 4 + ["test"] * 2
    assert [sample.id for sample in samples][3:5] == ["train/3", "test/0"]
    assert [sample.extra["width"] for sample in samples] == [None] * 4 + [3, 4]


def test_parquet_is_copied_once_and_imported_again(tmp_path: Path) -> None:
    (tmp_path / "hub/data").mkdir(parents=True)
    labelled(5).to_parquet(tmp_path / "hub/data/train-00000-of-00001.parquet")
    labelled(2).to_parquet(tmp_path / "hub/data/test-00000-of-00001-0a1b2c.parquet")
    workspace = Workspace(tmp_path / "w")
    made, listing = import_dataset(workspace, tmp_path / "hub", "hub")
    assert made.splits == {"train": 5, "test": 2}
    expected = pictures(2) + pictures(5)  # files in the order of their names
    assert all((a == np.asarray(b)).all() for a, b in zip(pixels(listing), expected, strict=True))
    kept = sorted((tmp_path / "w/images").iterdir())
    assert [path.suffix for path in kept] == [".arrow"] * 2
    times = [path.stat().st_mtime_ns for path in kept]
    assert import_dataset(workspace, tmp_path / "hub", "hub")[0] == made
    assert [path.stat().st_mtime_ns for path in sorted((tmp_path / "w/images").iterdir())] == times
    with pytest.raises(MimicError, match="nowhere to copy"):
        open_source(tmp_path / "hub")


def test_no_room_for_the_copy_of_parquet_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    labelled(2).to_parquet(tmp_path / "a.parquet")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MimicError, match=r"cannot write .*\(No space left on device\): make room"):
        open_source(tmp_path / "a.parquet", into=tmp_path / "images")
    assert list((tmp_path / "images").iterdir()) == []


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_images_alone_lack_a_label_or_caption(ending: str, tmp_path: Path) -> None:
    alone = labelled(2).select_columns(["image"])
    if ending == "parquet":
        alone.to_parquet(tmp_path / "saved.parquet")
    else:
        alone.save_to_disk(tmp_path / "saved")
    with pytest.raises(MimicError, match="no column label or caption"):
        open_source(next(tmp_path.iterdir()), into=tmp_path / "images")


def test_captions_are_grouped_by_image(tmp_path: Path) -> None:
    captioned().save_to_disk(tmp_path / "saved")
    listing = open_source(tmp_path / "saved")
    samples = list(listing.samples())
    assert listing.task == "captions"
    assert [sample.caption for sample in samples] == ["a cat", "one cat", "a dog", None]
    assert [sample.id for sample in samples] == ["0", "0#1", "1", "2"]
    assert samples[0].caption_group == samples[1].caption_group != samples[2].caption_group


def test_rows_without_an_image_are_counted(tmp_path: Path) -> None:
    datasets.Dataset.from_dict(
        {"image": [*pictures(2), None], "label": ["a", "b", "a"]},
        features=datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")}),
    ).save_to_disk(tmp_path / "saved")
    listing = open_source(tmp_path / "saved")
    assert len(list(listing.samples())) == 2
    assert listing.found.counts == {"rows without an image inside": (1, "data-00000-of-00001.arrow: row 2")}


def test_names_of_files_are_no_images(tmp_path: Path) -> None:
    pictures(1)[0].save(tmp_path / "a.png")
    named = datasets.Dataset.from_dict(
        {"image": [str(tmp_path / "a.png")], "label": ["a"]},
        features=datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")}),
    )
    named.to_parquet(tmp_path / "named.parquet")
    with pytest.raises(MimicError, match="has none inside"):
        open_source(tmp_path / "named.parquet", into=tmp_path / "images")
    named.save_to_disk(tmp_path / "saved")  # which puts them in
    assert len(pixels(open_source(tmp_path / "saved"))) == 1


def test_which_of_two_class_labels_is_for_the_user_to_say(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=["a", "b"])
    two = datasets.Dataset.from_dict(
        {"image": pictures(2), "fine": [0, 1], "coarse": [1, 1]},
        features=datasets.Features({"image": datasets.Image(), "fine": names, "coarse": names}),
    )
    two.save_to_disk(tmp_path / "saved")
    with pytest.raises(MimicError, match="fine, coarse and none is called label"):
        open_source(tmp_path / "saved")
    two.rename_column("fine", "label").save_to_disk(tmp_path / "named")
    samples = list(open_source(tmp_path / "named").samples())
    assert [(sample.label, sample.extra["coarse"]) for sample in samples] == [("a", "b"), ("b", "b")]


def test_refusals(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"label": ["a"]}).save_to_disk(tmp_path / "bare")
    with pytest.raises(MimicError, match="no column of images inside"):
        open_source(tmp_path / "bare")
    labelled().save_to_disk(tmp_path / "saved")
    with pytest.raises(MimicError, match="leave --root out"):
        open_source(tmp_path / "saved", tmp_path)
    whole = (tmp_path / "saved/data-00000-of-00001.arrow").read_bytes()
    (tmp_path / "saved/data-00000-of-00001.arrow").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MimicError, match="cannot be read as"):
        open_source(tmp_path / "saved")
    (tmp_path / "saved/state.json").write_text(json.dumps({"_data_files": [{"filename": "../../etc/x.arrow"}]}))
    with pytest.raises(MimicError, match="leads out of the root"):
        open_source(tmp_path / "saved")


def test_a_compressed_arrow_file_is_refused(tmp_path: Path) -> None:
    data = io.BytesIO()
    pictures(1)[0].save(data, format="PNG")
    rows = pa.array([{"bytes": data.getvalue() * 50, "path": None}] * 4)
    table = pa.table({"image": rows, "label": ["a"] * 4})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with (
        pa.OSFile(str(tmp_path / "x.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema, options=options) as w,
    ):
        w.write_table(table)
    assert is_hugging_face(tmp_path / "x.arrow")
    with pytest.raises(MimicError, match="compressed Arrow file"):
        open_source(tmp_path / "x.arrow")


def test_other_parquet_is_not_taken_for_it(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["a.png"], "label": ["x"]}), tmp_path / "m.parquet")
    assert not is_hugging_face(tmp_path / "m.parquet")
    assert not is_hugging_face(tmp_path)
