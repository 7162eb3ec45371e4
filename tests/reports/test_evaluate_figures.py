"""Figures of the Evaluate page: everything that is drawn lies inside the axes."""

import pandas as pd
import pytest

from mimic.reports import evaluate_figures
from mimic.reports.palette import LIGHT


@pytest.mark.parametrize("true", [0.9, 1.0, float("nan")])
def test_the_truth_is_in_sight_however_far_off_the_estimate_is(true):
    table = pd.DataFrame({"part": ["a"], "share": [0.999], "low": [0.992], "high": [1.0], "true": [true]})
    figure = evaluate_figures.shares(table, LIGHT)
    low, high = figure.layout.xaxis.range
    assert low < 98
    assert high == 100
    if true == true:
        assert low < 100 * true <= high


def test_without_truth_or_parts_there_is_an_axis_still():
    table = pd.DataFrame({"part": ["a"], "share": [0.5], "low": [0.4], "high": [0.6]})
    assert tuple(evaluate_figures.shares(table, LIGHT).layout.xaxis.range) == (38, 100)
    assert tuple(evaluate_figures.shares(table.head(0), LIGHT).layout.xaxis.range) == (0, 100)
