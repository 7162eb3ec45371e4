"""A signal's published bins without their classes: where to look for a rank or a score, and how many lie below."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mimic.errors import MimicError
from mimic.workspace.queries.connection import Published, float32_at_least, tables
from mimic.workspace.queries.once import Kept

_BYTES = 64_000_000  # of samples of bins that are kept at hand, for all visitors together


class Bin(NamedTuple):
    """A bin that holds samples: low ≤ score < high, both float32; `below` samples lie in lower bins, `n` in it."""

    number: int
    low: float
    high: float
    below: int
    n: int


@dataclass(frozen=True, eq=False)
class Inside:
    """The samples of a bin and their scores, (n,) each, in no order. Do not write into them."""

    samples: NDArray[np.int32]
    scores: NDArray[np.float32]


_INSIDE = Kept(_BYTES, lambda one: one.samples.nbytes + one.scores.nbytes)


def inside(published: Published, signal: str, bin_: Bin) -> Inside:
    """What lies in a bin. A line that is moved asks for the same bin several times: how far it reaches into it, of
    which classes, and what lies beside it."""

    def look() -> Inside:
        s = published.column(signal)
        with tables(published) as t:
            found = t.arrow(
                f"SELECT sample, {s} AS score FROM {t.scores} WHERE {s} >= ?::FLOAT AND {s} < ?::FLOAT",
                [bin_.low, bin_.high],
            )
        return Inside(found["sample"].to_numpy(), found["score"].to_numpy())

    return _INSIDE.get((published, signal, bin_.number), look)


@lru_cache(maxsize=128)
def bins_of(published: Published, signal: str) -> tuple[Bin, ...]:
    """The bins that hold samples, upwards; the last one is open above. Empty where no sample has the signal.

    Raises:
        MimicError: the run does not know the signal.
    """
    published.column(signal)
    with tables(published) as t:
        rows = t.rows(
            f"SELECT bin, any_value(low), any_value(high), any_value(below), sum(n)::BIGINT"
            f" FROM {t.bins} WHERE signal = ? GROUP BY bin ORDER BY bin",
            [signal],
        )
    found = [Bin(bin_, float32_at_least(low), float32_at_least(high), below, n) for bin_, low, high, below, n in rows]
    return (*found[:-1], found[-1]._replace(high=math.inf)) if found else ()


def scored_samples(published: Published, signal: str) -> int:
    """How many samples have the signal.

    Raises:
        MimicError: none has, or the run does not know it.
    """
    bins = bins_of(published, signal)
    if not bins:
        raise MimicError(f"no sample of run {published.run} has the signal {signal!r}, so no line separates anything")
    return bins[-1].below + bins[-1].n


def count_between(published: Published, signal: str, low: float, high: float) -> int | None:
    """How many samples have low ≤ score < high, where these are edges of bins; None where one lies within a bin."""
    low, high = float32_at_least(low), float32_at_least(high)
    counted = 0
    for one in bins_of(published, signal):
        if one.low >= low and one.high <= high:
            counted += one.n
        elif one.low < high and one.high > low:
            return None
    return counted


def far_end(published: Published, signal: str, near: float, count: int, *, down: bool) -> float:
    """A score that `count` samples or more lie between and `near`, in whole bins; infinite where there are fewer.

    Args:
        near: upwards the samples that score at least as much are counted, downwards those that score less.
    """
    near = float32_at_least(near)
    bins = bins_of(published, signal)
    for one in reversed(bins) if down else bins:
        if one.high <= near if down else one.low >= near:
            count -= one.n
            if count <= 0:
                return one.low if down else one.high
    return -math.inf if down else math.inf
