"""Bars of pre-binned counts, ready to draw: at most 200, of one width, the outermost two open-ended.

Bins are spaced between the 0.1 % and 99.9 % quantiles; what lies beyond is counted in the first and last, so that one
outlier does not squeeze everything else into a single bar.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pandas as pd

from mimic.workspace.queries.bins import bins_of
from mimic.workspace.queries.connection import Published, tables
from mimic.workspace.queries.once import Kept
from mimic.workspace.queries.rows import judged

BARS = 200
Split = Literal["none", "class", "truth"]

RIGHT, WRONG, UNKNOWN = "right", "wrong", "unknown"


_KEPT = Kept(32_000_000, lambda bars: bars.memory_usage().sum())  # bytes: split by 1,000 classes one takes 10 MB


def histogram(published: Published, signal: str, split: Split = "none", bars: int | None = None) -> pd.DataFrame:
    """Counts of a signal's scores, a row a bar and group.

    Args:
        split: ``none``; ``class`` by given label; ``truth`` by whether the label or caption is right, which beyond a
            size counts a draw (see `rows.judged`).
        bars: at most so many, ≤ 200; by default what suits the number of samples.

    Returns:
        Columns bar (from 0), left, right (the bar's edges as drawn), low, high (the scores in it: low ≤ s < high,
        infinite at the open ends), group, n; only bars and groups that hold samples, by bar, then group. Empty where no
        sample has the signal. A bar has the same edges whatever the split. Do not write into it: it is remembered.
    """
    return _KEPT.get((published, signal, split, bars), lambda: _histogram(published, signal, split, bars))


def _histogram(published: Published, signal: str, split: Split, bars: int | None) -> pd.DataFrame:
    published.column(signal)
    every = _by_class(published, signal, "none" if split == "truth" else split)
    frame = _by_truth(published, signal) if split == "truth" else every
    if frame.empty:
        return pd.DataFrame(columns=["bar", "left", "right", "low", "high", "group", "n"])
    return _merged(frame, every, bars or suitable_bars(published.scored))


def suitable_bars(samples: int) -> int:
    """So many bars that their heights are not mostly noise: √N, between 10 and 200."""
    return min(max(math.isqrt(max(samples, 1)), 10), BARS)


def _by_class(published: Published, signal: str, split: Split) -> pd.DataFrame:
    with tables(published) as t:
        frame = t.frame(
            f"SELECT bin, low, high, label, n FROM {t.bins} WHERE signal = ? ORDER BY bin, label NULLS LAST", [signal]
        )
    if split == "none":
        frame["group"] = "all"
    else:
        frame["group"] = ["no label" if pd.isna(code) else published.classes[int(code)] for code in frame["label"]]
    return frame.drop(columns="label")


def _by_truth(published: Published, signal: str) -> pd.DataFrame:
    known, bins = judged(published), bins_of(published, signal)
    scores, lows = known.signals[signal].astype(np.float64), np.array([one.low for one in bins])
    counts = {}
    for group, chosen in ((RIGHT, ~known.wrong), (WRONG, known.wrong)):
        place = np.searchsorted(lows, scores[chosen & ~np.isnan(scores)], side="right") - 1
        counts[group] = np.bincount(place, minlength=len(bins))
    if not known.sampled:
        counts[UNKNOWN] = np.array([one.n for one in bins], dtype=np.int64) - counts[RIGHT] - counts[WRONG]
    edges = pd.DataFrame({"bin": [one.number for one in bins], "low": lows, "high": [one.high for one in bins]})
    frame = pd.concat([edges.assign(group=group, n=n) for group, n in counts.items()])
    return frame[frame["n"] > 0].sort_values(["bin", "group"], ignore_index=True)


def _merged(frame: pd.DataFrame, every: pd.DataFrame, bars: int) -> pd.DataFrame:
    """Neighbouring bins merged into at most `bars`, with the edges they are drawn at, which `every` bin tells."""
    first, width = _grid(every)
    last = int(every["bin"].max())
    each = math.ceil((last + 1) / bars)
    frame = frame.assign(bar=frame["bin"] // each)
    merged = frame.groupby(["bar", "group"], sort=True)[["n"]].sum().reset_index()
    merged["left"] = first + width * each * merged["bar"]
    merged["right"] = first + width * np.minimum(each * (merged["bar"] + 1), last + 1)
    # the bins' own edges, not the drawn ones, which may differ in the last digit; between them lie only empty bins
    ends = every.groupby(every["bin"] // each).agg({"low": "min", "high": "max"}).loc[merged["bar"]]
    merged["low"] = np.where(merged["bar"] == 0, -np.inf, ends["low"].to_numpy())
    merged["high"] = np.where(merged["bar"] == last // each, np.inf, ends["high"].to_numpy())
    return merged[["bar", "left", "right", "low", "high", "group", "n"]]


def _grid(frame: pd.DataFrame) -> tuple[float, float]:
    """Where the first bin would start and how wide bins are, had the outermost two not been stretched."""
    last = int(frame["bin"].max())
    inner = frame[(frame["bin"] > 0) & (frame["bin"] < last)]
    if inner.empty:
        low, high = float(frame["low"].min()), float(frame["high"].max())
        width = (high - low) / (last + 1) or 1.0  # all scores equal: a bar of width 1 around them
        return (low - 0.5, 1.0) if high == low else (low, width)
    row = inner.iloc[0]
    width = float(row["high"] - row["low"])
    return float(row["low"]) - width * int(row["bin"]), width
