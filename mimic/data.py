"""The nouns everything else speaks in: Sample, Shard, Votes. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

KEEP, DROP, ABSTAIN = 1, 0, -1

EVERYTHING = "all"  # the --split that takes every sample

# What splits are called that are held back from training.
HELD = ("validation", "valid", "val", "dev", "test")

# What of a sample is judged: the class it was given, or the caption.
Task = Literal["labels", "captions"]
NOUN: dict[Task, str] = {"labels": "label", "captions": "caption"}


def counted(number: int, noun: str) -> str:
    """So many of something, in words that agree.

    >>> counted(1, "class"), counted(12345, "sample"), counted(0, "class")
    ('1 class', '12,345 samples', '0 classes')
    """
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of a data set, without its pixels.

    Attributes:
        number: its integer key within the data set, dense from 0.
        id: the user's own name for it (path, uid, shard/key); unique within the data set.
        path: where the image lies, relative to the data set's root, with forward slashes, as `images.image_bytes` reads
            it; None in a data set without images.
        label: the given label's class name, the one being judged; None where there is none.
        truth: the true class name where somebody knows it. No score ever reads it.
        split: the split it belongs to, e.g. ``"train"``; None where the data set has no splits.
        extra: the manifest's further columns, as they came.
        caption: the given text, in a data set of captions; None where there is none.
        caption_group: what samples of one image have in common; None where an image has one caption.
        fault: what is wrong with the caption: "" = nothing, else the kind of fault; None where nobody knows. No score
            ever reads it.
    """

    number: int
    id: str
    path: str | None
    label: str | None = None
    truth: str | None = None
    split: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    caption: str | None = None
    caption_group: str | None = None
    fault: str | None = None


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
