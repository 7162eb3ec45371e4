"""Figures of a training run: what is drawn is what was given, and says so."""

import pandas as pd
import pytest

from mimic.reports import training_figures
from mimic.reports.palette import DARK, LIGHT

POINTS = pd.DataFrame(
    {
        "arm": ["grad_mimic"] * 4 + ["uniform"] * 2,
        "epoch": [0, 0, 1, 1, 0, 1],
        "step": [10, 10, 20, 20, 10, 20],
        "split": ["train", "validation"] * 2 + ["validation"] * 2,
        "loss": [1.0, 0.9, 0.8, 0.7, 0.95, 0.85],
        "accuracy": [0.5, 0.5, 0.75, 0.75, 0.25, 0.625],
        "mean_score": [0.2, None, -0.1, None, None, None],
        "ess": [0.9, None, 0.8, None, None, None],
    }
)


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_curves_have_a_line_an_arm_and_split(colours) -> None:
    drawing = training_figures.curves(POINTS, colours, "accuracy", "accuracy, %", ["validation", "truth"], 10)
    assert {curve.name: curve.y for curve in drawing.curves} == {
        "Grad-Mimic, held back": [50, 75],
        "equal weights, held back": [25, 62.5],
    }
    ours, theirs = drawing.curves
    assert ours.x == [1, 2]
    assert ours.colour == colours.reference != theirs.colour
    assert (drawing.y.title, drawing.x.low, drawing.x.high) == ("accuracy, %", 0, 2)
    assert drawing.y.low < 25 < 75 < drawing.y.high
    drawing = training_figures.curves(POINTS, colours, "loss", "loss", ["train"], 10)
    assert [curve.name for curve in drawing.curves] == ["Grad-Mimic, training"]


def test_the_course_marks_where_the_reference_was_exhausted() -> None:
    drawing = training_figures.course(POINTS, LIGHT, "ess", "share, %", 10, exhausted=14)
    assert drawing.curves[0].y == [90, 80]
    assert [(line.at, line.words) for line in drawing.lines] == [(1.5, "caught up")]
    assert drawing.y.low == 0
    drawing = training_figures.course(
        POINTS, LIGHT, "ess", "share, %", 10, exhausted=24
    )  # the step after the last point
    assert drawing.x.high == drawing.lines[0].at == 2.5
    assert not training_figures.course(POINTS, LIGHT, "mean_score", "mean", 10).lines


def test_a_sample_s_weights_are_coloured_by_their_side() -> None:
    visits = pd.DataFrame(
        {"visit": [0, 1], "weight": [0.4, 1.5], "score": [-0.1, 0.2], "loss": [2.0, 1.0], "margin": [-1.0, 1.0]}
    )
    above, below = training_figures.history(visits, LIGHT).curves
    assert (above.colour, above.x, above.low, above.high) == (LIGHT.kept, [2], [1], [1.5])
    assert (below.colour, below.x, below.low, below.high) == (LIGHT.dropped, [1], [0.4], [1])
    assert "weight 1.50" in above.said[0]


@pytest.mark.parametrize(
    ("visits", "ticks"), [(1, ["1"]), (3, ["1", "2", "3"]), (40, [str(1 + 4 * i) for i in range(10)])]
)
def test_visits_are_whole_numbers(visits, ticks) -> None:
    table = pd.DataFrame({"visit": range(visits), "weight": 1.0, "score": 0.0, "loss": 1.0})
    assert [words for _, words in training_figures.history(table, LIGHT).x.ticks] == ticks
