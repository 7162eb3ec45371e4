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
from collections.abc import Callable, Iterable, Sequence
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
_MOST_COUNTED = 3**13  # codes that are counted rather than sorted


def majority(votes: NDArray[np.int8]) -> Votes:
    """Keeps what at least as many voters keep as drop."""
    lead, known = np.zeros(len(votes), dtype=np.int16), np.zeros(len(votes), dtype=np.bool_)
    for column in votes.T:
        lead += column == KEEP
        lead -= column == DROP
        known |= column != ABSTAIN
    return _answer(lead >= 0, known, f"dropped by most of {votes.shape[1]} voters")


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
    lead, known = np.zeros(len(votes)), np.zeros(len(votes), dtype=np.bool_)
    for voter, weight in enumerate(weights):  # one at a time: a matrix of floats of ten million samples is too much
        column = votes[:, voter]
        lead += weight * (column == KEEP)
        lead -= weight * (column == DROP)
        known |= column != ABSTAIN
    # a sum of float weights may miss 0 by rounding, so a tie is what comes this close to one
    kept = lead >= -1e-9 * weights.sum()
    return _answer(kept, known, f"dropped by most of {votes.shape[1]} voters")


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
    """(N,), the mean over the visits, or signals, (N, V), in which a sample has a value; NaN without any."""
    return mean_of(visits.T)


def mean_normal_score(visits: Floats) -> NDArray[np.float64]:
    """(N,), the mean of the normal scores: each visit (or signal) counts by its ranks, whatever its unit."""
    return mean_of(normal_scores(column) for column in visits.T)


def mean_of(columns: Iterable[Floats]) -> NDArray[np.float64]:
    """`mean_score` of columns of (N,) that need not all be in memory at once.

    Raises:
        MimicError: there are no columns.
    """
    total: NDArray[np.float64] | None = None
    for column in columns:
        if total is None:
            total, counts = np.zeros(len(column)), np.zeros(len(column), dtype=np.int32)
        known = ~np.isnan(column)
        np.add(total, column, out=total, where=known)
        counts += known
    if total is None:
        raise MimicError("there is nothing to take the mean of: name signals, or a run that recorded visits")
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


def ranks(column: Floats) -> NDArray[np.float32]:
    """(N,), each value's place among those that are there, in (0, 1): (r − ½) / n of its average rank r; NaN stays."""
    return _turned(column, lambda places: places)


def normal_scores(column: Floats) -> NDArray[np.float32]:
    """(N,), the normal distribution's quantiles at `ranks`: what is left of a signal without its unit and shape."""
    from scipy.special import ndtri

    return _turned(column, ndtri)


def _turned(column: Floats, turn: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float32]:
    """A function of each value's place; in float64 up to there, or the best of ten million would be at 1."""
    found = np.full(len(column), np.nan, dtype=np.float32)
    known = np.flatnonzero(~np.isnan(column))
    if not len(known):
        return found
    order = known[_order(column[known])]
    values = column[order]
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    sizes = np.diff(np.append(starts, len(values)))
    # ties share the mean of their ranks, which go from start + 1 to start + size
    places = (starts + (sizes + 1) / 2 - 0.5) / len(values)
    found[order] = np.repeat(turn(places).astype(np.float32), sizes)
    return found


def _order(values: Floats) -> NDArray[np.intp]:
    """Their places, rising. Of float32 by one sort of 64-bit keys, value above place: several times faster."""
    if values.dtype != np.float32:
        return np.argsort(values, kind="stable")
    keys = sortable(values).astype(np.uint64) << np.uint64(32)
    keys |= np.arange(len(values), dtype=np.uint64)
    keys.sort()
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.intp)


def sortable(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Unsigned numbers in the order of the floats: negative ones turned round, and put below the others."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def diagnose(
    votes: NDArray[np.int8],
    names: Sequence[str],
    model: LabelModel,
    good: NDArray[np.bool_] | None = None,
    known: NDArray[np.bool_] | None = None,
) -> pd.DataFrame:
    """A row a voter, as weak supervision tells it.

    Args:
        votes: (N, V).
        names: V of them.
        model: for the estimated accuracies.
        good: (N,), which samples are truly good, where anybody knows.
        known: (N,), of which samples that is known; by default of all.

    Returns:
        voter; coverage: share of samples it votes on; keeps: share of its votes that keep; overlap: share of samples it
        votes on with another; conflict: share of samples where another one says otherwise; estimated: its accuracy by
        the label model; accuracy: against the truth, NaN where that is unknown.
    """
    # everything here depends on a sample's row of votes only, and millions of samples share few
    patterns, place, counts = _patterns(votes)
    voted = patterns != ABSTAIN
    keeps, drops = (patterns == KEEP).sum(axis=1), (patterns == DROP).sum(axis=1)
    against = np.where(patterns == KEEP, drops[:, None], keeps[:, None])
    cast = counts @ voted
    right = np.full(len(names), np.nan)
    if good is not None:
        judged = np.ones(len(votes), dtype=np.bool_) if known is None else known
        goods, bads = (
            np.bincount(place[judged & side], minlength=len(patterns)).astype(np.float64) for side in (good, ~good)
        )
        agree = goods @ (patterns == KEEP) + bads @ (patterns == DROP)
        right = _ratio(agree, (goods + bads) @ voted)
    everybody = counts.sum()
    return pd.DataFrame(
        {
            "voter": names,
            "coverage": cast / everybody,
            "keeps": _ratio(counts @ (patterns == KEEP), cast),
            "overlap": counts @ (voted & (voted.sum(axis=1) > 1)[:, None]) / everybody,
            "conflict": counts @ (voted & (against > 0)) / everybody,
            "estimated": model.accuracies,
            "accuracy": right,
        }
    )


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _answer(kept: NDArray[np.bool_], known: NDArray[np.bool_], reason: str) -> Votes:
    return Votes(np.where(known, np.where(kept, KEEP, DROP), ABSTAIN).astype(np.int8), reason)


def _patterns(votes: NDArray[np.int8]) -> tuple[NDArray[np.int8], NDArray[np.intp], NDArray[np.float64]]:
    """Distinct rows, each sample's row among them, and how many samples have it: millions of samples share few."""
    voters = votes.shape[1]
    if voters > _MOST_IN_A_CODE:
        return votes, np.arange(len(votes)), np.ones(len(votes))
    codes = np.zeros(len(votes), dtype=np.int64)
    for voter in reversed(range(voters)):
        codes *= 3
        codes += votes[:, voter] + 1
    if 3**voters <= _MOST_COUNTED:  # counting is many times faster than sorting
        every = np.bincount(codes, minlength=3**voters)
        present = np.flatnonzero(every)
        where = np.zeros(3**voters, dtype=np.intp)
        where[present] = np.arange(len(present))
        rows = present[:, None] // 3 ** np.arange(voters) % 3 - 1
        return rows.astype(np.int8), where[codes], every[present].astype(np.float64)
    _, first, place, counts = np.unique(codes, return_index=True, return_inverse=True, return_counts=True)
    return votes[first], place, counts.astype(np.float64)
