"""Shards: read as webdataset reads them, and without harm when somebody meant harm."""

from __future__ import annotations

import io
import json
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import webdataset
from PIL import Image

from mimic.errors import MimicError
from mimic.images import image_bytes, read_image
from mimic.runs.importing import import_dataset
from mimic.sources.open import open_source
from mimic.sources.shards import read_shards
from mimic.workspace.layout import Workspace
from mimic.workspace.samples import read_samples
from tests import hostile
from tests.hostile import member, png, write_tar

SAMPLE = Path(__file__).parents[2] / "sample_data" / "captions"


def good(key: str, caption: str, **facts: object) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [
        member(f"{key}.png", png(colour="blue")),
        member(f"{key}.txt", caption.encode()),
        member(f"{key}.json", json.dumps(facts).encode()),
    ]


def test_the_sample_data_as_webdataset_reads_it() -> None:
    listing = read_shards(SAMPLE)
    ours = list(listing.samples())
    theirs = list(webdataset.WebDataset([str(file) for file in sorted(SAMPLE.glob("*.tar"))], shardshuffle=False))
    assert len(ours) == len(theirs) == 1000
    assert not listing.found.counts
    for sample, other in zip(ours, theirs, strict=True):
        facts = json.loads(other["json"])
        assert sample.path is not None
        assert image_bytes(SAMPLE, sample.path) == other["webp"]
        assert (sample.caption, sample.id) == (other["txt"].decode(), facts["uid"])
        assert (sample.fault, sample.split) == (facts["fault"], facts["split"])
        assert sample.extra["category"] == facts["category"]


def test_a_shard_that_webdataset_wrote(tmp_path: Path) -> None:
    with webdataset.TarWriter(str(tmp_path / "0.tar")) as writer:
        for i in range(5):
            picture = Image.new("RGB", (9, 7), (i, 0, 0))
            writer.write({"__key__": "deep/er-" * 20 + f"k{i}", "png": picture, "txt": f"größe {i}", "json": {"n": i}})
    listing = open_source(tmp_path)
    samples = list(listing.samples())
    assert [sample.caption for sample in samples] == [f"größe {i}" for i in range(5)]
    assert [sample.extra for sample in samples] == [{"n": i} for i in range(5)]
    assert listing.columns == {"n": pa.int64()}
    assert all(read_image(image_bytes(tmp_path, sample.path or "")).size == (9, 7) for sample in samples)


def test_members_that_lie_apart_are_put_together_and_counted(tmp_path: Path) -> None:
    a, b = good("a", "A"), good("b", "B")
    write_tar(tmp_path / "0.tar", [a[0], *b, a[1], a[2]])
    listing = read_shards(tmp_path / "0.tar")
    assert [sample.caption for sample in listing.samples()] == ["A", "B"]
    ((what, (count, example)),) = listing.found.counts.items()
    assert what.startswith("members that lie apart")
    assert (count, example) == (1, "0.tar: a.txt")


def test_captions_from_json_and_several_of_one_image(tmp_path: Path) -> None:
    several = {"uid": "u", "captions": ["one", "two"], "fault": ""}
    write_tar(
        tmp_path / "0.tar",
        [
            member("a.png", png()),
            member("a.json", json.dumps(several).encode()),
            member("b.png", png()),
            member("b.json", json.dumps({"caption": "three", "fault": "swapped"}).encode()),
            member("c.jpg", png()),
        ],
    )
    samples = list(read_shards(tmp_path).samples())
    assert [(s.id, s.caption, s.caption_group, s.fault) for s in samples] == [
        ("u", "one", "u", ""),
        ("u#1", "two", "u", ""),
        ("0/b", "three", None, "swapped"),
        ("0/c", None, None, None),
    ]


def test_labelled_shards(tmp_path: Path) -> None:
    def labelled(key: str, label: str) -> list[tuple[tarfile.TarInfo, bytes]]:
        return [member(f"{key}.png", png()), member(f"{key}.cls", label.encode())]

    write_tar(tmp_path / "0.tar", [*labelled("a", "10"), *labelled("b", "9")])
    listing = read_shards(tmp_path)
    assert (listing.task, listing.classes) == ("labels", ["9", "10"])
    assert [sample.label for sample in listing.samples()] == ["10", "9"]


def test_columns_have_the_type_of_what_they_hold(tmp_path: Path) -> None:
    rows = [{"n": 1, "x": 1, "t": "a", "mixed": 1, "ok": True, "Path": "clash", "exif": "{}", "list": [1]}]
    rows += [{"n": 2**70, "x": 1.5, "t": "\ud800", "mixed": "b", "ok": 3}, {"n": "no", "x": 10**400}]
    write_tar(tmp_path / "0.tar", [m for i, row in enumerate(rows) for m in good(f"k{i}", "c", **row)])
    listing = read_shards(tmp_path)
    assert listing.columns == {
        "n": pa.string(), "x": pa.float64(), "t": pa.string(), "mixed": pa.string(), "ok": pa.string()
    }  # fmt: skip
    dataset, _ = import_dataset(Workspace(tmp_path / "w"), tmp_path, "d")
    read = read_samples(dataset, 0, 3)
    assert [sample.extra["t"] for sample in read] == ["a", "?", None]
    assert [sample.extra["x"] for sample in read] == [1.0, 1.5, None]


@pytest.mark.parametrize("reason", hostile.MEMBERS)
def test_what_a_tar_should_not_hold_is_counted_and_the_rest_read(reason: str, tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [*good("first", "A"), *hostile.MEMBERS[reason], *good("last", "B")])
    dataset, listing = import_dataset(Workspace(tmp_path / "w"), tmp_path, "d")
    assert reason in listing.found.counts
    assert all(example.isprintable() for _, example in listing.found.counts.values())
    samples = {sample.id: sample for sample in read_samples(dataset, 0, 100)}
    assert {"0/first", "0/last"} <= set(samples)
    for sample in samples.values():
        assert sample.path is not None
        assert sample.path.startswith("0.tar#")
        assert read_image(image_bytes(tmp_path, sample.path)).size in ((8, 8), (9, 9))
    assert {path.name for path in tmp_path.iterdir()} == {"0.tar", "w"}


@pytest.mark.parametrize("breaking", hostile.BROKEN)
def test_a_broken_tar_is_refused_in_one_sentence(breaking: Callable[[Path], None], tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "0.tar", [*good("first", "A"), *good("last", "B")])
    breaking(shard)
    tracemalloc.start()
    with pytest.raises(MimicError, match=r"0\.tar is no whole, plain tar file"):
        list(read_shards(tmp_path).samples())
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_a_picture_of_too_many_pixels_is_no_reason_to_stop(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [member("a.png", hostile.bomb()), *good("b", "B")])
    sample, _ = read_shards(tmp_path).samples()
    with pytest.raises(Exception, match="more than"):
        read_image(image_bytes(tmp_path, sample.path or ""))


def test_a_shard_elsewhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_tar(tmp_path / "out.tar", good("a", "A"))
    (tmp_path / "in" / "0.tar").symlink_to(tmp_path / "out.tar")
    with pytest.raises(MimicError, match="leads out of the root"):
        read_shards(tmp_path / "in")
    assert len(list(read_shards(tmp_path / "in", root=tmp_path).samples())) == 1


def test_an_image_that_is_none_by_its_bytes(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [member("a.png", io.BytesIO(b"<svg/>").getvalue()), *good("b", "B")])
    assert len(list(read_shards(tmp_path).samples())) == 2
