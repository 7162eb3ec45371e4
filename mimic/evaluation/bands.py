"""Detection with intervals: every signal and filter on the same samples, resampled together, so differences are paired.

Stages: samples with a known verdict, each with a weight (how many it stands for) and a stratum (what it was drawn from)
→ bootstrap: samples, or a thousand random groups of them where they are many, drawn with replacement within their
strata → each signal's samples in at most 500 bins by rank → one product of matrices gives wrong and right in every
bin of every draw → curves and figures of all draws at once.

Low score = suspected. Point estimates are of the samples themselves, ties counted as half or never split; the draws
are of the bins, whose own point estimate is subtracted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as student

from mimic.errors import MimicError

DRAWS = 500
BINS = 500
GROUPS = 1000
LEVEL = 0.95
FIGURES = ("auroc", "average_precision", "precision", "recall", "f1", "false_negative_rate")

Floats = NDArray[np.float64]


class TooFewKnown(MimicError):
    """Nobody knows enough yet to judge by: a beginning, not a mistake."""


@dataclass(frozen=True)
class Known:
    """Samples whose label is known to be right or wrong.

    Attributes:
        samples: (N,) their numbers.
        wrong: (N,) which.
        weight: (N,) how many samples each stands for.
        stratum: (N,) what each was drawn from, 0, 1, …; all 0 for a census or a simple draw.
        source: where the knowledge is from, for people.
    """

    samples: NDArray[np.int64]
    wrong: NDArray[np.bool_]
    weight: Floats
    stratum: NDArray[np.int64]
    source: str

    def only(self, rows: NDArray[np.bool_]) -> Known:
        """Some of them."""
        return Known(self.samples[rows], self.wrong[rows], self.weight[rows], self.stratum[rows], self.source)


@dataclass(frozen=True)
class Found:
    """A signal's figures, at the samples themselves and in every draw.

    Attributes:
        point: figure → value, 0 … 1.
        draws: figure → (D,) values.
        rarer: how many of the rarer kind there are, wrong or right.
        roc, pr: curves with their pointwise bands, columns x, y, low, high, at `GRID`: true-positive rate by
            false-positive rate, and precision by recall.
    """

    point: dict[str, float]
    draws: dict[str, Floats]
    rarer: int
    roc: pd.DataFrame
    pr: pd.DataFrame


GRID = np.linspace(0.0, 1.0, 101)


def detect(
    signals: Mapping[str, NDArray[np.floating]],
    known: Known,
    drop: Mapping[str, float] | float | None = None,
    seed: int = 0,
) -> dict[str, Found]:
    """Every signal's figures on the same samples and draws.

    Args:
        signals: name → (N,) scores, higher is better, none missing.
        known: the samples, at least two wrong and two right.
        drop: the share of samples that each may drop, 0 … 1, or one share for all; None: as many as are wrong.
        seed: of the draws.

    Raises:
        TooFewKnown: fewer than two wrong or two right samples.
    """
    wrong, right = int(known.wrong.sum()), int((~known.wrong).sum())
    if wrong < 2 or right < 2:
        raise TooFewKnown(
            f"by {known.source}, {wrong} wrong and {right} right samples are known, and"
            " two of each are the least that detection can be judged by: review or audit some (the pages Review and"
            " Audit, or `mimic audit NAME --draw 200`, then --truth audit:NAME), or import a column truth"
        )
    rng = np.random.default_rng(seed)
    group, weights = _resampling(known, rng)
    base = float(known.weight[known.wrong].sum() / known.weight.sum())
    found = {}
    for name, scores in signals.items():
        share = drop.get(name, base) if isinstance(drop, Mapping) else base if drop is None else drop
        found[name] = _found(scores.astype(np.float64), known, share, group, weights)
    return found


def table(found: Mapping[str, Found]) -> pd.DataFrame:
    """Columns signal, then for each of `FIGURES` its value, NAME_low and NAME_high; the best AUROC first."""
    rows = []
    for name, one in found.items():
        row: dict[str, object] = {"signal": name}
        for figure in FIGURES:
            low, high = interval(one.point[figure], one.draws[figure], one.rarer)
            row |= {figure: one.point[figure], f"{figure}_low": low, f"{figure}_high": high}
        rows.append(row)
    return pd.DataFrame(rows).sort_values("auroc", ascending=False, ignore_index=True)


def differences(found: Mapping[str, Found], against: str, figure: str = "auroc") -> pd.DataFrame:
    """What every other signal's figure is above that of `against`, with its paired interval; the best first.

    Returns:
        Columns signal, difference, low, high, verdict: "better", "worse", or "no difference shown".
    """
    rows = []
    for name, one in found.items():
        if name == against:
            continue
        point = one.point[figure] - found[against].point[figure]
        low, high = interval(point, one.draws[figure] - found[against].draws[figure], one.rarer, clip=False)
        verdict = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
        rows.append((name, point, low, high, verdict))
    columns = ["signal", "difference", "low", "high", "verdict"]
    return pd.DataFrame(rows, columns=columns).sort_values("difference", ascending=False, ignore_index=True)


def interval(point: float, draws: Floats, rarer: int, clip: bool = True) -> tuple[float, float]:
    """The 95 % interval: the point plus and minus Student's multiple of the draws' spread, cut at 0 and 1."""
    half = (
        float(student.ppf(0.5 + LEVEL / 2, max(rarer - 1, 1))) * float(np.nanstd(draws, ddof=1))
        if np.isfinite(draws).sum() > 1
        else float("nan")
    )
    low, high = point - half, point + half
    return (max(low, 0.0), min(high, 1.0)) if clip else (low, high)


def _resampling(known: Known, rng: np.random.Generator) -> tuple[NDArray[np.int64], Floats]:
    """(N,) each sample's group, and (D, G) how often each group was drawn."""
    n = len(known.samples)
    strata = np.unique(known.stratum)
    if n <= GROUPS or len(strata) > 1:
        group, members = np.arange(n), [np.flatnonzero(known.stratum == each) for each in strata]
    else:
        group, members = rng.permutation(n) % GROUPS, [np.arange(GROUPS)]
    weights = np.zeros((DRAWS, int(group.max()) + 1))
    for each in members:
        # n − 1 of n, weighted n / (n − 1): the spread is then unbiased (Rao and Wu 1988)
        size = len(each)
        drawn = rng.multinomial(max(size - 1, 1), np.full(size, 1 / size), size=DRAWS)
        weights[:, each] = drawn * (size / max(size - 1, 1))
    return group, weights


def _found(scores: Floats, known: Known, share: float, group: NDArray[np.int64], weights: Floats) -> Found:
    order = np.argsort(scores, kind="stable")
    rising, wrong, weight = scores[order], known.wrong[order], known.weight[order]
    new = np.append(True, rising[1:] != rising[:-1])
    tie = np.cumsum(new) - 1
    bins = np.minimum(np.arange(len(order)) * BINS // len(order), BINS - 1)
    bins = bins[np.flatnonzero(new)][tie]  # ties lie in one bin, that of the first of them
    _, bins = np.unique(bins, return_inverse=True)
    cells = group[order] * (bins.max() + 1) + bins
    shape = (weights.shape[1], int(bins.max()) + 1)
    counts = [
        np.bincount(cells, weights=weight * kind, minlength=shape[0] * shape[1]).reshape(shape)
        for kind in (wrong, ~wrong)
    ]
    bad, good = (np.vstack([each.sum(axis=0), weights @ each]) for each in counts)
    exact_bad, exact_good = (
        np.bincount(tie, weights=weight * kind).astype(np.float64)[None] for kind in (wrong, ~wrong)
    )
    point = {name: float(value[0]) for name, value in _figures(exact_bad, exact_good, share).items()}
    binned = _figures(bad, good, share)
    draws = {name: value[1:] - value[0] + point[name] for name, value in binned.items()}
    roc, pr = _curves(bad, good)
    exact_roc, exact_pr = _curves(exact_bad, exact_good)
    roc[0], pr[0] = exact_roc[0], exact_pr[0]
    return Found(point, draws, int(min(wrong.sum(), (~wrong).sum())), _band(roc), _band(pr))


def _band(heights: Floats) -> pd.DataFrame:
    """A curve with its band, of (D + 1, P) heights at `GRID`; the first row is the samples themselves."""
    low, high = np.nanquantile(heights[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    y = heights[0]
    return pd.DataFrame({"x": GRID, "y": y, "low": np.minimum(low, y), "high": np.maximum(high, y)})


def _figures(bad: Floats, good: Floats, share: float) -> dict[str, Floats]:
    """Figures of (D, B) weights of wrong and right samples in bins of rising scores."""
    found, passed = np.cumsum(bad, axis=1), np.cumsum(good, axis=1)
    all_bad, all_good = found[:, -1], passed[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        auroc = (bad * (all_good[:, None] - passed + good / 2)).sum(axis=1) / (all_bad * all_good)
        precision = found / np.maximum(found + passed, 1e-300)
        average = (bad * precision).sum(axis=1) / all_bad
        budget = share * (all_bad + all_good)
        # of the bin that the budget ends in nothing is dropped: ties are never split
        inside = found + passed <= budget[:, None] * (1 + 1e-9)
        dropped_bad, dropped_good = (bad * inside).sum(axis=1), (good * inside).sum(axis=1)
        dropped = dropped_bad + dropped_good
        recall = dropped_bad / all_bad
        return {
            "auroc": auroc,
            "average_precision": average,
            "precision": np.where(dropped > 0, dropped_bad / np.maximum(dropped, 1e-300), np.nan),
            "recall": recall,
            "f1": 2 * dropped_bad / (dropped + all_bad),
            "false_negative_rate": 1 - recall,
        }


def _curves(bad: Floats, good: Floats) -> tuple[Floats, Floats]:
    """ROC and precision-recall heights at `GRID`, one row a draw."""
    roc, pr = np.empty((len(bad), len(GRID))), np.empty((len(bad), len(GRID)))
    for row, (b, g) in enumerate(zip(bad, good, strict=True)):
        found, passed = np.append(0, np.cumsum(b)), np.append(0, np.cumsum(g))
        recall, false = found / max(found[-1], 1e-300), passed / max(passed[-1], 1e-300)
        roc[row] = np.interp(GRID, false, recall)
        precision = found[1:] / np.maximum(found[1:] + passed[1:], 1e-300)
        pr[row] = np.interp(GRID, recall[1:], precision)
    return roc, pr
