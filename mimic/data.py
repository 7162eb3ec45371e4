"""The nouns everything else speaks in: Sample, Shard, Votes. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

KEEP, DROP, ABSTAIN = 1, 0, -1


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of a data set, without its pixels.

    Attributes:
        number: its integer key within the data set, dense from 0.
        id: the user's own name for it (path, uid, shard/key); unique within the data set.
        path: where the image lies, relative to the data set's root, with forward slashes.
        label: the given label's class name, the one being judged; None where there is none.
        truth: the true class name where somebody knows it. No score ever reads it.
        split: the split it belongs to, e.g. ``"train"``; None where the data set has no splits.
        extra: the manifest's further columns, as they came.
    """

    number: int
    id: str
    path: str
    label: str | None = None
    truth: str | None = None
    split: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shard:
    """The unit of resuming, of progress and of distribution: positions ``first ≤ i < last`` of what a run scores."""

    index: int
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first


@dataclass(frozen=True, slots=True)
class Votes:
    """A filter's answer: for each sample ``KEEP`` (+1), ``DROP`` (0) or ``ABSTAIN`` (−1), with the reason.

    Attributes:
        votes: (N,) int8.
        reason: what a drop means, e.g. ``"mimic < 0.0123"``.
    """

    votes: NDArray[np.int8]
    reason: str
