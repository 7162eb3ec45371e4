"""Whether a label or a caption is wrong is said once; everything that is shown or counted agrees with it."""

from pathlib import Path

import numpy as np
import pytest

from mimic.data import Sample
from mimic.workspace.datasets import Source, create_dataset
from mimic.workspace.layout import Workspace
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.gallery import Where, count_matching, gallery_page, rows_of
from mimic.workspace.queries.review import candidates
from mimic.workspace.queries.rows import judged
from mimic.workspace.queries.sample import sample_facts
from mimic.workspace.samples import read_inputs, read_samples
from tests.workspace.queries.conftest import SIGNALS, N, draw_scores, write_run

FAULTS = ["", "swapped", None, "junk", ""]


def captioned() -> list[Sample]:
    return [
        Sample(i, f"id{i}", f"{i}.png", caption=f"A <b>cat</b> no {i}", caption_group=f"g{i // 2}", fault=FAULTS[i % 5])
        for i in range(N)
    ]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    workspace = Workspace(tmp_path_factory.mktemp("captions"))
    source = Source("manifest", Path("x"))
    dataset = create_dataset(workspace, "c", captioned(), [], source, workspace.path, task="captions")
    assert (dataset.task, dataset.has_truth, dataset.has_images) == ("captions", True, True)
    assert read_samples(dataset, 0, N) == captioned()
    assert read_inputs(dataset, np.array([3, 5], np.int32)).captions == ["A <b>cat</b> no 3", "A <b>cat</b> no 5"]
    return Published.of(write_run(workspace, dataset, "r", draw_scores(5)), dataset)


def test_every_query_says_the_same(published: Published) -> None:
    scores = draw_scores(5)["mimic"]
    scored = ~np.isnan(scores)
    known = np.array([FAULTS[i % 5] is not None for i in range(N)])
    wrong = np.array([bool(FAULTS[i % 5]) for i in range(N)])
    assert count_matching(published, "mimic", Where(wrong=True)) == (wrong & scored).sum()
    assert count_matching(published, "mimic", Where(wrong=False)) == (known & ~wrong & scored).sum()
    found = judged(published)
    assert set(found.signals) == set(SIGNALS)
    assert found.wrong.tolist() == wrong[known].tolist()
    page = gallery_page(published, "mimic", "lowest").rows
    assert page["wrong"].tolist() == wrong[page["sample"]].tolist()
    assert page["fault"].tolist() == [FAULTS[i % 5] for i in page["sample"]]
    assert rows_of(published, [1, 0])["caption"].tolist() == ["A <b>cat</b> no 1", "A <b>cat</b> no 0"]
    assert [sample_facts(published, i).wrong for i in range(3)] == [False, True, None]
    assert candidates(published, "mimic", [4])[0].caption == "A <b>cat</b> no 4"


def test_text_is_looked_for_in_captions(published: Published) -> None:
    scored = ~np.isnan(draw_scores(5)["mimic"])
    wanted = [i for i in range(N) if f"no {i}".startswith("no 77") and scored[i]]
    assert count_matching(published, "mimic", Where(text="CAT</b> no 77")) == len(wanted)
