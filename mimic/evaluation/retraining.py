"""What retraining on less showed: accuracy against the share kept, differences with intervals, and the best budget.

Two things vary: the seed of a fit, and which samples are in the test split. Every fit is tested on the same samples,
and every arm is trained with the same seeds and as many steps, so differences are paired over both; their variances are
added. An interval that is picked as the best of C is held to C times the confidence (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

LEVEL = 0.95
CUTS = ("kept", "weights")


@dataclass(frozen=True)
class Best:
    """The filter and budget that did best against keeping everything.

    Attributes:
        filter, budget, arm: which.
        gain, low, high: accuracy above keeping everything, with the interval for the best of all that were tried.
        near: how many other cells are within one standard error of it.
        beats: whether the whole interval lies above 0.
        sentence: the same in words.
    """

    filter: str
    budget: float
    arm: str
    gain: float
    low: float
    high: float
    near: int
    beats: bool
    sentence: str


def curves(fits: pd.DataFrame) -> pd.DataFrame:
    """Every arm, filter and budget, averaged over seeds.

    Args:
        fits: as `mimic.workspace.retrains.Retrain.fits` gives them.

    Returns:
        Columns arm, filter, budget, seeds, kept, accuracy, error (standard error, over seeds and test samples), gain
        (over everything) and gain_error, over_random and over_random_error; NaN where there is nothing to compare with.
    """
    everything = fits[fits["arm"] == "everything"]
    rows = []
    for (arm, name, budget), own in fits.groupby(["arm", "filter", "budget"], sort=False):
        random = fits[(fits["arm"] == "random") & (fits["budget"] == budget)]
        accuracy, error = _difference(own, None)
        gain, gain_error = _difference(own, everything)
        over, over_error = _difference(own, random)
        rows.append(
            (arm, name, budget, len(own), own["kept"].mean(), accuracy, error, gain, gain_error, over, over_error)
        )
    columns = ["arm", "filter", "budget", "seeds", "kept", "accuracy", "error", "gain", "gain_error", "over_random",
               "over_random_error"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def best(table: pd.DataFrame) -> Best | None:
    """The best of all filters and budgets in `curves`; None where none was tried."""
    tried = table[table["arm"].isin(CUTS) & table["gain"].notna()]
    if tried.empty:
        return None
    top = tried.iloc[int(tried["gain"].argmax())]
    multiple = float(norm.ppf(1 - (1 - LEVEL) / 2 / len(tried)))
    half = multiple * float(top["gain_error"])
    low, high = float(top["gain"]) - half, float(top["gain"]) + half
    near = int((tried["gain"] >= top["gain"] - top["gain_error"]).sum()) - 1
    how = "keeps" if top["arm"] == "kept" else "weighs as if it kept"
    figures = f"{100 * top['gain']:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
    if low > 0:
        sentence = (
            f"{top['filter']} that {how} {top['budget']:.0%} beats keeping everything: {figures}, "
            f"the best of {len(tried)} tried; {near} others are within a standard error of it."
        )
    else:
        sentence = (
            f"No budget beats keeping everything beyond doubt: the best of {len(tried)} tried is {top['filter']} at "
            f"{top['budget']:.0%}, {figures}."
        )
    return Best(
        str(top["filter"]),
        float(top["budget"]),
        str(top["arm"]),
        float(top["gain"]),
        low,
        high,
        near,
        low > 0,
        sentence,
    )


def _difference(own: pd.DataFrame, other: pd.DataFrame | None) -> tuple[float, float]:
    """Mean accuracy, or its lead over other fits of the same seeds, with the standard error."""
    if other is not None and other.empty:
        return float("nan"), float("nan")
    if other is None:
        each = np.stack(own["correct"].tolist()).astype(float)
    else:
        by_seed = {seed: np.stack(part["correct"].tolist()).mean(axis=0) for seed, part in other.groupby("seed")}
        pairs = [(c, by_seed[s]) for c, s in zip(own["correct"], own["seed"], strict=True) if s in by_seed]
        if not pairs:
            return float("nan"), float("nan")
        each = np.stack([np.asarray(a, dtype=float) - b for a, b in pairs])
    return float(each.mean()), _error(each)


def _error(each: NDArray[np.float64]) -> float:
    """Standard error of the mean of (seeds, test samples) over the draw of both."""
    seeds, samples = each.shape
    over_samples = each.mean(axis=0).var(ddof=1) / samples if samples > 1 else 0.0
    over_seeds = each.mean(axis=1).var(ddof=1) / seeds if seeds > 1 else 0.0
    return float(np.sqrt(over_samples + over_seeds))
