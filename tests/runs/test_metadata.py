"""DataComp's metadata: the rows and scores of the files, by number, and a sentence where they are something else."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.metadata import write_metadata
from mimic.errors import MimicError
from mimic.runs.metadata import import_metadata
from mimic.sources.datacomp import is_metadata
from mimic.workspace.layout import Workspace
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.gallery import Where, count_matching, gallery_page
from mimic.workspace.samples import read_inputs, read_samples
from tests import hostile


def test_rows_and_scores_of_a_folder_of_files(tmp_path: Path) -> None:
    folder = tmp_path / "metadata"
    folder.mkdir()
    for seed, rows in enumerate((1500, 1, 700)):
        write_metadata(folder / f"{seed}.parquet", rows, seed)
    assert is_metadata(folder)
    workspace = Workspace(tmp_path / "w")
    dataset, run = import_metadata(workspace, folder, "pool")
    table = pa.concat_tables([pq.read_table(folder / f"{seed}.parquet") for seed in range(3)])
    samples = read_samples(dataset, 0, 10_000)
    assert [s.id for s in samples] == table["uid"].to_pylist()
    assert [s.caption for s in samples] == table["text"].to_pylist()
    assert [s.extra["original_width"] for s in samples] == table["original_width"].to_pylist()
    assert (dataset.task, dataset.has_images, dataset.has_truth, samples[0].path) == ("captions", False, False, None)
    with duckdb.connect(run.scores_file, read_only=True) as connection:
        scores = connection.execute("SELECT * FROM scores ORDER BY sample").fetchnumpy()
        assert connection.execute("SELECT clip_l14 FROM scores").fetchnumpy()["clip_l14"].tolist() == sorted(
            table["clip_l14_similarity_score"].to_pylist()
        )
    assert scores["sample"].tolist() == list(range(2201))
    for signal in ("l14", "b32"):
        expected = table[f"clip_{signal}_similarity_score"].to_numpy()
        assert np.array_equal(scores[f"clip_{signal}"], expected)
    published = Published.of(run, dataset)
    found = [place for place, text in enumerate(table["text"].to_pylist()) if "word123 " in text]
    assert count_matching(published, "clip_l14", Where(text="WORD123 ")) == len(found) > 0
    assert gallery_page(published, "clip_l14", "lowest").rows["path"].isna().all()
    assert import_metadata(workspace, folder, "pool") == (dataset, run)
    with pytest.raises(MimicError, match="has no images"):
        read_inputs(dataset, np.array([0], np.int32))


def test_numbers_that_are_missing_and_texts_that_mean_harm(tmp_path: Path) -> None:
    texts = [*hostile.CAPTIONS, "a\0b", None, "x" * hostile.HUGE]
    numbers = [float("nan"), float("inf"), None, *[0.25] * (len(texts) - 3)]
    columns = {"uid": [f"{i:032x}" for i in range(len(texts))], "text": texts}
    pq.write_table(pa.table({**columns, "clip_b32_similarity_score": numbers}), tmp_path / "m.parquet")
    dataset, run = import_metadata(Workspace(tmp_path / "w"), tmp_path / "m.parquet", "d")
    assert run.counts == {"scored": len(texts) - 3, "not_scored": 3}
    assert [s.caption for s in read_samples(dataset, 0, 100)] == texts


def test_what_is_no_metadata(tmp_path: Path) -> None:
    good = {"uid": ["a", "b"], "text": ["x", "y"], "clip_l14_similarity_score": [0.1, 0.2]}
    file = tmp_path / "m.parquet"
    for less in good:
        pq.write_table(pa.table({name: values for name, values in good.items() if name != less}), file)
        assert not is_metadata(file)
    pq.write_table(pa.table(good | {"path": ["1.png", "2.png"]}), file)
    assert not is_metadata(file)
    file.write_bytes(b"PAR1")
    assert not is_metadata(file)
    pq.write_table(pa.table(good | {"uid": ["a", "a"]}), file)
    with pytest.raises(MimicError, match="the id 'a' 2 times"):
        import_metadata(Workspace(tmp_path / "w"), file, "d")
    pq.write_table(pa.table(good | {"uid": ["a", None]}), file)
    with pytest.raises(MimicError, match=r"rows of .* without a uid: 1, and"):
        import_metadata(Workspace(tmp_path / "w"), file, "d")
    pq.write_table(pa.table(good).slice(0, 0), file)
    with pytest.raises(MimicError, match="nothing to import"):
        import_metadata(Workspace(tmp_path / "w"), file, "d")
    assert not list((tmp_path / "w" / "datasets").iterdir())
