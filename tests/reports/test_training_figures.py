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
STRIPS = pd.DataFrame(
    {
        "epoch": [0, 0, 2], "cell": [1, 3, 2], "low": [-0.5, 0.5, 0.0], "high": [0.0, 1.0, 0.5], "n": [3, 1, 4],
        "mean": [0.1, 0.1, 0.3], "positive": [0.25, 0.25, 1.0], "visits": [4, 4, 4],
    }
)  # fmt: skip


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_curves_have_a_line_an_arm_and_split(colours) -> None:
    figure = training_figures.curves(POINTS, colours, "accuracy", "accuracy, %", ["validation", "truth"], 10)
    assert {line.name: list(line.y) for line in figure.data} == {
        "Grad-Mimic, held back": [50, 75],
        "equal weights, held back": [25, 62.5],
    }
    assert list(figure.data[0].x) == [1, 2]
    assert figure.data[0].line.color == colours.reference != figure.data[1].line.color
    assert figure.layout.yaxis.title.text == "accuracy, %"
    figure = training_figures.curves(POINTS, colours, "loss", "loss", ["train"], 10)
    assert [line.name for line in figure.data] == ["Grad-Mimic, training"]


def test_the_course_marks_where_the_reference_was_exhausted() -> None:
    figure = training_figures.course(POINTS, LIGHT, "ess", "share, %", 10, exhausted=14)
    assert list(figure.data[0].y) == [90, 80]
    assert [shape.x0 for shape in figure.layout.shapes] == [1.5]
    assert not training_figures.course(POINTS, LIGHT, "mean_score", "mean", 10).layout.shapes


def test_strips_are_shares_with_exact_counts_on_hovering() -> None:
    figure = training_figures.strips(STRIPS, LIGHT, "score")
    heat, means = figure.data
    assert heat.z.tolist() == [[0.75, 0, 0.25], [0, 1, 0]]
    assert list(heat.x) == pytest.approx([-0.25, 0.25, 0.75])
    assert heat.text[0][0].endswith("3 visits")
    assert list(means.x) == [0.1, 0.3]
    assert means.hovertext[1].startswith("epoch 3: mean 0.300")
    assert list(figure.layout.yaxis.ticktext) == ["1", "3"]


def test_a_sample_s_weights_are_coloured_by_their_side() -> None:
    visits = pd.DataFrame(
        {"visit": [0, 1], "weight": [0.4, 1.5], "score": [-0.1, 0.2], "loss": [2.0, 1.0], "margin": [-1.0, 1.0]}
    )
    bars = training_figures.history(visits, LIGHT).data[0]
    assert list(bars.marker.color) == [LIGHT.dropped, LIGHT.kept]
    assert list(bars.y) == pytest.approx([-0.6, 0.5])
    assert "weight 1.50" in bars.hovertext[1]
