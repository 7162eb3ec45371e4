"""Bars against NumPy: every scored sample is in exactly one bar, whatever the split."""

import numpy as np
import pytest

from mimic.workspace.queries.histogram import RIGHT, UNKNOWN, WRONG, histogram, snap, suitable_bars


def groups(known, split):
    if split == "none":
        return np.full(known.labels.size, "all", dtype=object)
    if split == "class":
        return np.array(["no label" if label is None else label for label in known.labels], dtype=object)
    return np.where(known.judged, np.where(known.wrong, WRONG, RIGHT), UNKNOWN).astype(object)


@pytest.mark.parametrize("signal", ["mimic", "fine", "flat"])
@pytest.mark.parametrize("split", ["none", "class", "truth"])
@pytest.mark.parametrize("bars", [None, 7, 200])
def test_bars_count_every_sample_once(known, signal, split, bars):
    frame = histogram(known.published, signal, split, bars)
    scores, marks = known.scores[signal].astype(np.float64), groups(known, split)
    assert frame["n"].sum() == (~np.isnan(scores)).sum()
    assert frame["bar"].nunique() <= (bars or suitable_bars(known.published.scored))
    for row in frame.itertuples():
        assert row.n == ((scores >= row.low) & (scores < row.high) & (marks == row.group)).sum()
    widths = (frame["right"] - frame["left"]).to_numpy()[frame["bar"] < frame["bar"].max()]
    np.testing.assert_allclose(widths, widths[0] if widths.size else 0)


def test_a_signal_nobody_has_gives_no_bars(known):
    assert histogram(known.published, "never").empty


def test_bars_grow_with_the_samples_and_stop():
    assert [suitable_bars(n) for n in (0, 50, 3_000, 10_000_000)] == [10, 10, 54, 200]


def test_a_brush_takes_whole_bars_and_open_ends(known):
    bars, scores = histogram(known.published, "fine", "none", 30), known.scores["fine"].astype(np.float64)
    for first, last in [(0, 3), (5, 5), (7, 12), (0, len(bars) - 1)]:
        low, high = snap(bars, bars["left"][first] + 1e-3, bars["right"][last] - 1e-3)
        assert ((scores >= low) & (scores < high)).sum() == bars["n"][first : last + 1].sum()
    assert snap(bars, 1e6, -1e6) == (-np.inf, np.inf)  # drawn from right to left
    assert snap(bars, 1e6, 2e6) == (1e6, 2e6)  # beside all bars
