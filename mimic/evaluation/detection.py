"""Detection: how well a score finds the truly wrong labels where somebody knows the truth. Low score = suspected.

Stages: mark the wrong labels → rank by each signal → AUROC, average precision and F1 at a budget → one sentence that
says whether another signal does better than the run's main one. Samples without a score (NaN) are left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

COLUMNS = ["signal", "auroc", "error", "average_precision", "f1", "scored"]


def _scored(scores: NDArray[np.floating], wrong: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    has = ~np.isnan(scores)
    return scores[has].astype(np.float64), wrong[has]


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, tied values sharing their mean rank."""
    return np.asarray(pd.Series(values).rank(), dtype=np.float64)


def _placements(
    scores: NDArray[np.float64], wrong: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each wrong sample the share of right ones above it; for each right one the share of wrong ones below it."""
    low = -scores
    overall = _ranks(low)
    bad, good = low[wrong], low[~wrong]
    return (overall[wrong] - _ranks(bad)) / good.size, 1 - (overall[~wrong] - _ranks(good)) / bad.size


def auroc(scores: NDArray[np.floating], wrong: NDArray[np.bool_]) -> float:
    """The probability that a wrong sample scores below a right one; ties count half.

    Args:
        scores: (N,) higher is better; NaN = not scored, left out.
        wrong: (N,) True where the given label is wrong.

    Returns:
        0 … 1, 0.5 for chance; NaN if there are no wrong or no right samples.
    """
    s, w = _scored(scores, wrong)
    return float(_placements(s, w)[0].mean()) if w.any() and not w.all() else float("nan")


def auroc_difference(
    first: NDArray[np.floating], second: NDArray[np.floating], wrong: NDArray[np.bool_]
) -> tuple[float, float]:
    """AUROC of `first` minus that of `second` on the same samples, with its standard error.

    Args:
        first, second: (N,) scores; samples without both are left out.
        wrong: (N,) True where the given label is wrong.

    Returns:
        The difference and its standard error (DeLong, DeLong & Clarke-Pearson 1988, paired); NaN where undefined.
    """
    both = ~np.isnan(first) & ~np.isnan(second)
    w = wrong[both]
    if w.sum() < 2 or (~w).sum() < 2:
        return float("nan"), float("nan")
    bad_a, good_a = _placements(first[both].astype(np.float64), w)
    bad_b, good_b = _placements(second[both].astype(np.float64), w)
    bad, good = bad_a - bad_b, good_a - good_b
    return float(bad.mean()), float(np.sqrt(bad.var(ddof=1) / bad.size + good.var(ddof=1) / good.size))


def auroc_error(scores: NDArray[np.floating], wrong: NDArray[np.bool_]) -> float:
    """Standard error of `auroc` over the draw of samples (DeLong et al. 1988); NaN with fewer than two of a kind."""
    s, w = _scored(scores, wrong)
    if w.sum() < 2 or (~w).sum() < 2:
        return float("nan")
    bad, good = _placements(s, w)
    return float(np.sqrt(bad.var(ddof=1) / bad.size + good.var(ddof=1) / good.size))


def average_precision(scores: NDArray[np.floating], wrong: NDArray[np.bool_]) -> float:
    """Area under precision over recall when dropping from the lowest score up; tied samples enter together.

    Args and NaN as in `auroc`. Equals the share of wrong labels for a score that says nothing.
    """
    s, w = _scored(scores, wrong)
    if not w.any():
        return float("nan")
    order = np.argsort(s, kind="stable")
    s, w = s[order], w[order]
    last_of_tie = np.append(s[1:] != s[:-1], True)
    found = np.cumsum(w)[last_of_tie]
    dropped = np.flatnonzero(last_of_tie) + 1
    return float(np.sum(np.diff(found, prepend=0) * found / dropped) / w.sum())


def f1_at_budget(scores: NDArray[np.floating], wrong: NDArray[np.bool_], budget: int) -> float:
    """F1 of calling the `budget` lowest samples wrong. Ties are never split: those across the line are kept.

    Args:
        budget: how many may be dropped, 0 … N.

    Returns:
        0 … 1; NaN where nothing is wrong.
    """
    s, w = _scored(scores, wrong)
    if not w.any():
        return float("nan")
    line = np.sort(s)[budget] if budget < s.size else np.inf
    dropped = s < line
    return float(2 * (dropped & w).sum() / (dropped.sum() + w.sum()))


def detection_table(
    signals: Mapping[str, NDArray[np.floating]], wrong: NDArray[np.bool_], budget: int | None = None
) -> pd.DataFrame:
    """Every signal's detection figures on the same samples, best AUROC first.

    Args:
        signals: name → (N,) scores, higher is better, NaN = not scored.
        wrong: (N,) True where the given label is wrong.
        budget: samples dropped for F1; by default as many as are truly wrong.

    Returns:
        Columns signal, auroc, error (its standard error), average_precision, f1, scored.
    """
    budget = int(wrong.sum()) if budget is None else budget
    rows = [
        (
            name,
            auroc(scores, wrong),
            auroc_error(scores, wrong),
            average_precision(scores, wrong),
            f1_at_budget(scores, wrong, budget),
            int((~np.isnan(scores)).sum()),
        )
        for name, scores in signals.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS).sort_values("auroc", ascending=False, ignore_index=True)


def about_zero_f1(table: pd.DataFrame) -> str | None:
    """Why some signals of a table of detection figures (columns signal and f1) have an F1 of 0; None where none has."""
    none = table.loc[table["f1"] == 0, "signal"]
    if none.empty:
        return None
    return (
        f"F1 is 0 for {', '.join(none)}: ties are never split, so a signal drops nothing where too many samples share "
        "the score at the budget; or nothing that it drops there is wrong."
    )


def better_signal(
    signals: Mapping[str, NDArray[np.floating]], wrong: NDArray[np.bool_], main: str, noun: str = "label"
) -> tuple[bool, str]:
    """Whether another signal finds the wrong labels better than `main`, in a sentence that says by how much.

    Args:
        signals: as in `detection_table`; must hold `main`.
        noun: what is wrong, a label or a caption.

    Returns:
        (True if one is ahead by more than two paired standard errors, the sentence).
    """
    table = detection_table({k: v for k, v in signals.items() if k != main}, wrong)
    own = auroc(signals[main], wrong)
    if np.isnan(own) or table.empty:
        return False, f"The truth cannot rank the signals here: AUROC of {main} is undefined."
    best = str(table.signal[0])
    gap, error = auroc_difference(signals[best], signals[main], wrong)
    figures = f"AUROC {table.auroc[0]:.3f} against {own:.3f}"
    if gap > 2 * error:
        said = f"{best} finds the wrong {noun}s better than {main} here: {figures}"
        return True, f"{said} (± {2 * error:.3f} on the gap)."
    if gap < -2 * error:
        said = f"{main} finds the wrong {noun}s best here: AUROC {own:.3f}"
        return False, f"{said}, next {best} at {table.auroc[0]:.3f}."
    return False, f"{best} and {main} find the wrong {noun}s about equally well here: {figures}."
