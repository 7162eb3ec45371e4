"""Signals that need the whole data set at once: small functions of a `Table`, which holds what they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mimic.scores.confident import label_quality
from mimic.scores.duplicates import distinctness
from mimic.scores.ensemble import ensemble
from mimic.scores.heads import Frozen, out_of_fold, visit_margins
from mimic.scores.neighbours import Neighbours, density, label_agreement, nearest
from mimic.scores.visits import forgetting, margin_mean


@dataclass(frozen=True)
class Table:
    """N samples, all at once, in the order of the data set.

    Attributes:
        frozen: the start's features, the given labels as outputs of the model, the seed of whatever is trained on them.
        reference: (N, K) float32 log-probabilities of the reference.
        hashes: (N,) perceptual hashes; None where nothing needs them.
    """

    frozen: Frozen
    reference: NDArray[np.float32]
    hashes: NDArray[np.uint64] | None = None

    @cached_property
    def neighbours(self) -> Neighbours:
        return nearest(self.frozen.features)

    @cached_property
    def margins(self) -> NDArray[np.float32]:
        """(N, visits)"""
        return visit_margins(self.frozen)


def _duplicate(table: Table) -> NDArray[np.float32]:
    assert table.hashes is not None
    return distinctness(table.hashes)


# name → function; what each means is in `mimic.scores.FURTHER_SIGNALS`.
TABLE_SIGNALS: dict[str, Callable[[Table], NDArray[np.float32]]] = {
    "ensemble": lambda table: ensemble(table.frozen, table.reference),
    "margin_mean": lambda table: margin_mean(table.margins),
    "forgetting": lambda table: forgetting(table.margins),
    "confident": lambda table: label_quality(out_of_fold(table.frozen), table.frozen.labels),
    "knn": lambda table: label_agreement(table.neighbours, table.frozen.labels),
    "dense": lambda table: density(table.neighbours),
    "duplicate": _duplicate,
}

# name → the package that it stands on, of the extra `baselines`.
PACKAGES = {"confident": "cleanlab", "duplicate": "imagehash"}
