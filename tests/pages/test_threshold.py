"""Threshold, alone: exact counts, named filters and their files."""

import json

import numpy as np
import pytest

from benchmarks import synthetic
from mimic.data import Shard
from mimic.evaluation.verdicts import judge_lines
from mimic.workspace.audits import begin_audit
from mimic.workspace.decisions import Decisions, Subject
from mimic.workspace.filters import load_filter, save_filter
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.threshold import line_keeping
from tests.pages.conftest import CLASSES, ROWS, SHARD, address, handed, metrics, words

KEPT, DROPPED = ":blue[:material/check:] Kept", ":orange[:material/close:] Dropped"


@pytest.fixture(scope="module")
def scores():
    shards = [Shard(i, a, min(a + SHARD, ROWS)) for i, a in enumerate(range(0, ROWS, SHARD))]
    return np.concatenate([synthetic.draw(shard, CLASSES, 0).signals["mimic"] for shard in shards])


def assert_shows(app, scores, kept):
    scored = scores[~np.isnan(scores)]
    assert metrics(app)[KEPT] == f"{kept:,}"
    assert metrics(app)[DROPPED] == f"{scored.size - kept:,}"
    assert f"{np.isnan(scores).sum():,} are not scored" in words(app)


def move(app, kept):
    """The line to where it keeps so many, by the address."""
    app.query_params["keep"] = str(kept)
    app.run()


def test_a_link_opens_the_line(published, open_page, scores):
    app = open_page(published, "threshold", run="synthetic-1500", keep="321")
    assert_shows(app, scores, 321)


def test_the_first_line_keeps_four_fifths_and_another_address_another(published, open_page, scores):
    app = open_page(published, "threshold", run="synthetic-1500")
    assert_shows(app, scores, round(0.8 * (~np.isnan(scores)).sum()))
    move(app, 0)
    assert_shows(app, scores, 0)
    assert address(app, "keep") == "0"  # or the same address would show another line
    assert not app.exception


def test_another_signal_keeps_the_budget(published, open_page):
    app = open_page(published, "threshold", run="synthetic-1500", keep="700")
    app.selectbox(key="state: signal").set_value("margin").run()
    assert metrics(app)[KEPT] == "700"


def test_saving_a_line(copy, open_page, scores):
    app = open_page(copy, "threshold", run="synthetic-1500", keep="900")
    app.text_input(key="state: name").set_value("strict")
    app.button[0].click().run()
    assert any("Saved strict: 900 kept" in success.value for success in app.success)
    saved = load_filter(copy, "strict")
    assert saved.rule["signal"] == "mimic"
    assert (scores >= saved.rule["threshold"]).sum() == 900 == saved.counts["kept"]
    assert "**strict**" in words(app)
    # the same name for another line is refused, unless it is to be replaced
    move(app, 800)
    app.button[0].click().run()
    assert "'strict' is there with another rule" in words(app).replace("\\", "")
    assert load_filter(copy, "strict").counts["kept"] == 900
    app.checkbox(key="state: replace").check()
    app.button[0].click().run()
    assert load_filter(copy, "strict").counts["kept"] == 800


def test_a_bad_name_is_a_sentence(copy, open_page):
    app = open_page(copy, "threshold")
    app.text_input(key="state: name").set_value("../up")
    app.button[0].click().run()
    assert "cannot name a filter" in words(app)
    assert not list(copy.path.rglob("up.json"))


def test_a_filter_whose_run_is_gone_says_so(copy, open_page):
    rule = {"kind": "threshold", "run": "gone", "signal": "mimic", "threshold": 0.5}
    save_filter(copy, "orphan", "synthetic-1500", rule, {"kept": 1, "dropped": 2, "not_scored": 0})
    app = open_page(copy, "threshold")
    assert "no run 'gone'" in words(app).replace("\\", "")


def test_a_keep_from_nowhere(published, open_page):
    for keep in ("-5", "1e12", "many", "nan"):
        app = open_page(published, "threshold", keep=keep)
        kept, dropped = (json.loads(metrics(app)[name].replace(",", "")) for name in (KEPT, DROPPED))
        assert kept >= 0 <= dropped
        assert not app.exception


def test_an_audit_speaks_at_any_line(copy, open_page, monkeypatch):
    monkeypatch.delenv("MIMIC_DECISIONS_URL", raising=False)
    dataset = copy.dataset("synthetic-1500")
    published = Published.of(copy.run("synthetic-1500"), dataset)
    audit = begin_audit(copy, "checked", published, "mimic", 0.0, (40, 40))
    app = open_page(copy, "threshold", run="synthetic-1500", keep="900")
    assert "Not enough verdicts: 0 bad samples" in words(app).replace("\\", "")
    verdicts = {}
    for place, sample in enumerate(audit.samples):
        action = "drop" if place % 3 == 0 else "keep"
        verdicts[sample] = "bad" if action == "drop" else "good"
        Decisions(copy, dataset).record("ann", action, Subject(sample, "x", None, source=audit.source))
    app.run()
    line = line_keeping(published, "mimic", 900)
    (expected,) = judge_lines(published, audit, verdicts, [line.score])
    assert expected.sentence in words(app).replace("\\", "")
    app.selectbox(key="state: signal").set_value("margin").run()
    assert "At this line" not in words(app)


def test_decisions_show_above_the_bars_as_soon_as_they_are_made(copy, open_page, monkeypatch, scores):
    monkeypatch.delenv("MIMIC_DECISIONS_URL", raising=False)
    decisions = Decisions(copy, copy.dataset("synthetic-1500"))
    app = open_page(copy, "threshold", run="synthetic-1500")
    assert handed(app, "mimic-bars")["decided"] == []
    for count in (1, 2):
        decisions.record("ann", "drop", Subject(count, "x", None))
        app.run()
        expected = [["drop", float(scores[sample])] for sample in range(1, count + 1)]
        assert handed(app, "mimic-bars")["decided"] == expected
    decisions.undo("ann")
    app.run()
    assert handed(app, "mimic-bars")["decided"] == [["drop", float(scores[1])]]
