"""Bars against NumPy: every scored sample is in exactly one bar, whatever the split."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mimic.workspace.queries import histogram as histograms
from mimic.workspace.queries.histogram import RIGHT, UNKNOWN, WRONG, histogram, suitable_bars
from mimic.workspace.queries.rows import judged


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


@pytest.mark.parametrize("signal", ["mimic", "fine", "flat"])
@pytest.mark.parametrize("split", ["class", "truth"])
def test_bars_have_the_same_edges_whatever_the_split(known, monkeypatch, signal, split):
    """Also where the truth is that of a small draw, which leaves bins empty."""
    few = replace(known.published, published_at="drawn")
    monkeypatch.setattr(histograms, "judged", lambda published: judged(published, 30))
    edges = ["left", "right", "low", "high"]
    every = histogram(few, signal).set_index("bar")[edges]
    found = histogram(few, signal, split).set_index("bar")[edges]
    pd.testing.assert_frame_equal(found, every.loc[found.index], check_index_type=False)
