"""Figures show the numbers they are given, within bounds, with titled axes, and text that stays text."""

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from mimic.reports import figures
from mimic.reports.palette import DARK, LIGHT, palette
from mimic.workspace.queries.histogram import RIGHT, WRONG


def bars(groups):
    rows = []
    for bar in range(10):
        low, high = -np.inf if bar == 0 else bar / 10, np.inf if bar == 9 else (bar + 1) / 10
        rows += [
            (bar, bar / 10, (bar + 1) / 10, low, high, group, 10 * bar + place) for place, group in enumerate(groups)
        ]
    return pd.DataFrame(rows, columns=["bar", "left", "right", "low", "high", "group", "n"])


def titles(figure):
    return {axis.title.text for axis in (*figure.select_xaxes(), *figure.select_yaxes())}


def test_bars_have_the_counts_and_whole_ranges():
    figure = figures.histogram(bars(["all"]), LIGHT, "mimic")
    (trace,) = figure.data
    assert list(trace.y) == list(range(0, 100, 10))
    np.testing.assert_allclose(trace.x, np.arange(0.05, 1, 0.1))
    assert trace.customdata[0][1] == "below 0.1000"
    assert trace.customdata[9][1] == "from 0.9000"
    assert titles(figure) == {"mimic", "samples"}


def test_a_brush_pales_the_rest():
    chosen = figures.histogram(bars(["all"]), DARK, "mimic", chosen=(0.2, 0.5))
    assert list(chosen.data[0].marker.color) == [DARK.faint] * 2 + [DARK.neutral] * 3 + [DARK.faint] * 5


def test_groups_are_stacked_with_a_legend_wrong_labels_first():
    figure = figures.histogram(bars([RIGHT, WRONG]), LIGHT, "mimic", logarithmic=True)
    assert figure.layout.barmode == "stack"
    assert figure.layout.yaxis.type == "log"
    drawn = [(trace.name, trace.type) for trace in figure.data]
    assert drawn == [(WRONG, "bar"), (RIGHT, "bar"), (WRONG, "scatter"), (RIGHT, "scatter")]
    assert [trace.marker.color for trace in figure.data[2:]] == [LIGHT.wrong, LIGHT.right]


def test_class_strips_are_shares_of_each_class_and_bounded():
    groups = [f"<b>{place}</b>" for place in range(40)]
    frame = bars(groups)
    figure = figures.histogram_by_class(frame, LIGHT, "mimic")
    total, strips = figure.data
    assert sum(total.y) == frame["n"].sum()
    assert strips.z.shape == (figures.STRIPS, 10)
    np.testing.assert_allclose(strips.z.sum(axis=1), 1)
    assert all(label.startswith("&lt;b&gt;") for label in figure.layout.yaxis2.ticktext)


def test_detection_marks_the_main_signal_by_shape_too():
    table = pd.DataFrame({"signal": ["good", "mimic"], "auroc": [0.9, 0.8], "error": [0.01, 0.02]})
    (trace,) = figures.detection(table, LIGHT, "mimic").data
    assert list(trace.x) == [0.8, 0.9]
    assert list(trace.marker.symbol) == ["diamond", "circle"]
    np.testing.assert_allclose(trace.error_x.array, [1.96 * 0.02, 1.96 * 0.01])


def test_detection_shows_the_best_and_always_the_main():
    names = [f"s{place}" for place in range(20)]
    table = pd.DataFrame({"signal": names, "auroc": np.linspace(0.9, 0.5, 20), "error": 0.01})
    figure = figures.detection(table, LIGHT, "s15", largest=3)
    assert list(figure.layout.yaxis.ticktext) == ["<b>s15</b>", "s2", "s1", "s0"]


def test_guesses_are_probabilities_and_mark_the_given_label():
    frame = pd.DataFrame({"rank": [1, 2], "label": ["cat", "dog"], "logprob": np.log([0.75, 0.25])})
    figure = figures.guesses(frame, LIGHT, "dog")
    np.testing.assert_allclose(figure.data[0].x, [25, 75])
    assert list(figure.layout.yaxis.ticktext) == ["dog ✓ given", "cat"]


# --- colours --------------------------------------------------------------------------------------------------------
# Machado, Oliveira & Fernandes 2009, severity 1.0, on linear RGB
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
GROUNDS = {"light": "#FFFFFF", "dark": "#11141B"}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(colour):
    share = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    xyz = XYZ @ np.clip(rgb, 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("blindness", BLINDNESS)
def test_kept_dropped_and_reference_are_told_apart(theme, blindness):
    colours, eye = palette(theme), np.array(BLINDNESS[blindness])
    seen = {name: lab(eye @ linear(getattr(colours, name))) for name in ("kept", "dropped", "reference")}
    for one, other in (("kept", "dropped"), ("dropped", "reference"), ("kept", "reference")):
        # 2.3 is just noticeable side by side; these are areas of a picture
        assert np.linalg.norm(seen[one] - seen[other]) > 10, (one, other)
    wrong, right = (lab(eye @ linear(getattr(colours, name))) for name in ("wrong", "right"))
    assert np.linalg.norm(wrong - right) > 10


def contrast(one, other):
    low, high = sorted(XYZ[1] @ linear(colour) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast_is_enough_to_read(theme):
    colours = palette(theme)
    for name in ("text", "muted", "wrong"):  # writing: WCAG AA
        assert contrast(getattr(colours, name), GROUNDS[theme]) >= 4.5, name
    for name in ("kept", "dropped", "reference", "neutral"):  # shapes
        assert contrast(getattr(colours, name), GROUNDS[theme]) >= 3, name


def test_every_colour_is_six_digits():
    for colours in (LIGHT, DARK):
        values = [getattr(colours, field.name) for field in fields(colours) if field.name != "ramp"] + list(
            colours.ramp
        )
        assert all(len(value) == 7 and int(value[1:], 16) >= 0 for value in values)


def test_peoples_decisions_are_drawn():
    decided = pd.DataFrame({"action": ["keep", "drop", "relabel", "keep"], "score": [0.1, 0.2, 0.3, 0.4]})
    figure = figures.histogram(bars(["all"]), LIGHT, "mimic", decided=decided)
    marks = {trace.name: list(trace.x) for trace in figure.data if trace.yaxis == "y2"}
    assert marks == {"kept": [0.1, 0.4], "dropped": [0.2], "relabelled": [0.3]}
