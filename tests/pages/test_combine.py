"""Combine, alone: a rule built by widgets, written down, or opened by a link is one rule with exact counts."""

import json

import numpy as np
import pytest

from benchmarks import synthetic
from mimic.data import Shard
from mimic.workspace.filters import load_filter, save_filter
from tests.pages.conftest import CLASSES, ROWS, SHARD, address, markup, metrics, to_copy

RUN, KEPT = f"synthetic-{ROWS}", ":blue[:material/check:] Kept"


@pytest.fixture(scope="module")
def drawn():
    shards = [Shard(i, a, min(a + SHARD, ROWS)) for i, a in enumerate(range(0, ROWS, SHARD))]
    pieces = [synthetic.draw(shard, CLASSES, 0) for shard in shards]
    scores = {name: np.concatenate([p.signals[name] for p in pieces]).astype(float) for name in synthetic.SIGNALS}
    return scores, np.concatenate([piece.wrong for piece in pieces])


def top(scores, share):
    known = scores[~np.isnan(scores)]
    return scores >= np.sort(known)[::-1][int(np.ceil(share * known.size - 1e-6)) - 1]


def written(app):
    return next(area.value for area in app.text_area if area.label.startswith("The rule"))


def step(app, name, kind="selectbox"):
    """The widget of that name in the last step."""
    found = [widget for widget in getattr(app, kind) if str(widget.key).endswith(f" {name}")]
    return found[-1]


def test_a_link_opens_a_rule_and_its_numbers_are_numpys(published, open_page, drawn):
    scores, wrong = drawn
    app = open_page(published, "combine", run=RUN, rule=f"{RUN}:mimic@top50% - {RUN}:margin@bottom15%")
    kept = top(scores["mimic"], 0.5) & top(scores["margin"], 0.85)
    known = ~np.isnan(scores["mimic"])
    shown = metrics(app)
    assert shown[KEPT] == f"{kept.sum():,}"
    assert shown[":orange[:material/close:] Dropped"] == f"{(known & ~kept).sum():,}"
    assert shown["Not scored"] == f"{(~known).sum():,}"
    assert float(shown["Dropped that are wrong"][:-1]) == pytest.approx(100 * wrong[known & ~kept].mean(), abs=0.051)
    recall = (wrong & known & ~kept).sum() / (wrong & known).sum()
    assert float(shown["Wrong ones dropped"][:-1]) == pytest.approx(100 * recall, abs=0.051)
    assert written(app) == "mimic@top50% - margin@bottom15%"
    assert f"leaves {top(scores['mimic'], 0.5).sum():,} kept" in markup(app)


def test_a_slider_a_link_and_a_new_step_write_the_rule(published, open_page):
    app = open_page(published, "combine", run=RUN)
    assert written(app) == "mimic@top80%"
    app.slider[0].set_value(60.5).run()
    assert written(app) == "mimic@top60.5%"
    assert address(app, "rule") == f"{RUN}:mimic@top60.5%"
    app.button(key="add signal").click().run()
    assert written(app) == "mimic@top60.5% & ref_logprob@top80%"
    step(app, "link").set_value("minus").run()
    step(app, "cut").set_value("bottom").run()
    assert written(app) == "mimic@top60.5% - ref_logprob@bottom15%"
    step(app, "cut").set_value("mixture").run()
    assert written(app) == "mimic@top60.5% - ref_logprob@mixture"
    step(app, "cut").set_value("line").run()
    assert " - ref_logprob >= " in written(app)
    step(app, "remove", "button").click().run()
    assert written(app) == "mimic@top60.5%"
    assert not app.exception


def test_a_share_of_each_class_a_mean_and_a_vote(published, open_page):
    app = open_page(published, "combine", run=RUN)
    app.checkbox[0].check().run()
    assert written(app) == "mimic@top80%/class"
    app.button(key="add mean").click().run()
    assert "& mean(mimic, " in written(app)
    step(app, "of").set_value("rank").run()
    assert "& mean_rank(mimic, " in written(app)
    app.button(key="add vote").click().run()
    assert "& dawid_skene(mimic@mixture, " in written(app)
    step(app, "how").set_value("majority").run()
    assert "& majority(mimic@mixture, " in written(app)
    assert not app.exception


def test_the_expression_and_the_json_can_be_edited_and_mistakes_are_said(published, open_page):
    app = open_page(published, "combine", run=RUN)
    app.text_area[0].set_value("margin >= 0.5 | mimic@top10%").run()
    assert written(app) == "margin >= 0.5 | mimic@top10%"
    app.text_area[0].set_value("margin >= 0.5 | mimc@top10%").run()
    said = app.error[0].value.replace("\\", "")
    assert "goes wrong at character 17" in said
    assert "did you mean mimic?" in said
    assert written(app) == "margin >= 0.5 | mimc@top10%"
    assert not app.toast
    assert address(app, "rule") == f"{RUN}:margin >= 0.5 | {RUN}:mimic@top10%"
    rule = {"kind": "threshold", "run": RUN, "signal": "margin", "threshold": 1.25}
    app.text_area[1].set_value(json.dumps(rule)).run()
    assert written(app) == "margin >= 1.25"
    assert not app.error
    app.text_area[0].set_value("mimic@top80").run()
    assert "80% would be mimic@top80%" in markup(app).replace("\\", "")
    app.text_area[1].set_value("[" * 100_000).run()
    assert app.toast[0].value
    assert not app.exception


def test_a_broken_link_is_a_sentence_and_a_new_beginning(published, open_page):
    app = open_page(published, "combine", run=RUN, rule="nothing:of@this")
    assert "goes wrong" in app.error[0].value
    assert written(app) == "mimic@top80%"


def test_a_rule_is_saved_and_leads_on(copy, open_page):
    app = open_page(copy, "combine", run=RUN, rule=f"{RUN}:mimic@top50% - other:margin@bottom15%")
    app.text_input(key="state: name").set_value("both").run()
    next(button for button in app.button if button.label == "Save").click().run()
    saved = load_filter(copy, "both")
    assert saved.rule["kind"] == "minus"
    assert saved.counts["kept"] == int(metrics(app)[KEPT].replace(",", ""))
    assert "This rule is saved as both" in markup(app)
    for page in ("review", "export", "audit", "threshold"):
        assert not open_page(copy, page, run=RUN, filter="both").exception
    export = open_page(copy, "export", run=RUN, filter="both")
    assert metrics(export)[KEPT].replace(",", "") == str(saved.counts["kept"])
    review = open_page(copy, "review", run=RUN, queue="dropped both")
    assert review.selectbox(key="state: queue").value == "dropped both"


def test_a_filter_is_opened_and_added(copy, open_page):
    rule = {"kind": "threshold", "run": RUN, "signal": "margin", "threshold": 0.5, "drop_unscored": False}
    save_filter(copy, "line", RUN, rule, {"kept": 1, "dropped": 1, "not_scored": 1})
    app = open_page(copy, "combine", run=RUN)
    next(box for box in app.selectbox if box.label == "A filter").set_value("line").run()
    app.button(key="filter Add").click().run()
    assert written(app) == "mimic@top80% - margin >= 0.5"
    next(box for box in app.selectbox if box.label == "A filter").set_value("line").run()
    app.button(key="filter Open").click().run()
    assert written(app) == "margin >= 0.5"
    assert not app.exception


def test_a_part_that_stands_there_twice_is_shown_twice(published, open_page):
    part = "(mimic@top50% & margin@top50%)"
    app = open_page(published, "combine", dataset=RUN, run=RUN, rule=f"mimic@top90% - {part} - {part}")
    assert not app.error
    shown = [words for words in to_copy(app) if "mimic@top50%" in words and not words.startswith("mimic filter")]
    assert len(shown) == 2
    assert shown[0] == shown[1]
