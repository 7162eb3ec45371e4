"""One sample's page, alone."""

import shutil

import numpy as np
import pytest

from benchmarks import synthetic
from mimic.data import Shard
from mimic.files import write_json
from mimic.workspace.decisions import Decisions, Subject
from tests.pages.conftest import CLASSES, SHARD, address, metrics, words


def test_everything_known_of_a_sample(published, open_page):
    drawn = synthetic.draw(Shard(0, 0, SHARD), CLASSES, 0)
    wrong = int(np.flatnonzero(drawn.wrong)[0])
    app = open_page(published, "sample", run="synthetic-1500", sample=str(wrong))
    assert metrics(app)["Given label"] == f"class {drawn.label[wrong]:03}"
    assert metrics(app)["True label"] == f"class {drawn.truth[wrong]:03}"
    assert app.metric[1].delta == "the given label is wrong"
    table = app.dataframe[0].value.set_index("signal")
    assert table["score"]["margin"] == pytest.approx(drawn.signals["margin"][wrong])
    assert f"id-{wrong:09}" in words(app)
    assert f"picture {wrong % 20} of class" in app.dataframe[1].value["Value"].iloc[-1]


def test_the_next_sample_is_the_next_score_up(published, open_page):
    app = open_page(published, "sample", run="synthetic-1500", sample="10")
    before = app.dataframe[0].value.set_index("signal")["score"]["mimic"]
    {button.label: button for button in app.button}["Higher score"].click().run()
    after = app.dataframe[0].value.set_index("signal")["score"]["mimic"]
    assert after >= before
    assert address(app, "sample") != "10"


def test_a_sample_that_was_not_scored_says_why(published, open_page):
    failed = next(
        i
        for shard in published.run("synthetic-1500").shards
        for i in shard.first + np.flatnonzero(np.isnan(synthetic.draw(shard, CLASSES, 0).signals["mimic"]))
    )
    app = open_page(published, "sample", run="synthetic-1500", sample=str(failed))
    assert "Not scored: file is missing" in words(app).replace("\\", "")
    assert all(button.disabled for button in app.button)


@pytest.mark.parametrize("sample", ["-1", "99999999", "1e300", "many"])
def test_an_unknown_sample_is_a_sentence(published, open_page, sample):
    app = open_page(published, "sample", run="synthetic-1500", sample=sample)
    assert app.title[0].value == "Sample"
    assert sample == "many" or "has no sample" in words(app)


def test_what_people_decided_is_told(copy, open_page, monkeypatch):
    monkeypatch.delenv("MIMIC_DECISIONS_URL", raising=False)
    for left in copy.path.glob("decisions.db*"):  # of tests that opened Review on the original
        left.unlink()
    app = open_page(copy, "sample", run="synthetic-1500", sample="5")
    assert not (copy.path / "decisions.db").exists()  # looking makes nothing
    decisions = Decisions(copy, copy.dataset("synthetic-1500"))
    decisions.record("ann", "drop", Subject(5, "x", None), why="blurred")
    decisions.undo("ann")
    app.run()
    log = next(table.value for table in app.dataframe if "action" in table.value)
    assert log[["who", "action", "why", "undone"]].values.tolist() == [
        ["ann", "undo", "", False],
        ["ann", "drop", "blurred", True],
    ]


def test_pictures_on_a_server_are_shown(copy, open_page, server):
    dataset = copy.dataset("synthetic-1500")
    url = server.upload(dataset.root, "page")
    write_json(dataset.folder / "dataset.json", {**dataset.facts, "root": url})
    shutil.rmtree(copy.cache_folder, ignore_errors=True)
    app = open_page(copy, "sample", run="synthetic-1500", sample="10")
    assert not app.exception
    assert [key for key, _ in server.reads if key.startswith("page/")]
    server.asked.clear()
    assert not open_page(copy, "threshold", run="synthetic-1500").exception
    assert server.asked  # the gallery's


def test_a_sample_leads_to_its_decision(published, open_page):
    app = open_page(published, "sample", run="synthetic-1500", sample="7")
    (link,) = [link.proto.query_string for link in app.get("page_link") if link.proto.label == "Settle it"]
    asked = dict(part.split("=") for part in link.split("&"))
    review = open_page(published, "review", **asked)
    assert next(button.key for button in review.button if button.label == "Keep").split()[-1] == "7"
