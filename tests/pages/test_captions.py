"""Every page on captions: with images in tars, and on captions alone."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from mimic.files import write_json
from mimic.reports.page import report
from mimic.workspace.layout import Workspace
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.nearest import nearest
from tests.pages import captioned
from tests.pages.conftest import Open, markup, words

PAGES = [
    "overview",
    "explore",
    "threshold",
    "combine",
    "compare",
    "sample",
    "review",
    "audit",
    "export",
    "sql",
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace(tmp_path_factory.mktemp("captions"))
    captioned.build(made)
    captioned.build_without_images(made)
    return made


@pytest.mark.parametrize("dataset", ["captions", "texts"])
@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens(page: str, dataset: str, workspace: Workspace, open_page: Open) -> None:
    app = open_page(workspace, page, dataset=dataset)
    assert not app.error
    assert not re.search(r"\bnan\b|None(?! yet)", markup(app))


def test_evaluate_speaks_of_captions(workspace: Workspace, open_page: Open) -> None:
    app = open_page(workspace, "evaluate", dataset="captions")
    assert not app.error
    assert "Captions that are right" in [metric.label for metric in app.metric]
    app = open_page(workspace, "evaluate", dataset="texts")
    assert not app.error
    assert "two of each are the least" in app.info[0].value


def test_the_report_speaks_of_captions(workspace: Workspace) -> None:
    run = next(run for run in workspace.runs("captions") if run.state == "published")
    page = report(workspace, run)
    page = page[page.index("</head>") :]
    assert "Does it find the wrong captions?" in page
    assert "of the captions are right" in page
    assert "labels" not in page


def test_text_is_looked_for_in_captions(workspace: Workspace, open_page: Open) -> None:
    samples = captioned.read_samples(workspace.dataset("captions"), 0, 1000)
    clocks = sum("clock face" in (sample.caption or "") for sample in samples)
    app = open_page(workspace, "explore", dataset="captions", text="CLOCK face")
    assert f"**{clocks}** samples" in markup(app)
    assert clocks > 10
    assert not [box for box in app.multiselect if box.label == "Classes"]
    app = open_page(workspace, "explore", dataset="captions", truth="wrong")
    assert "**180** samples" in markup(app)


def test_the_sample_page_says_what_is_wrong_and_what_lies_near(workspace: Workspace, open_page: Open) -> None:
    dataset, run = workspace.dataset("captions"), workspace.run("captions-run")
    published = Published.of(run, dataset)
    samples = captioned.read_samples(dataset, 0, 1000)
    swapped = next(sample for sample in samples if sample.fault == "swapped")
    app = open_page(workspace, "sample", dataset="captions", sample=str(swapped.number))
    assert swapped.caption in words(app)
    assert r"Wrong\: swapped" in markup(app)
    found = nearest(published, swapped.number)
    assert found is not None
    assert f"its own is number {found.caption_rank} of 1,000" in markup(app)


def test_a_run_of_further_signals_has_the_embeddings_of_its_base(workspace: Workspace, open_page: Open) -> None:
    dataset, base = workspace.dataset("captions"), workspace.run("captions-run")
    more = captioned.score(workspace, dataset, "captions-run-more")
    write_json(more.folder / "run.json", more.facts | {"of": base.id})
    shown = nearest(Published.of(workspace.run(more.id), dataset), 3)
    expected = nearest(Published.of(base, dataset), 3)
    assert shown is not None
    assert expected is not None
    assert shown.captions["sample"].tolist() == expected.captions["sample"].tolist()
    app = open_page(workspace, "sample", dataset="captions", run=more.id, sample="3")
    assert "Captions nearest to this picture" in markup(app)
    shutil.rmtree(more.folder)


def test_hostile_captions_stay_words(workspace: Workspace, open_page: Open) -> None:
    for number in range(11):
        app = open_page(workspace, "sample", dataset="texts", sample=str(number))
        assert "<img" not in markup(app)
        assert "](javascript" not in markup(app)


def test_nothing_near_without_embeddings(workspace: Workspace, tmp_path: Path) -> None:
    published = Published.of(workspace.run("texts-run"), workspace.dataset("texts"))
    assert nearest(published, 0) is None
