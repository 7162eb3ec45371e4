"""Two scores of the same samples: where they lie, and how far the two agree at every budget.

What needs both scores of a sample is worked out on a fixed draw where there are many, which says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mimic.errors import MimicError
from mimic.workspace.queries.dense import Floats

CELLS = 80  # of the density, each way
DRAWN = 100_000


@dataclass(frozen=True, eq=False)
class Pairs:
    """Both scores of the same samples.

    Attributes:
        a, b: (N,) float32.
        shared: samples that have both; more than N if these are a draw of them.
    """

    a: Floats
    b: Floats
    shared: int


def pairs(a: Floats, b: Floats, limit: int = DRAWN) -> Pairs:
    """Both scores, (size,) each, of every sample that has both, or of a fixed draw of `limit` of them.

    Raises:
        MimicError: no sample has both.
    """
    both = np.flatnonzero(~(np.isnan(a) | np.isnan(b)))
    if not len(both):
        raise MimicError("no sample in common has both scores: choose two signals that overlap")
    drawn = both
    if len(both) > limit:
        drawn = np.sort(np.random.default_rng(0).choice(both, limit, replace=False, shuffle=False))
    return Pairs(a[drawn], b[drawn], len(both))


def overlaps(of: Pairs, steps: int = 49) -> pd.DataFrame:
    """Overlap of what two signals drop at every budget, on the samples of `pairs`.

    Returns:
        Columns kept (share that each keeps, rising), overlap (Jaccard) and chance (the same, unrelated).
    """
    n = len(of.a)
    rising = [np.sort(side) for side in (of.a, of.b)]
    rows = []
    for kept in np.linspace(0.02, 0.98, steps):
        low_a, low_b = (
            side < line[round((1 - kept) * (n - 1))] for side, line in zip((of.a, of.b), rising, strict=True)
        )
        both, either = np.count_nonzero(low_a & low_b), np.count_nonzero(low_a | low_b)
        p, q = low_a.mean(), low_b.mean()
        chance = p * q / (p + q - p * q) if p + q else 1.0
        rows.append((kept, both / either if either else 1.0, chance))
    return pd.DataFrame(rows, columns=["kept", "overlap", "chance"])


@dataclass(frozen=True, eq=False)
class Density:
    """How many samples lie in each cell of a grid over both scores; the outermost cells hold what lies beyond.

    Attributes:
        counts: (cells, cells) int64, first b (rows, upwards), then a (columns), of those that `pairs` holds.
        a, b: (cells + 1,) edges.
    """

    counts: NDArray[np.int64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]


def density(of: Pairs, cells: int = CELLS) -> Density:
    """Counts on a grid of at most 100 × 100 cells between the 0.1 % and 99.9 % quantiles of both scores."""
    cells = min(cells, 100)
    edges, places = [], []
    for scores in (of.a, of.b):
        low, high = (float(edge) for edge in np.quantile(scores, (0.001, 0.999)))
        low, high = (low, high) if low < high else (low - 0.5, low + 0.5)
        edge = np.linspace(low, high, cells + 1)
        place = np.floor((scores.astype(np.float64) - low) / (edge[1] - edge[0]))
        edges.append(edge)
        places.append(np.clip(place, 0, cells - 1).astype(np.int64))
    counts = np.bincount(places[1] * cells + places[0], minlength=cells * cells).reshape(cells, cells)
    return Density(counts.astype(np.int64), *edges)
