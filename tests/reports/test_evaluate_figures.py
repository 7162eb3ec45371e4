"""Figures of what filters are worth: they hold the numbers they are given, inside the axes."""

import numpy as np
import pandas as pd
import pytest

from mimic.reports import evaluate_figures
from mimic.reports.palette import LIGHT


@pytest.mark.parametrize("true", [0.9, 1.0, float("nan")])
def test_the_truth_is_in_sight_however_far_off_the_estimate_is(true):
    table = pd.DataFrame({"part": ["a"], "share": [0.999], "low": [0.992], "high": [1.0], "true": [true]})
    drawing = evaluate_figures.shares(table, LIGHT)
    truth, estimate = drawing.curves
    assert (estimate.x, estimate.low, estimate.high) == ([99.9], [99.2], [100])
    assert truth.x == pytest.approx([100 * true], nan_ok=True)
    assert drawing.x.low < 98
    assert drawing.x.high == 100
    if true == true:
        assert drawing.x.low < 100 * true


def test_parts_stand_from_the_top_down_and_the_worst_alone():
    names = [f"class {place}" for place in range(40)]
    table = pd.DataFrame({"part": names, "share": np.linspace(0.5, 0.9, 40), "low": 0.4, "high": 0.95})
    drawing = evaluate_figures.shares(table, LIGHT)
    assert [words for _, words in reversed(drawing.y.ticks)] == names[: evaluate_figures.MOST_PARTS]
    assert drawing.curves[0].x[-1] == 50


def test_without_truth_or_parts_there_is_an_axis_still():
    table = pd.DataFrame({"part": ["a"], "share": [0.5], "low": [0.4], "high": [0.6]})
    for shown, ends in ((table, (38, 100)), (table.head(0), (0, 100))):
        drawing = evaluate_figures.shares(shown, LIGHT)
        assert (drawing.x.low, drawing.x.high) == ends
        assert drawing.y.low < drawing.y.high


@pytest.mark.parametrize("kind", ["roc", "pr"])
def test_curves_have_their_bands_and_chance_is_for_roc_alone(kind):
    band = pd.DataFrame({"x": [0.0, 0.5, 1.0], "y": [0.0, 0.8, 1.0], "low": [0.0, 0.7, 1.0], "high": [0.0, 0.9, 1.0]})
    names = [f"signal {place}" for place in range(9)]
    drawing = evaluate_figures.curves(dict.fromkeys(names, band), LIGHT, kind)
    named = [curve for curve in drawing.curves if curve.name]
    assert [curve.name for curve in named] == names[: evaluate_figures.MOST_CURVES]
    assert len({(curve.colour, curve.line) for curve in named}) == len(named)
    assert (named[0].x, named[0].y) == ([0, 50, 100], [0, 80, 100])
    assert (named[0].low, named[0].high, named[0].band) == ([0, 70, 100], [0, 90, 100], True)
    assert named[0].said[1] == "80.0% at 50%"
    assert len(drawing.curves) - len(named) == (kind == "roc")


def test_retraining_has_a_curve_an_arm_and_levels_without_error():
    rows = [("kept", "a", 0.5, 0.8), ("kept", "a", 0.2, 0.7), ("weights", "a", 1.0, 0.9), ("random", "", 0.5, 0.6)]
    rows += [("everything", "", 1.0, 0.75)]
    table = pd.DataFrame(rows, columns=["arm", "filter", "budget", "accuracy"]).assign(error=0.01)
    drawing = evaluate_figures.retraining(table, LIGHT, ["a", "gone"])
    assert [curve.name for curve in drawing.curves] == ["a", "a, weights", "as many at random", "everything"]
    kept, level = drawing.curves[0], drawing.curves[-1]
    assert (kept.x, kept.y) == ([20, 50], [70, 80])
    assert kept.low == pytest.approx([69, 79])
    assert (level.x, level.y, level.low) == ((20, 100), (75, 75), ())
    assert drawing.y.low < 59
    assert drawing.y.high > 90


def test_an_audit_s_line_is_on_its_axis():
    ends = {f"{name}{end}": [0.1, 0.2] for name in ("precision", "recall") for end in ("", "_low", "_high")}
    drawing = evaluate_figures.audit(pd.DataFrame({"line": [1.0, 2.0], **ends}), LIGHT, "mimic", 3.0)
    assert [curve.name for curve in drawing.curves] == ["precision", "recall"]
    assert (drawing.x.low, drawing.x.high, drawing.lines[0].at) == (1, 3, 3)
    same = evaluate_figures.audit(pd.DataFrame({"line": [0.25], **{name: [0.5] for name in ends}}), LIGHT, "flat", 0.25)
    assert same.x.low < 0.25 < same.x.high  # where all scores are one
