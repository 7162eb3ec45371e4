"""A data set is written once, read by number, and moved only by saying so."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from mimic.data import Sample
from mimic.errors import MimicError
from mimic.workspace import datasets
from mimic.workspace.datasets import Source, create_dataset, relocate
from mimic.workspace.layout import Dataset, Workspace
from mimic.workspace.samples import read_inputs, read_samples, sample_numbers


def some_samples(count: int = 30) -> Iterator[Sample]:
    for i in range(count):
        label = None if i == 7 else ("cat", "dog")[i % 2]
        split = "train" if i < 20 else "test"
        yield Sample(i, f"id{i}", f"a/{i}.png", label, "cat" if i % 3 else None, split, {"Größe \"'": i / 2})


def create(workspace: Workspace, samples: Iterator[Sample], name: str = "d") -> Dataset:
    source = Source("manifest", Path("list.csv"))
    return create_dataset(workspace, name, samples, ["cat", "dog"], source, workspace.path, {"Größe \"'": pa.float64()})


def test_reads_back_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "_CHUNK", 8)  # so that 30 samples cross several chunks
    dataset = create(Workspace(tmp_path), some_samples())
    assert read_samples(dataset, 0, 100) == list(some_samples())
    assert read_samples(dataset, 5, 9) == list(some_samples())[5:9]
    assert (dataset.size, dataset.classes, dataset.has_truth) == (30, ["cat", "dog"], True)
    assert dataset.splits == {"train": 20, "test": 10}
    with duckdb.connect(dataset.samples_file, read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM samples WHERE rowid <> sample").fetchall() == [(0,)]
        assert connection.execute("SELECT * FROM classes").fetchall() == [(0, "cat"), (1, "dog")]


def test_scoring_reads_paths_and_given_labels_only(tmp_path: Path) -> None:
    dataset = create(Workspace(tmp_path), some_samples())
    inputs = read_inputs(dataset, np.array([2, 7, 25], dtype=np.int32))
    assert inputs.paths == ["a/2.png", "a/7.png", "a/25.png"]
    assert inputs.codes.tolist() == [0, -1, 1]
    assert not hasattr(inputs, "truth")


def test_a_limit_is_spread_evenly_over_the_split(tmp_path: Path) -> None:
    dataset = create(Workspace(tmp_path), some_samples())
    assert sample_numbers(dataset, None).tolist() == list(range(30))
    assert sample_numbers(dataset, "test").tolist() == list(range(20, 30))
    assert sample_numbers(dataset, "train", 4).tolist() == [0, 5, 10, 15]
    assert sample_numbers(dataset, "train", 50).tolist() == list(range(20))


def test_the_same_again_is_the_same_data_set_and_anything_else_is_refused(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    first = create(workspace, some_samples())
    assert create(workspace, some_samples()) == first
    with pytest.raises(MimicError, match="other contents"):
        create(workspace, some_samples(29))
    assert workspace.dataset("d") == first
    assert [entry.name for entry in workspace.datasets_folder.iterdir()] == ["d"]


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        ([], "no samples"),
        ([Sample(0, "x", "a"), Sample(1, "x", "b")], "the id 'x' 2 times"),
        ([Sample(0, "x", "a", "bird")], "the label 'bird'"),
    ],
)
def test_bad_samples_leave_nothing_behind(samples: list[Sample], sentence: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(MimicError, match=sentence):
        create(workspace, iter(samples))
    assert list(workspace.datasets_folder.iterdir()) == []


@pytest.mark.parametrize("column", ["Label", "sample", ""])
def test_further_columns_must_not_clash(column: str, tmp_path: Path) -> None:
    source = Source("manifest", Path("list.csv"))
    with pytest.raises(MimicError, match="clashes"):
        create_dataset(Workspace(tmp_path), "d", some_samples(), ["cat"], source, tmp_path, {column: pa.string()})


def test_relocate(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    dataset = create(workspace, some_samples())
    with pytest.raises(MimicError, match=r"does not hold a/0\.png"):
        relocate(dataset, tmp_path)
    with pytest.raises(MimicError, match="not a folder"):
        relocate(dataset, tmp_path / "nowhere")
    (tmp_path / "moved" / "a").mkdir(parents=True)
    (tmp_path / "moved" / "a" / "0.png").touch()
    relocate(dataset, tmp_path / "moved")
    assert workspace.dataset("d").root == tmp_path / "moved"
    assert workspace.dataset("d").content == dataset.content
    with pytest.raises(MimicError, match="mimic relocate d"):
        create(workspace, some_samples())


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MimicError, match="cannot make the folder"):
        create(Workspace(tmp_path / "file"), some_samples())
