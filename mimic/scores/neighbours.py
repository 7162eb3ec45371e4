"""The k nearest neighbours of every sample in feature space: exact, in blocks. Signals `knn` and `dense`.

Nearness is the cosine of standardised features. Memory beside the features themselves (N × D float32, copied once): one
block of similarities, at most `BLOCK_BYTES`, and the answer, N × k × 12 bytes. Time grows with N² × D.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mimic.losses import NO_LABEL
from mimic.scores.heads import standardised

NEIGHBOURS = 50
BLOCK_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Neighbours:
    """Each sample's nearest others, the nearest first.

    Attributes:
        rows: (N, k) int64, which samples.
        cosines: (N, k) float32, how near: −1 … 1.
    """

    rows: NDArray[np.int64]
    cosines: NDArray[np.float32]


def nearest(features: NDArray[np.float32], count: int = NEIGHBOURS, block_bytes: int = BLOCK_BYTES) -> Neighbours:
    """The nearest `count` others of every sample, or all others where there are fewer; a sample is never its own.

    Args:
        features: (N, D), N ≥ 2.
        count: k.
        block_bytes: memory for similarities.
    """
    directions = standardised(features)
    directions /= directions.norm(dim=1, keepdim=True).clamp_min(1e-12)
    size, count = len(directions), min(count, len(directions) - 1)
    block = max(1, block_bytes // (4 * size))
    rows = np.empty((size, count), np.int64)
    cosines = np.empty((size, count), np.float32)
    cells = torch.empty(min(block, size), size)  # one block of cosines, used again and again
    for first in range(0, size, block):
        few = directions[first : first + block]
        some = torch.mm(few, directions.T, out=cells[: len(few)])
        here = torch.arange(len(some))
        some[here, first + here] = -torch.inf
        found = some.topk(count, dim=1)
        rows[first : first + block], cosines[first : first + block] = found.indices.numpy(), found.values.numpy()
    return Neighbours(rows, cosines)


def label_agreement(neighbours: Neighbours, labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Share of the labelled neighbours that were given the sample's label, each weighted by 1 + cosine.

    Args:
        neighbours: of N samples.
        labels: (N,) int64; −1: none.

    Returns:
        (N,) 0 … 1; NaN for a sample without a label or without a labelled neighbour.
    """
    theirs = labels[neighbours.rows]
    weights = np.where(theirs == NO_LABEL, 0, 1 + neighbours.cosines)
    total = weights.sum(axis=1)
    agreeing = (weights * (theirs == labels[:, None])).sum(axis=1)
    share = np.divide(agreeing, total, out=np.full(len(labels), np.nan), where=(total > 0) & (labels != NO_LABEL))
    return np.asarray(share, dtype=np.float32)


def density(neighbours: Neighbours) -> NDArray[np.float32]:
    """Cosine to the k-th neighbour: low for outliers, which have nothing near them.

    Returns:
        (N,) −1 … 1.
    """
    furthest: NDArray[np.float32] = neighbours.cosines[:, -1].copy()
    return furthest
