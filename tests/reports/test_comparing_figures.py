"""Figures that compare filters say what their tables say."""

import numpy as np
import pandas as pd

from mimic.reports import comparing_figures as figures
from mimic.reports.palette import LIGHT
from mimic.workspace.queries.compare import Density

FOUND = Density(np.array([[0, 1], [10, 100]]), np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0]))


def test_density_leaves_empty_cells_empty_and_lines_inside():
    figure = figures.density(FOUND, LIGHT, ("x", "y"), (-5.0, 1.5))
    assert np.isnan(figure.data[0].z[0][0])
    assert figure.data[0].z[1][1] > figure.data[0].z[1][0] > figure.data[0].z[0][1]
    assert [(line.x0, line.y0) for line in figure.layout.shapes] == [(0.0, 0), (0, 1.5)]
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("A: x", "B: y")
    assert len(figure.layout.annotations) == 4


def test_a_filter_without_a_line_has_none():
    figure = figures.density(FOUND, LIGHT, ("x", "y"), (None, 1.5))
    assert len(figure.layout.shapes) == 1
    assert not figure.layout.annotations


def test_upset_has_a_bar_a_combination_and_a_row_a_member():
    table = pd.DataFrame(
        {
            "drops": [(), (0, 2), (1,), (0, 1, 2)],
            "samples": [90, 30, 20, 10],
            "known": [0, 30, 0, 10],
            "wrong": [0, 15, 0, 9],
        }
    )
    figure = figures.upset(table, [40, 30, 40], ["a", "<b>b</b>", "c"], LIGHT)
    bars, empty, full, lines, sizes = figure.data
    assert list(bars.y) == [30, 20, 10]  # what nobody drops is left out
    assert bars.customdata[0].tolist() == ["a and c", ", 50% wrong"]
    assert "&lt;b&gt;" in bars.customdata[1][0]
    assert list(zip(full.x, full.y, strict=True)) == [(0, 0), (0, 2), (1, 1), (2, 0), (2, 1), (2, 2)]
    assert len(empty.x) + len(full.x) == 9
    assert list(sizes.x) == [40, 30, 40]
    assert list(lines.y[:2]) == [0, 2]
    nothing = figures.upset(table.head(1), [0, 0], ["a", "b"], LIGHT)
    assert len(nothing.data[0].y) == 0


def test_overlap_is_drawn_beside_chance():
    table = pd.DataFrame({"kept": [0.2, 0.8], "overlap": [0.9, 0.5], "chance": [0.6, 0.1]})
    figure = figures.overlap(table, LIGHT, 0.8)
    assert [list(trace.y) for trace in figure.data] == [[90, 50], [60, 10]]
    assert figure.layout.shapes[0].x0 == 80
