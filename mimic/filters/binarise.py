"""Where to draw the line through one visit's scores. Each way gives a threshold: kept ⇔ score ≥ threshold.

- `fixed`: a line that is known, e.g. 0 for scores, or 1 for weight × batch size, which is the neutral weight 1/b
- `top_share`: the best share of the scored samples
- `two_means`: between the two groups with the least spread around their means
- `mixture`: where the higher of two normal distributions becomes the likelier one, if two describe the scores better
  than one does (by BIC); otherwise everything is kept

Scores without a value are NaN and abstain. Ties are never split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mimic.data import ABSTAIN, DROP, KEEP, Votes
from mimic.errors import MimicError

# A mixture is fitted to so many evenly spaced quantiles at most: more change nothing but the time.
_POINTS = 20_000
_ROUNDS = 500

Floats = NDArray[np.floating[Any]]
F = TypeVar("F", bound=np.floating[Any])


@dataclass(frozen=True)
class Line:
    """A threshold and how it came about.

    Attributes:
        threshold: the lowest score that is kept; −∞ keeps everything.
        reason: what falling below it means, in a few words.
    """

    threshold: float
    reason: str

    def votes(self, scores: Floats) -> Votes:
        """The votes on (N,) scores; NaN abstains."""
        votes = np.where(scores.astype(np.float64) >= self.threshold, KEEP, DROP)
        votes[np.isnan(scores)] = ABSTAIN
        return Votes(votes.astype(np.int8), self.reason)


@dataclass(frozen=True)
class Mixture:
    """One or two normal distributions, the lower one first.

    Attributes:
        shares: their shares of the samples, summing to 1.
        means: rising.
        deviations: standard deviations.
        bic: the Bayesian information criterion over the points it was fitted to; lower is better.
    """

    shares: tuple[float, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    bic: float

    def log_densities(self, scores: Floats) -> NDArray[np.float64]:
        """log(share × density), (N, components)."""
        x = np.asarray(scores, dtype=np.float64)[:, None]
        means, deviations = np.array(self.means), np.array(self.deviations)
        z = (x - means) / deviations
        logs: NDArray[np.float64] = np.log(np.array(self.shares) / deviations) - 0.5 * (z * z + math.log(2 * math.pi))
        return logs

    @property
    def crossing(self) -> float | None:
        """Where the higher distribution becomes the likelier one between the means; None if it nowhere does."""
        if len(self.means) == 1:
            return None
        low, high = self.means

        def lead(x: float) -> float:
            lower, upper = self.log_densities(np.array([x]))[0]
            return float(upper - lower)

        if not lead(low) < 0 < lead(high):
            return None
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if lead(middle) < 0 else (low, middle)
        return high


def fixed(scores: Floats, threshold: float = 0.0) -> Line:
    """A known line, whatever the scores."""
    return Line(threshold, f"below {threshold:.6g}")


def top_share(scores: Floats, share: float = 0.8) -> Line:
    """Keeps the best share of the scored samples, rounded up, and ties with the last of them.

    Raises:
        MimicError: the share is not in (0, 1], or nothing is scored.
    """
    if not 0 < share <= 1:
        raise MimicError(f"share is {share}: it must be above 0 and at most 1")
    count = count_of(share, int(np.count_nonzero(~np.isnan(scores))))
    return Line(threshold_keeping(scores.astype(np.float32), count), f"not in the top {share:.4g}")


def two_means(scores: Floats) -> Line:
    """Splits into two groups so that the squared distances to their means are least; exact, by trying every split.

    Raises:
        MimicError: nothing is scored.
    """
    x = _scored(scores)
    lower = np.arange(1, len(x))  # size of the lower group
    # Σ(x − mean)² is least where the groups' Σx² / n is most; shifted, so that large scores lose no digits.
    sums = np.cumsum(x - x.mean())[:-1]
    between = sums**2 * (1 / lower + 1 / (len(x) - lower)) if len(x) > 1 else np.empty(0)
    between[x[:-1] == x[1:]] = -1.0  # a split must not part ties
    if not len(between) or between.max() < 0:
        return Line(-math.inf, "below nothing: all scores are equal")
    return Line(float(x[int(between.argmax()) + 1]), "in the lower of two groups")


def mixture(scores: Floats) -> Line:
    """Keeps what more likely comes from the higher of two normal distributions; everything if one describes them.

    Raises:
        MimicError: nothing is scored.
    """
    fitted = fit_mixture(scores)
    crossing = fitted.crossing
    if crossing is None:
        return Line(-math.inf, "below nothing: one distribution describes the scores")
    return Line(crossing, "more likely of the lower of two distributions")


def fit_mixture(scores: Floats) -> Mixture:
    """The better of one and two normal distributions by BIC, by expectation maximisation from the two-means split.

    Raises:
        MimicError: nothing is scored.
    """
    x = _scored(scores)
    if len(x) > _POINTS:
        x = x[np.linspace(0, len(x) - 1, _POINTS).round().astype(int)]
    one = _fit(x, np.ones((len(x), 1)))
    line = two_means(x).threshold
    if not math.isfinite(line):
        return one
    upper = (x >= line).astype(np.float64)
    two = _fit(x, np.stack([1 - upper, upper], axis=1))
    return two if two.bic < one.bic else one


# name → way to draw a line through (N,) scores
BINARISERS: dict[str, Callable[..., Line]] = {
    "fixed": fixed,
    "top_share": top_share,
    "two_means": two_means,
    "mixture": mixture,
}


def count_of(share: float, scored: int) -> int:
    """How many of the scored samples the best share of them is, rounded up."""
    return math.ceil(share * scored - 1e-6)  # .85 · 10⁷ may come out a billionth too high


def threshold_keeping(scores: NDArray[np.float32], count: int) -> float:
    """The highest line that keeps at least `count` scored samples (more only where ties meet the line).

    Args:
        scores: (N,) higher is better, NaN = not scored.
        count: 0 … number of scored samples; beyond it everything is kept.

    Returns:
        The count-th highest score; for 0 the next float32 above the highest one.

    Raises:
        MimicError: no sample has a score.
    """
    return line_in(_rising(scores[~np.isnan(scores)]), count)


def line_in(rising: NDArray[np.float32], count: int) -> float:
    """The same from the scores that are there, sorted."""
    if not rising.size:
        raise MimicError("No sample has a score, so no threshold separates anything.")
    if count <= 0:
        return float(np.nextafter(rising[-1], np.float32(np.inf)))
    return float(rising[max(rising.size - count, 0)])


def binarise(visits: Floats, draw: Callable[[Floats], Line]) -> NDArray[np.int8]:
    """The votes of every visit, each by a line of its own.

    Args:
        visits: (N, V), NaN where a sample has no score in a visit. A visit without any score abstains altogether.
        draw: one of `BINARISERS`, with its settings bound.

    Returns:
        (N, V) of KEEP, DROP, ABSTAIN.
    """
    return side_by_side(votes_of(column, draw) for column in visits.T)


def votes_of(scores: Floats, draw: Callable[[Floats], Line]) -> NDArray[np.int8]:
    """(N,), the votes of one visit by a line of its own; without any score it abstains altogether."""
    if np.isnan(scores).all():
        return np.full(len(scores), ABSTAIN, dtype=np.int8)
    return draw(scores).votes(scores).votes


def side_by_side(votes: Iterable[NDArray[np.int8]]) -> NDArray[np.int8]:
    """Votes of (N,) each as (N, V), a voter's together in memory."""
    return np.stack(list(votes)).T


def _rising(scores: NDArray[F]) -> NDArray[F]:
    """Sorted, unless they are: asking takes a hundredth of sorting."""
    return scores if (scores[1:] >= scores[:-1]).all() else np.sort(scores)


def _scored(scores: Floats) -> NDArray[np.float64]:
    """What is scored, rising."""
    x = _rising(scores[~np.isnan(scores)]).astype(np.float64)
    if not len(x):
        raise MimicError("no sample has a score, so no line can be drawn")
    return x


def _fit(x: NDArray[np.float64], responsibilities: NDArray[np.float64]) -> Mixture:
    """Expectation maximisation from given responsibilities (N, components) until the likelihood stands still."""
    floor = max(1e-3 * x.std(), 1e-12)  # a distribution around a single value would have an infinite likelihood
    before = -math.inf
    for _ in range(_ROUNDS):
        counts = responsibilities.sum(axis=0).clip(1e-12)
        means = responsibilities.T @ x / counts
        variances = (responsibilities * (x[:, None] - means) ** 2).sum(axis=0) / counts
        deviations = np.sqrt(variances).clip(floor)
        fitted = Mixture(tuple(counts / counts.sum()), tuple(means), tuple(deviations), math.inf)
        logs = fitted.log_densities(x)
        total = np.logaddexp.reduce(logs, axis=1)
        likelihood = float(total.sum())
        responsibilities = np.exp(logs - total[:, None])
        if likelihood - before < 1e-9 * len(x):
            break
        before = likelihood
    order = np.argsort(fitted.means)
    parameters = 3 * len(order) - 1
    return Mixture(
        tuple(float(fitted.shares[i]) for i in order),
        tuple(float(fitted.means[i]) for i in order),
        tuple(float(fitted.deviations[i]) for i in order),
        parameters * math.log(len(x)) - 2 * likelihood,
    )
