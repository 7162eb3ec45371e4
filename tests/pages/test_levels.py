"""Levels, as the browser gets them: their numbers against brute force, what is marked, and names that stay words."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata
from streamlit.testing.v1 import AppTest

from benchmarks import synthetic
from mimic.data import Shard
from mimic.reports.palette import LIGHT
from tests.pages.conftest import CLASSES, HOSTILE, ROWS, SHARD

RUN = f"synthetic-{ROWS}"


def drawn(app, alt):
    """Rows by name, of the levels that are called so."""
    every = (json.loads(one.proto.json) for one in app.get("bidi_component") if "levels" in one.proto.component_name)
    (found,) = [one for one in every if one["alt"] == alt]
    return {row["name"]: row for row in found["rows"]}, found


def piece(row, *kinds):
    return next(each for each in row["drawn"] if each["kind"] in kinds)


@pytest.fixture(scope="module")
def truth():
    """Labels, truth and signals of the synthetic run."""
    draws = [
        synthetic.draw(Shard(index, first, min(first + SHARD, ROWS)), CLASSES, 0)
        for index, first in enumerate(range(0, ROWS, SHARD))
    ]
    signals = {name: np.concatenate([one.signals[name] for one in draws]) for name in draws[0].signals}
    return np.concatenate([one.label for one in draws]), np.concatenate([one.wrong for one in draws]), signals


def test_each_signal_stands_where_its_auroc_is(published, open_page, truth):
    rows, figure = drawn(open_page(published, "overview", run=RUN), "AUROC of each signal at finding wrong labels")
    _, wrong, signals = truth
    assert set(rows) == set(signals)
    ticks = {float(words): place for place, words in figure["ticks"]}
    lowest, highest = min(ticks), max(ticks)
    for name, scores in signals.items():
        scored = ~np.isnan(scores)
        ranks, bad = rankdata(-scores[scored]), wrong[scored]
        auroc = (ranks[bad].mean() - (bad.sum() + 1) / 2) / (~bad).sum()
        said, half = (float(number) for number in rows[name]["number"].split(" ± "))
        assert said == pytest.approx(auroc, abs=6e-4)
        place = 100 * (auroc - lowest) / (highest - lowest)
        assert piece(rows[name], "dot", "diamond")["left"] == pytest.approx(place, abs=1e-6)
        interval = piece(rows[name], "interval")
        assert interval["width"] == pytest.approx(200 * half / (highest - lowest), abs=0.3)
        assert interval["left"] + interval["width"] / 2 == pytest.approx(place, abs=1e-6)
        assert piece(rows[name], "chance")["left"] == ticks[0.5]


def test_the_main_signal_is_marked_by_shape_and_weight_and_shown_however_poor():
    def page(table):
        from mimic.reports.palette import LIGHT
        from pages.widgets import levels

        levels.detection(table, LIGHT, "s15", "label", key="x")

    table = pd.DataFrame(
        {"signal": [f"s{i}" for i in range(20)], "auroc": [*np.linspace(0.9, 0.45, 19), np.nan], "error": 0.01}
    )
    rows, _ = drawn(AppTest.from_function(page, args=(table,)).run(), "AUROC of each signal at finding wrong labels")
    assert list(rows) == [*(f"s{i}" for i in range(8)), "s15"]
    assert [name for name, row in rows.items() if row["strong"]] == ["s15"]
    assert piece(rows["s15"], "diamond")["colour"] == LIGHT.reference
    assert piece(rows["s0"], "dot")["colour"] == LIGHT.neutral


def test_a_signal_that_tells_nothing_has_no_dot():
    def page(table):
        from mimic.reports.palette import LIGHT
        from pages.widgets import levels

        levels.detection(table, LIGHT, "a", "caption", key="x")

    table = pd.DataFrame({"signal": ["a", "b"], "auroc": [0.7, np.nan], "error": [0.02, np.nan]})
    rows, _ = drawn(AppTest.from_function(page, args=(table,)).run(), "AUROC of each signal at finding wrong captions")
    assert rows["b"]["number"] == "–"
    assert [each["kind"] for each in rows["b"]["drawn"]] == ["chance"]


def test_guesses_are_probabilities_the_likeliest_first(published, open_page):
    app = open_page(published, "sample", run=RUN, sample="10")
    rows, _ = drawn(app, "The reference's best guesses")
    shares = [piece(row, "bar")["width"] for row in rows.values()]
    assert len(rows) == 3
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) < 100.001
    assert [f"{share:.1f}%" for share in shares] == [row["number"] for row in rows.values()]


def test_the_given_label_is_marked_among_the_guesses():
    def page(table, label):
        from mimic.reports.palette import LIGHT
        from pages.widgets import levels

        levels.guesses(table, LIGHT, label, key="x")

    table = pd.DataFrame({"rank": [2, 1], "label": ["dog", "cat"], "logprob": np.log([0.25, 0.75])})
    for label, names in (("dog", ["cat", "dog ✓ given"]), ("cow", ["cat", "dog"]), (None, ["cat", "dog"])):
        rows, _ = drawn(AppTest.from_function(page, args=(table, label)).run(), "The reference's best guesses")
        assert list(rows) == names
        assert [row["strong"] for row in rows.values()] == [False, "given" in names[1]]
        assert [row["number"] for row in rows.values()] == ["75.0%", "25.0%"]


def test_the_balance_is_what_the_line_does_to_each_class(published, open_page, truth):
    labels, _, signals = truth
    scores = signals["mimic"]
    rows, _ = drawn(open_page(published, "threshold", run=RUN, keep="700"), "Kept of each class")
    line = np.sort(scores[~np.isnan(scores)])[-700]
    assert len(rows) == CLASSES
    kept = 0
    for code in range(CLASSES):
        own = scores[(labels == code) & ~np.isnan(scores)]
        row = rows[f"class {code:03}"]
        assert row["number"] == f"{100 * (own >= line).mean():.1f}"
        assert f"{(own >= line).sum():,} of {own.size:,} kept" in row["said"]
        first, second = row["drawn"]
        assert first["width"] == pytest.approx(100 * (own >= line).mean())
        assert (second["left"], second["width"]) == pytest.approx((first["width"], 100 - first["width"]))
        kept += (own >= line).sum()
    assert kept == 700


def test_names_are_cut_and_have_no_control_characters():
    def page(labels):
        import pandas as pd

        from mimic.reports.palette import LIGHT
        from pages.widgets import levels

        levels.balance(pd.DataFrame({"label": labels, "kept": 1, "dropped": 3}), LIGHT, key="x")

    rows, _ = drawn(AppTest.from_function(page, args=(HOSTILE,)).run(), "Kept of each class")
    assert len(rows) == len(HOSTILE)
    assert all(len(name) <= 41 and name.isprintable() for name in rows)
