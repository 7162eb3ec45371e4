"""Quality part by part: the share of right labels of each given class, and of each group (a source), with intervals.

A part has its own share of wrong labels and the whole set's model (`mimic.evaluation.quality.Fit`). A group is chosen
without looking at the labels, so P(given | picture) is what its likelihood is made of; the samples given one class are
chosen by the label, so there it is P(picture | given), the classes' own shares divided out. Both likelihoods are
lines in the share, so each maximum is found by bisection.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mimic.evaluation.quality import ALLOWANCE, Fit, Floats

COLUMNS = ["part", "samples", "share", "low", "high"]
LEAST = 30  # samples of a part, below which nothing is said of it

_Z = 1.959964


def quality_by_class(fit: Fit, classes: Sequence[str]) -> pd.DataFrame:
    """Each given class's share of right labels, the worst first.

    Args:
        classes: the names of the K classes.

    Returns:
        Columns part, samples, share, low, high; NaN where a part has fewer than `LEAST` samples.
    """
    probabilities = fit.probabilities()
    meant = np.maximum(probabilities.mean(axis=0), 1e-12)
    transition = np.eye(len(meant)) + fit.rate * fit.spread()
    wrong = np.where(np.eye(len(meant), dtype=bool), 0.0, np.maximum(transition, 1e-12)) * meant[:, None]
    rows = []
    for code, name in enumerate(classes):
        own = fit.labels == code
        ratios = probabilities[own] / meant  # (n, K) ∝ P(picture | meant)
        column = wrong[:, code] / max(wrong[:, code].sum(), 1e-300)
        right, bad = ratios[:, code], ratios @ column
        rows.append((name, int(own.sum()), *_share(bad, right - bad)))
    return _sorted(rows)


def quality_by_group(fit: Fit, groups: NDArray[np.object_]) -> pd.DataFrame:
    """Each group's share of right labels, the worst first; samples whose group is None are left out.

    Args:
        groups: (N,) a value a sample, chosen without looking at the label, e.g. its source.

    Returns:
        As `quality_by_class`.
    """
    n = np.arange(len(fit.labels))
    probabilities, spread = fit.probabilities(), fit.spread()
    own = probabilities[n, fit.labels]
    change = np.einsum("nk,nk->n", probabilities, spread.T[fit.labels])
    # P(given | picture) is own + ρ · change; the share is 1 − ρ × how likely the group's classes are to be mistaken
    often = -(probabilities @ np.diag(spread))
    rows = []
    for name in sorted({str(value) for value in groups if value is not None}):
        chosen = np.array([value is not None and str(value) == name for value in groups])
        scale = max(float(often[chosen].mean()), 1e-9)
        wrong, low, high = _share(own[chosen], change[chosen] / scale)
        rows.append((name, int(chosen.sum()), 1 - wrong, 1 - high, 1 - low))
    return _sorted(rows)


def _share(constant: Floats, slope: Floats) -> tuple[float, float, float]:
    """Where Σ log(constant + x · slope) is most for x in [0, 1], with its 95 % interval."""
    if len(constant) < LEAST:
        return float("nan"), float("nan"), float("nan")

    def derivative(x: float) -> Floats:
        each: Floats = slope / np.maximum(constant + x * slope, 1e-12)
        return each

    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if derivative(middle).sum() > 0 else (low, middle)
    scores = derivative(low)
    half = _Z / max(float(np.sqrt(np.square(scores).sum())), 1e-9) + ALLOWANCE
    return low, max(low - half, 0.0), min(low + half, 1.0)


def _sorted(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS).sort_values("share", ignore_index=True, na_position="last")
