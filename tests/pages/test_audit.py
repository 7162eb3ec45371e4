"""Audit, alone: a draw, blind verdicts, and what they say of the line."""

import time

import pytest

from mimic.evaluation import verdicts
from mimic.evaluation.audit import bad_bounds
from mimic.filters.rules import read_rule
from mimic.reports import text
from mimic.workspace.audits import begin_audit, load_audit
from mimic.workspace.decisions import Decisions, Subject
from mimic.workspace.filters import load_filter, save_filter
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.dense import Dense
from tests.pages.conftest import metrics, words

NAME = "synthetic-1500"
RULE = {"kind": "threshold", "run": NAME, "signal": "mimic", "threshold": 0.0, "drop_unscored": False}


@pytest.fixture
def filtered(copy, monkeypatch):
    monkeypatch.delenv("MIMIC_DECISIONS_URL", raising=False)
    save_filter(copy, "strict", NAME, RULE, {"kept": 1, "dropped": 1, "not_scored": 1})
    return copy


def test_without_a_filter_it_says_what_to_do(published, open_page):
    assert "no filter is saved yet" in words(open_page(published, "audit"))


def test_drawing_and_judging_blind(filtered, open_page):
    app = open_page(filtered, "audit", filter="strict")
    assert "press Draw" in words(app)
    app.number_input(key="asked").set_value(60)
    next(button for button in app.button if button.key == "draw").click()
    app.run()
    assert not app.exception
    audit = load_audit(filtered, "strict")
    assert len(audit.samples) == 60
    app.number_input(key="asked").set_value(20)
    next(button for button in app.button if button.key == "draw").click()
    app.run()
    assert "has 60 drawn samples, more than 20" in words(app).replace("\\", "")
    said = words(app)
    assert "The reference sees" not in said
    assert "mimic −" not in said
    time.sleep(0.2)
    next(button for button in app.button if button.label == "Bad").click()
    app.run()
    decisions = Decisions(filtered, filtered.dataset(NAME))
    assert decisions.history()[["sample", "action", "source"]].values.tolist() == [
        [audit.samples[0], "drop", "audit strict"]
    ]
    app.toggle(key="results").set_value(True).run()
    assert "Not enough verdicts: 1 bad samples found" in words(app).replace("\\", "")


def test_what_the_verdicts_say(filtered, open_page):
    dataset = filtered.dataset(NAME)
    published, decisions = Published.of(filtered.run(NAME), dataset), Decisions(filtered, dataset)
    audit = begin_audit(filtered, "strict", published, "mimic", 0.0, (30, 30))
    for zone, bad_ones in zip(audit.zones, (20, 3), strict=True):
        for place, sample in enumerate(zone.samples):
            action = "drop" if place < bad_ones else "keep"
            decisions.record("ann", action, Subject(sample, "x", None, NAME, audit.source))
    app = open_page(filtered, "audit", filter="strict")
    assert "Every drawn sample is judged" in "".join(one.value for one in app.success)
    app.toggle(key="results").set_value(True).run()
    assert not app.exception
    dropped = audit.zones[0].size
    low, high = (int(bound) / dropped for bound in bad_bounds(20, 30, dropped, 0.05))
    assert metrics(app)["Precision"] == f"{text.percent(low, 0)} – {text.percent(high, 0)}"
    assert "60 verdicts" in words(app)
    assert "more verdicts" in words(app)


def test_a_rule_that_is_no_line_is_judged_by_what_it_drops_and_keeps(filtered, open_page):
    low = {"kind": "share", "run": NAME, "signal": "margin", "side": "bottom", "best": {"share": 0.15}}
    rule = {"kind": "minus", "of": RULE, "without": low}
    save_filter(filtered, "both", NAME, rule, {"kept": 1, "dropped": 1, "not_scored": 1})
    app = open_page(filtered, "audit", filter="both")
    app.number_input(key="asked").set_value(60)
    next(button for button in app.button if button.key == "draw").click()
    app.run()
    assert not app.exception
    audit = load_audit(filtered, "both")
    assert (audit.signal, audit.line) == (None, None)
    assert [len(zone.samples) for zone in audit.zones] == [30, 30]
    decisions = Decisions(filtered, filtered.dataset(NAME))
    for zone, bad_ones in zip(audit.zones, (20, 3), strict=True):
        for place, sample in enumerate(zone.samples):
            action = "drop" if place < bad_ones else "keep"
            decisions.record("ann", action, Subject(sample, "x", None, NAME, audit.source))
    app = open_page(filtered, "audit", filter="both")
    app.toggle(key="results").set_value(True).run()
    assert not app.exception
    dropped = audit.zones[0].size
    low_bound, high = (int(bound) / dropped for bound in bad_bounds(20, 30, dropped, 0.05))
    assert metrics(app)["Precision"] == f"{text.percent(low_bound, 0)} – {text.percent(high, 0)}"
    more = begin_audit_again(filtered, 80)
    for before, after in zip(audit.zones, more.zones, strict=True):
        assert after.samples[: len(before.samples)] == before.samples


def begin_audit_again(workspace, count):
    """The same audit with more samples."""
    rule = read_rule(load_filter(workspace, "both").rule)
    return verdicts.begin(Dense(workspace, workspace.dataset(NAME)), "both", rule, count)
