"""Explore, alone: links reopen a view, filters filter, nonsense in a link does no harm."""

from urllib.parse import parse_qs

import numpy as np
import pytest

from benchmarks import synthetic
from mimic.data import Shard
from mimic.workspace.layout import Workspace
from pages.widgets.bars import STRIPS
from tests.pages.conftest import CLASSES, ROWS, SHARD, address, handed, metrics, words


@pytest.fixture(scope="module")
def drawn():
    shards = [Shard(i, a, min(a + SHARD, ROWS)) for i, a in enumerate(range(0, ROWS, SHARD))]
    pieces = [synthetic.draw(shard, CLASSES, 0) for shard in shards]
    label = np.concatenate([piece.label for piece in pieces])
    wrong = np.concatenate([piece.wrong for piece in pieces])
    return label, wrong, np.concatenate([piece.signals["margin"] for piece in pieces])


def test_a_link_reopens_what_it_shows(published, open_page, drawn):
    label, wrong, margin = drawn
    link = {"run": "synthetic-1500", "signal": "margin", "low": "-0.5", "high": "1.25", "order": "highest"}
    link |= {"class": ["class 000", "class 002"], "truth": "wrong"}
    app = open_page(published, "explore", **link)
    expected = (margin >= -0.5) & (margin < 1.25) & np.isin(label, (0, 2)) & wrong
    assert f"**{expected.sum():,}** samples" in words(app)
    assert "margin −0.5000 … 1.250" in words(app)
    assert app.selectbox(key="state: signal").value == "margin"
    assert app.multiselect(key="state: class").value == ["class 000", "class 002"]


def test_filters_change_the_count_and_the_address(published, open_page, drawn):
    label, _, margin = drawn
    app = open_page(published, "explore", run="synthetic-1500", signal="margin")
    app.multiselect(key="state: class").set_value(["class 001"]).run()
    assert f"**{((label == 1) & ~np.isnan(margin)).sum():,}** samples" in words(app)
    assert address(app, "class") == "class 001"
    app.text_input(key="state: text").set_value("PICTURE 3 OF").run()
    assert address(app, "text") == "PICTURE 3 OF"
    assert not app.exception


def test_other_signals_can_be_limited_too(published, open_page, drawn):
    margin = drawn[2]
    app = open_page(
        published, "explore", run="synthetic-1500", signal="mimic", limit="margin", **{"margin.from": "1.5"}
    )
    assert f"**{(margin >= 1.5).sum():,}** samples" in words(app)
    app.number_input(key="state: margin.to").set_value(2.5).run()
    assert f"**{((margin >= 1.5) & (margin < 2.5)).sum():,}** samples" in words(app)
    assert (address(app, "margin.from"), address(app, "margin.to")) == ("1.5", "2.5")


def test_paging_goes_on_and_comes_back(published, open_page):
    app = open_page(published, "explore", run="synthetic-1500")
    first = app.button
    names = {button.label: button for button in first}
    assert names["Previous"].disabled
    names["Next"].click().run()
    assert "after" in app.query_params
    {button.label: button for button in app.button}["Previous"].click().run()
    assert not {button.label: button for button in app.button}["Next"].disabled
    assert not app.exception


def test_another_signal_lifts_the_brush(published, open_page):
    app = open_page(published, "explore", run="synthetic-1500", signal="margin", low="0.5")
    assert "from 0.5000" in words(app)
    app.selectbox(key="state: signal").set_value("mimic").run()
    assert "Drag across the bars" in words(app)
    assert "low" not in app.query_params


@pytest.mark.parametrize("split", ["none", "class", "truth"])
@pytest.mark.parametrize("order", ["lowest", "nearest", "random"])
def test_every_split_and_order_draws(published, open_page, split, order):
    app = open_page(published, "explore", split=split, order=order, log="True")
    assert "samples" in words(app)


@pytest.mark.parametrize(
    "link",
    [
        {"low": "nan", "high": "inf", "near": "1e999", "seed": "x", "order": "sideways"},
        {"run": "gone", "signal": "'; DROP TABLE scores; --", "dataset": "../../etc", "class": "zebra"},
        {"after": "not a cursor"},
        {"after": "0.1_5", "before": "0.2_9"},
        {"text": "%_\\'\"<img src=x>"},
    ],
)
def test_nonsense_in_a_link_does_no_harm(published, open_page, link):
    app = open_page(published, "explore", **link)
    assert app.title[0].value == "Explore"


def test_without_a_run_it_says_what_to_do(tmp_path, open_page):
    assert "This workspace is empty" in words(open_page(Workspace(tmp_path), "explore"))


def test_limits_go_along_to_review_and_to_a_filter(published, open_page, drawn):
    margin = drawn[2]
    link = {"run": "synthetic-1500", "signal": "mimic", "limit": "margin", "margin.from": "1.5", "margin.to": "2.5"}
    review = open_page(published, "review", **link, queue="lowest")
    assert "margin 1.500 … 2.500" in words(review).replace("\\", "")
    assert (address(review, "limit"), address(review, "margin.from")) == ("margin", "1.5")
    rule = "margin >= 1.5 - margin >= 2.5"
    combine = open_page(published, "combine", run="synthetic-1500", rule=rule)
    assert f"{((margin >= 1.5) & (margin < 2.5)).sum():,}" in words(combine) + str(metrics(combine))
    explore = open_page(published, "explore", **link)
    links = [link.proto.query_string for link in explore.get("page_link") if link.proto.label == "As a filter"]
    assert len(links) == 1
    assert parse_qs(links[0])["rule"] == [rule]


@pytest.mark.parametrize("log", [False, True])
def test_the_bars_hold_all_samples_and_are_drawn_as_the_link_says(published, open_page, drawn, log):
    margin = drawn[2][~np.isnan(drawn[2])].astype(np.float64)
    app = open_page(published, "explore", run="synthetic-1500", signal="margin", low="-0.5", log=str(log))
    shown = handed(app, "mimic-bars")
    assert (shown["chosen"]["low"], shown["chosen"]["high"]) == (-0.5, shown["bars"]["right"][-1])
    assert shown["logarithmic"] == log
    edges = [*shown["bars"]["left"][1:], np.inf]
    assert np.cumsum(shown["bars"]["counts"]).tolist() == [(margin < edge).sum() for edge in edges]


def test_of_many_classes_the_lowest_scoring_have_strips(tmp_path, open_page):
    workspace = Workspace(tmp_path)
    synthetic.build(workspace, 600, classes=30, shard=600, pictures=2)
    data = synthetic.draw(Shard(0, 0, 600), 30, 0)
    scored = ~np.isnan(data.signals["margin"])
    app = open_page(workspace, "explore", signal="margin", split="class")
    bars = handed(app, "mimic-bars")["bars"]
    place = np.searchsorted(bars["left"], data.signals["margin"].astype(np.float64), side="right") - 1
    place = place.clip(0)  # the outermost bars are open
    mine = {f"class {code:03}": place[scored & (data.label == code)] for code in np.unique(data.label[scored])}
    assert len(mine) > STRIPS
    lowest = sorted(mine, key=lambda name: mine[name].mean())[:STRIPS]
    assert [strip["name"] for strip in bars["strips"]] == lowest
    for strip in bars["strips"]:
        assert strip["counts"] == np.bincount(mine[strip["name"]], minlength=len(bars["left"])).tolist()
    assert sum(bars["groups"][0]["counts"]) == scored.sum()
