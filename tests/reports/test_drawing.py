"""Ends of an axis that everything stands clear of; and Plotly draws just the numbers that a drawing holds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimic.reports import figures
from mimic.reports.drawing import Axis, Curve, Drawing, Line, span
from mimic.reports.palette import DARK, LIGHT
from pages.widgets.axis import ticks

NUMBERS = st.floats(-1e9, 1e9) | st.just(math.nan)


@given(values=st.lists(NUMBERS, max_size=20), zero=st.booleans())
def test_all_values_stand_clear_of_the_ends(values, zero):
    low, high = span(values, zero=zero)
    assert low < high
    for value in values:
        if math.isfinite(value):
            assert low < value < high or (zero and value in (low, high) and value == 0)
    if zero:
        assert low <= 0 <= high


@given(at=st.floats(-1e9, 1e9))
def test_an_axis_has_a_length(at):
    axis = Axis("", at, at)
    assert axis.low < at < axis.high
    assert Axis("", at, at + 1) == Axis("", at, at + 1)
    assert ticks(axis.low, axis.high, 7)


CURVES = (
    Curve("<b>one</b>", "#112233", (0.0, 1.0), (2.0, 3.0), ("a", "b <i>"), (1.5, 2.5), (2.25, 4.0), band=True),
    Curve("two", "#445566", (0.0, 1.0), (1.0, 2.0), (), (0.5, 1.5), (1.75, 2.25), line="dot", mark="diamond"),
    Curve("three", "#445566", (0.5,), (1.0,), (), (0.25,), (1.0,), across=True, line=None, mark="cross"),
    Curve("", "#778899", (0.0, 1.0), (0.0, 0.0)),
)
DRAWING = Drawing(
    CURVES,
    Axis("shares & more", 0, 1),
    Axis("", 0, 5, ((1.0, "<u>low</u>"), (2.0, "high"))),
    300,
    (Line(0.5, "<here>"), Line(2, across=True)),
)


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_plotly_draws_what_the_drawing_holds(colours):
    figure = figures.drawn(DRAWING, colours)
    plain, three, two, area, one = figure.data  # the first lies over all others
    assert (list(one.x), list(one.y), one.line.color) == ([0, 1], [2, 3], "#112233")
    assert list(area.y) == [2.25, 4, 2.5, 1.5]
    assert (list(two.error_y.array), list(two.error_y.arrayminus)) == ([0.75, 0.25], [0.5, 0.5])
    assert (two.line.dash, two.marker.symbol, two.mode) == ("dot", "diamond", "lines+markers")
    assert (list(three.error_x.array), list(three.error_x.arrayminus), three.mode) == ([0.5], [0.25], "markers")
    assert not plain.showlegend
    assert [trace.hoverinfo for trace in (one, two)] == ["text", "skip"]
    assert [(line.x0, line.y0) for line in figure.layout.shapes] == [(0.5, 0), (0, 2)]
    assert tuple(figure.layout.yaxis.range) == (0, 5)
    assert list(figure.layout.yaxis.tickvals) == [1, 2]


def test_somebody_s_words_are_no_html_there():
    figure = figures.drawn(DRAWING, LIGHT)
    one = figure.data[-1]
    assert one.name == "&lt;b&gt;one&lt;/b&gt;"
    assert one.hovertext[1] == "&lt;b&gt;one&lt;/b&gt;: b &lt;i&gt;"
    assert figure.layout.yaxis.ticktext[0] == "&lt;u&gt;low&lt;/u&gt;"
    assert figure.layout.annotations[0].text == "&lt;here&gt;"
    assert figure.layout.xaxis.title.text == "shares &amp; more"
