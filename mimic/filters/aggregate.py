"""Many voters, one answer: visits, signals or filters are combined into one vote a sample, or into one score.

Votes are (N, V): KEEP (+1), DROP (0), ABSTAIN (−1), as in weak supervision. A sample that nobody votes on stays open.
Ties keep: a sample is dropped only if more speaks for dropping it.

- `majority`, `weighted`: by the number or the weight of the votes
- `dawid_skene`: a generative model of how often each voter is right, for good and for bad samples, by expectation
  maximisation (Dawid and Skene 1979); it needs no truth
- `mean_score`, `mean_normal_score`: one score a sample, to draw a line through
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mimic.data import ABSTAIN, DROP, KEEP, Votes
from mimic.errors import MimicError

Floats = NDArray[np.floating[Any]]

_EPSILON = 1e-10
_MOST_IN_A_CODE = 39  # 3³⁹ < 2⁶³


def majority(votes: NDArray[np.int8]) -> Votes:
    """Keeps what at least as many voters keep as drop."""
    return weighted(votes, np.ones(votes.shape[1]))


def weighted(votes: NDArray[np.int8], weights: Floats) -> Votes:
    """Keeps what voters of at least as much weight keep as drop.

    Args:
        votes: (N, V).
        weights: (V,), at least 0.

    Raises:
        MimicError: not one weight a voter, or a negative one.
    """
    if weights.shape != votes.shape[1:] or not (weights >= 0).all():
        raise MimicError(f"weights must be {votes.shape[1]} numbers of at least 0, one a voter")
    # a sum of float weights may miss 0 by rounding, so a tie is what comes this close to one
    lead = (votes == KEEP) @ weights - (votes == DROP) @ weights
    kept = lead >= -1e-9 * weights.sum()
    return _answer(kept, (votes != ABSTAIN).any(axis=1), f"dropped by most of {votes.shape[1]} voters")


@dataclass(frozen=True)
class LabelModel:
    """What Dawid-Skene makes of the votes.

    Attributes:
        share_good: the estimated share of good samples.
        rates: (V, 2, 2), the probability that voter v says c of a sample that is t, as rates[v, t, c]; 0 is bad or
            drop, 1 is good or keep. 0.5 where a voter never votes.
        good: (N,), the probability that a sample is good; NaN where nobody votes.
    """

    share_good: float
    rates: NDArray[np.float64]
    good: NDArray[np.float64]

    @property
    def accuracies(self) -> NDArray[np.float64]:
        """(V,), how often each voter is right on the samples that the model believes in."""
        return (1 - self.share_good) * self.rates[:, 0, 0] + self.share_good * self.rates[:, 1, 1]

    @property
    def votes(self) -> Votes:
        """Keeps what is at least as likely good as bad."""
        known = ~np.isnan(self.good)
        kept = np.where(known, self.good, 1.0) >= 0.5 - 1e-9
        return _answer(kept, known, f"more likely bad by {len(self.rates)} voters")


def dawid_skene(votes: NDArray[np.int8], rounds: int = 200, tolerance: float = 1e-7) -> LabelModel:
    """Estimates every voter's rates and every sample's probability of being good, from the votes alone.

    Starts from each sample's share of keeps, so the model takes the voters to be right more often than not.

    Args:
        votes: (N, V); abstentions are taken to say nothing.
        rounds: of expectation maximisation, at most.
        tolerance: stop when the mean log-likelihood of a sample grows by less.

    Raises:
        MimicError: nobody votes on anything.
    """
    patterns, place, counts = _patterns(votes)
    says = np.stack([patterns == DROP, patterns == KEEP], axis=2).astype(np.float64)  # (P, V, 2)
    voted = says.sum(axis=(1, 2)) > 0
    if not voted.any():
        raise MimicError("nobody votes on any sample, so there is nothing to combine")
    says, weights = says[voted], counts[voted]
    good = says[:, :, 1].sum(axis=1) / says.sum(axis=(1, 2))
    before = -math.inf
    for _ in range(rounds):
        posterior = np.stack([1 - good, good], axis=1)  # (P, 2)
        prior = (weights @ posterior / weights.sum()).clip(_EPSILON)
        rates = np.einsum("p,pt,pvc->vtc", weights, posterior, says).clip(_EPSILON)
        rates /= rates.sum(axis=2, keepdims=True)
        logs = np.log(prior) + np.einsum("pvc,vtc->pt", says, np.log(rates))
        total = np.logaddexp.reduce(logs, axis=1)
        good = np.exp(logs[:, 1] - total)
        likelihood = float(weights @ total / weights.sum())
        if likelihood - before < tolerance:
            break
        before = likelihood
    spread = np.full(len(patterns), np.nan)
    spread[voted] = good
    return LabelModel(float(weights @ good / weights.sum()), rates, spread[place])


def mean_score(visits: Floats) -> NDArray[np.float64]:
    """(N,), the mean over the visits that a sample has; NaN without any."""
    known = ~np.isnan(visits)
    counts = known.sum(axis=1)
    sums = np.where(known, visits, 0).sum(axis=1, dtype=np.float64)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def mean_normal_score(visits: Floats) -> NDArray[np.float64]:
    """(N,), the mean of the normal scores: each visit (or signal) counts by its ranks, whatever its unit.

    A value of average rank r among n becomes the normal distribution's quantile at (r − ½) / n. NaN without any value.
    """
    from scipy.stats import norm, rankdata

    scores = np.full(visits.shape, np.nan)
    for column in range(visits.shape[1]):
        known = ~np.isnan(visits[:, column])
        values = visits[known, column]
        scores[known, column] = norm.ppf((rankdata(values) - 0.5) / max(len(values), 1))
    return mean_score(scores)


def diagnose(
    votes: NDArray[np.int8], names: list[str], model: LabelModel, good: NDArray[np.bool_] | None = None
) -> pd.DataFrame:
    """A row a voter, as weak supervision tells it.

    Args:
        votes: (N, V).
        names: V of them.
        model: for the estimated accuracies.
        good: (N,), which samples are truly good, where that is known.

    Returns:
        voter; coverage: share of samples it votes on; keeps: share of its votes that keep; overlap: share of samples it
        votes on with another; conflict: share of samples where another one says otherwise; estimated: its accuracy by
        the label model; accuracy: against the truth, NaN where that is unknown.
    """
    voted = votes != ABSTAIN
    keeps, drops = (votes == KEEP).sum(axis=1), (votes == DROP).sum(axis=1)
    against = np.where(votes == KEEP, drops[:, None], keeps[:, None])
    cast = voted.sum(axis=0)
    right = np.full(len(names), np.nan)
    if good is not None and len(good):
        agree = (voted & ((votes == KEEP) == good[:, None])).sum(axis=0)
        right = np.where(cast > 0, agree / np.maximum(cast, 1), np.nan)
    return pd.DataFrame(
        {
            "voter": names,
            "coverage": voted.mean(axis=0),
            "keeps": np.where(cast > 0, (votes == KEEP).sum(axis=0) / np.maximum(cast, 1), np.nan),
            "overlap": (voted & (voted.sum(axis=1) > 1)[:, None]).mean(axis=0),
            "conflict": (voted & (against > 0)).mean(axis=0),
            "estimated": model.accuracies,
            "accuracy": right,
        }
    )


def _answer(kept: NDArray[np.bool_], known: NDArray[np.bool_], reason: str) -> Votes:
    return Votes(np.where(known, np.where(kept, KEEP, DROP), ABSTAIN).astype(np.int8), reason)


def _patterns(votes: NDArray[np.int8]) -> tuple[NDArray[np.int8], NDArray[np.intp], NDArray[np.float64]]:
    """Distinct rows, each sample's row among them, and how many samples have it: millions of samples share few."""
    voters = votes.shape[1]
    if voters > _MOST_IN_A_CODE:
        return votes, np.arange(len(votes)), np.ones(len(votes))
    codes = (votes.astype(np.int64) + 1) @ (3 ** np.arange(voters, dtype=np.int64))
    _, first, place, counts = np.unique(codes, return_index=True, return_inverse=True, return_counts=True)
    return votes[first], place, counts.astype(np.float64)
