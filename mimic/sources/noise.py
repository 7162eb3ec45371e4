"""Wrong labels on purpose, to see who finds them: the label that was given becomes the truth, which no score reads.

- ``symmetric:RATE``: each label is another one, any, with this chance
- ``asymmetric:RATE``: each label is the next class with this chance, the last one's next being the first

Splits that are held back (test, validation …) stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mimic.data import HELD, Sample
from mimic.errors import MimicError
from mimic.sources.listing import Listing

_AT_ONCE = 4096


@dataclass(frozen=True)
class Noise:
    """Which labels become wrong.

    Attributes:
        kind: see the module's list.
        rate: 0 … 1.
        seed: the same gives the same.
    """

    kind: Literal["symmetric", "asymmetric"]
    rate: float
    seed: int = 0

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> Noise:
        """From ``symmetric:0.5`` and the like.

        Raises:
            MimicError: another kind, or a rate that is none.
        """
        kind, _, rate = text.partition(":")
        try:
            share = float(rate)
        except ValueError:
            share = -1.0
        if kind == "symmetric" and 0 <= share <= 1:
            return cls("symmetric", share, seed)
        if kind == "asymmetric" and 0 <= share <= 1:
            return cls("asymmetric", share, seed)
        raise MimicError(f"--noise {text!r} does not work: symmetric:RATE or asymmetric:RATE, with a rate from 0 to 1")

    def __call__(self, listing: Listing) -> Listing:
        """The listing with wrong labels, and what they were as the truth; a truth that was known stays.

        Raises:
            MimicError: captions, or fewer than two classes.
        """
        if listing.task != "labels" or len(listing.classes) < 2:
            what = "captions" if listing.task != "labels" else f"{len(listing.classes)} classes"
            raise MimicError(f"--noise makes labels wrong, and {listing.path} has {what}")
        return replace(listing, samples=lambda: self._spoilt(listing))

    def _spoilt(self, listing: Listing) -> Iterator[Sample]:
        codes = {name: code for code, name in enumerate(listing.classes)}
        steps = self._steps(len(listing.classes))
        for sample in listing.samples():
            step = next(steps)  # drawn for every sample, so that nobody's depends on another's split or label
            label = sample.label
            if label in codes and sample.split not in HELD:
                label = listing.classes[(codes[label] + step) % len(listing.classes)]
            yield replace(sample, label=label, truth=sample.truth or sample.label)

    def _steps(self, classes: int) -> Iterator[int]:
        """How many classes on each sample's label goes; 0 where it stays."""
        rng = np.random.default_rng([self.seed, 1])
        while True:
            others = rng.integers(1, classes, _AT_ONCE) if self.kind == "symmetric" else np.ones(_AT_ONCE, np.int64)
            yield from np.where(rng.random(_AT_ONCE) < self.rate, others, 0).tolist()
