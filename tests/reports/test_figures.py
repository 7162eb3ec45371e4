"""Figures show the numbers they are given, within bounds, with titled axes, and text that stays text."""

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from mimic.reports import figures
from mimic.reports.palette import DARK, LIGHT, palette


def bars():
    rows = []
    for bar in range(10):
        low, high = -np.inf if bar == 0 else bar / 10, np.inf if bar == 9 else (bar + 1) / 10
        rows.append((bar, bar / 10, (bar + 1) / 10, low, high, "all", 10 * bar))
    return pd.DataFrame(rows, columns=["bar", "left", "right", "low", "high", "group", "n"])


def titles(figure):
    return {axis.title.text for axis in (*figure.select_xaxes(), *figure.select_yaxes())}


def test_bars_have_the_counts_and_whole_ranges():
    figure = figures.histogram(bars(), LIGHT, "mimic")
    (trace,) = figure.data
    assert list(trace.y) == list(range(0, 100, 10))
    np.testing.assert_allclose(trace.x, np.arange(0.05, 1, 0.1))
    assert trace.customdata[0] == "below 0.1000"
    assert trace.customdata[9] == "from 0.9000"
    assert titles(figure) == {"mimic", "samples"}


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
