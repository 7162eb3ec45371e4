"""Review, alone: every press is one event, undo brings the sample back, a bouncing key decides nothing unseen."""

import time

import numpy as np
import pytest

from mimic.workspace.decisions import Decisions
from mimic.workspace.filters import save_filter
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.dense import Dense
from mimic.workspace.queries.gallery import Where, gallery_page
from pages.widgets import signin
from tests.pages.conftest import words

NAME = "synthetic-1500"
RULE = {"kind": "threshold", "run": NAME, "signal": "margin", "threshold": 0.5, "drop_unscored": False}


@pytest.fixture
def reviewed(copy, monkeypatch):
    monkeypatch.delenv("MIMIC_DECISIONS_URL", raising=False)
    return copy


@pytest.fixture
def decisions(reviewed):
    return Decisions(reviewed, reviewed.dataset(NAME))


def lowest(workspace, count):
    published = Published.of(workspace.run(NAME), workspace.dataset(NAME))
    return gallery_page(published, "mimic", "lowest", size=count).rows["sample"].tolist()


def press(app, words_, wait=0.2):
    time.sleep(wait)
    next(button for button in app.button if button.label == words_).click()
    app.run()
    assert not app.exception, app.exception
    return app


def shown(app):
    """The sample that the keys decide about."""
    return int(next(button.key for button in app.button if button.label == "Keep").split()[-1])


def test_keys_work_through_the_queue(reviewed, open_page, decisions):
    expected = lowest(reviewed, 5)
    app = open_page(reviewed, "review", run=NAME)
    for sample, action in zip(expected, ("Keep", "Drop", "Skip", "Drop"), strict=False):
        assert shown(app) == sample
        press(app, action)
    assert shown(app) == expected[4]
    log = decisions.history()
    assert log["action"].tolist() == ["drop", "skip", "drop", "keep"]
    assert log["sample"].tolist() == expected[3::-1]
    assert set(log["run"]) == {NAME}
    assert set(log["source"]) == {"Lowest scores first · mimic"}
    press(app, "Undo")
    assert shown(app) == expected[3]
    press(app, "Undo")
    assert shown(app) == expected[2]
    assert len(decisions.history()) == 6


def test_who_may_not_look_any_more_undoes_nothing(reviewed, open_page, decisions, monkeypatch):
    app = press(open_page(reviewed, "review", run=NAME), "Drop")
    monkeypatch.setattr(signin, "admit", lambda: None)
    monkeypatch.setattr(signin, "admitted", lambda: False)
    press(app, "Undo")
    press(app, "Keep")
    assert decisions.history()["action"].tolist() == ["drop"]


def test_relabelling(reviewed, open_page, decisions):
    app = open_page(reviewed, "review", run=NAME)
    sample = shown(app)
    press(app, "Relabel")
    choice = app.selectbox(key=f"label-{sample}")
    assert len(choice.options) == len(reviewed.dataset(NAME).classes) - 1  # every class but the given one
    choice.set_value(choice.options[1]).run()
    assert decisions.decision(sample).label == choice.options[1]
    assert shown(app) != sample


def test_a_bouncing_key_decides_nothing_unseen(reviewed, open_page, decisions):
    app = open_page(reviewed, "review", run=NAME)
    app.session_state["judge: drawn"] = time.monotonic() + 0.2
    press(app, "Drop", wait=0)
    assert decisions.history().empty


def test_looking_on_and_back(reviewed, open_page, decisions):
    first, second = lowest(reviewed, 2)
    app = open_page(reviewed, "review", run=NAME)
    press(app, "Look at the next")
    assert shown(app) == second
    press(app, "Drop")
    assert shown(app) == first
    assert decisions.history()["sample"].tolist() == [second]


def test_a_filter_is_a_queue(reviewed, open_page, decisions):
    save_filter(reviewed, "strict", NAME, RULE, {"kept": 1, "dropped": 1, "not_scored": 1})
    published = Published.of(reviewed.run(NAME), reviewed.dataset(NAME))
    app = open_page(reviewed, "review", run=NAME, queue="line strict")
    nearest = gallery_page(published, "margin", "nearest", size=1, near=0.5).rows["sample"].tolist()
    assert [shown(app)] == nearest
    press(app, "Keep")
    assert decisions.history()["source"].tolist() == ["Nearest to the line of strict · margin >= 0.5"]


def test_the_grid_decides_about_what_is_picked(reviewed, open_page, decisions):
    samples = lowest(reviewed, 12)
    app = open_page(reviewed, "review", run=NAME, view="grid")
    for sample in samples[:3]:
        app.checkbox(key=f"pick {sample}").check()
    press(app, "Drop picked")
    assert decisions.history()["sample"].tolist() == samples[2::-1]
    press(app, "Pick all")
    press(app, "Keep picked")
    assert len(decisions.history()) == 15
    assert decisions.counts() == {"keep": 12, "drop": 3, "relabel": 0}
    app.toggle(key="log").set_value(True).run()
    assert len(app.dataframe[0].value) == 15


def test_two_people_get_different_samples(reviewed, open_page):
    first, second = open_page(reviewed, "review", run=NAME), open_page(reviewed, "review", run=NAME)
    second.text_input(key="state: who").set_value("somebody else").run()
    assert shown(first) != shown(second)


def test_at_the_end_it_says_so(reviewed, open_page, decisions):
    app = open_page(reviewed, "review", run=NAME, low="1e9")
    assert "This queue is done" in "".join(one.value for one in app.success)
    assert "Decided in this data set" in words(app)


def test_what_explore_shows_can_be_reviewed_in_its_order(reviewed, open_page):
    published = Published.of(reviewed.run(NAME), reviewed.dataset(NAME))
    where = Where(ranges=(("mimic", 0.0, 0.03),), labels=("class 001",), text="picture 1", wrong=False)
    expected = gallery_page(published, "mimic", "nearest", where, near=0.01).rows["sample"].tolist()
    address = {"low": "0.0", "high": "0.03", "class": "class 001", "text": "picture 1", "truth": "right"}
    app = open_page(reviewed, "review", run=NAME, queue="nearest", near="0.01", **address)
    assert shown(app) == expected[0]
    press(app, "Keep")
    assert shown(app) == expected[1]
    unscored = gallery_page(published, "mimic", "unscored").rows["sample"].tolist()
    assert shown(open_page(reviewed, "review", run=NAME, queue="unscored")) == unscored[0]


def test_a_quadrant_of_compare_can_be_reviewed(reviewed, open_page):
    scores = {name: Dense(reviewed, reviewed.dataset(NAME)).scores(NAME, name) for name in ("mimic", "margin")}
    only = np.flatnonzero((scores["mimic"] < 0.01) & (scores["margin"] >= 1.0))
    app = open_page(reviewed, "review", run=NAME, queue="rule", rule="margin >= 1.0 - mimic >= 0.01", side="kept")
    seen = []
    for _ in range(3):
        seen.append(shown(app))
        press(app, "Drop")
    assert set(seen) <= set(only.tolist())
    said = words(open_page(reviewed, "review", run=NAME, queue="rule", rule="margin >", side="kept"))
    assert "the rule goes wrong at character 8" in said
