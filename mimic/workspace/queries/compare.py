"""Two signals, a line on each: where they agree, where they part, and examples of both. They may come from two runs.

Only samples that both signals score are compared; the others are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mimic.errors import MimicError
from mimic.workspace.queries.connection import Published, Tables, float32_at_least, shuffled, tables

Cell = Literal["both keep", "only A drops", "only B drops", "both drop"]
CELLS: tuple[Cell, ...] = ("both keep", "only A drops", "only B drops", "both drop")
DENSITY_CELLS = 80

# A sample's cell, as SQL over columns a and b and the parameters $a and $b.
_CELL = (
    "CASE WHEN a >= $a::FLOAT THEN CASE WHEN b >= $b::FLOAT THEN 'both keep' ELSE 'only B drops' END"
    " ELSE CASE WHEN b >= $b::FLOAT THEN 'only A drops' ELSE 'both drop' END END"
)


@dataclass(frozen=True)
class Side:
    """One of the two: a signal of a published run."""

    published: Published
    signal: str


@dataclass(frozen=True)
class Agreement:
    """How two lines divide the samples that both signals score.

    Attributes:
        counts: cell → samples.
        wrong, known: cell → samples with a wrong label, and with a known truth; zeros where no truth is known.
        left_out: samples that only one of the two scores, or neither.
    """

    counts: dict[Cell, int]
    wrong: dict[Cell, int]
    known: dict[Cell, int]
    left_out: int

    @property
    def compared(self) -> int:
        return sum(self.counts.values())

    @property
    def agreeing(self) -> float:
        """The share of samples on which both decide the same, 0 … 1."""
        return (self.counts["both keep"] + self.counts["both drop"]) / self.compared

    @property
    def jaccard_dropped(self) -> float:
        """Dropped by both ÷ dropped by either, 0 … 1; 1 where nobody drops anything."""
        either = self.compared - self.counts["both keep"]
        return self.counts["both drop"] / either if either else 1.0

    @property
    def jaccard_by_chance(self) -> float:
        """The same for two unrelated signals that drop as many as these do."""
        n = self.compared
        a = (self.counts["only A drops"] + self.counts["both drop"]) / n
        b = (self.counts["only B drops"] + self.counts["both drop"]) / n
        return a * b / (a + b - a * b) if a + b else 1.0


def agreement(a: Side, b: Side, line_a: float, line_b: float) -> Agreement:
    """The four counts at a line each; exact.

    Raises:
        MimicError: the two belong to different data sets, or share no scored sample.
    """
    with _joined(a, b, line_a, line_b) as (t, pairs, parameters):
        rows = t.rows(
            f"SELECT {_CELL} AS cell, count(*), count(*) FILTER (s.label <> s.truth),"
            f" count(*) FILTER (s.label IS NOT NULL AND s.truth IS NOT NULL)"
            f" FROM {pairs} p JOIN {t.samples} s ON s.rowid = p.sample GROUP BY cell"
            if a.published.has_truth
            else f"SELECT {_CELL} AS cell, count(*), 0, 0 FROM {pairs} GROUP BY cell",
            parameters,
        )
    found = {cell: counts for cell, *counts in rows}
    counts, wrong, known = (
        {cell: int(found[cell][place]) if cell in found else 0 for cell in CELLS} for place in range(3)
    )
    compared = sum(counts.values())
    if not compared:
        raise MimicError(f"{a.signal} and {b.signal} score no sample in common: choose two signals that overlap")
    return Agreement(counts, wrong, known, max(a.published.size, b.published.size) - compared)


def examples(a: Side, b: Side, line_a: float, line_b: float, each: int = 12, seed: int = 0) -> dict[Cell, pd.DataFrame]:
    """A seeded draw of at most `each` ≤ 24 samples from each cell.

    Returns:
        cell → columns sample, id, path, label, truth, a, b.
    """
    with _joined(a, b, line_a, line_b) as (t, pairs, parameters):
        frame = t.frame(
            f"WITH drawn AS (SELECT cell, unnest(min_by((sample, a, b), {shuffled('sample', seed)}, {min(each, 24)}))"
            f"   AS x FROM (SELECT *, {_CELL} AS cell FROM {pairs}) GROUP BY cell)"
            f" SELECT d.cell, s.sample, s.id, s.path, s.label, s.truth, d.x[2] AS a, d.x[3] AS b"
            f" FROM drawn d JOIN {t.samples} s ON s.rowid = d.x[1] ORDER BY d.cell, {shuffled('s.sample', seed)}",
            parameters,
        )
    return {cell: frame[frame["cell"] == cell].drop(columns="cell").reset_index(drop=True) for cell in CELLS}


@dataclass(frozen=True)
class Density:
    """How many samples lie in each cell of a grid over both signals; the outermost cells hold what lies beyond.

    Attributes:
        counts: (cells, cells) int64, first b (rows, upwards), then a (columns).
        a, b: (cells + 1,) edges.
    """

    counts: NDArray[np.int64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]


@lru_cache(maxsize=16)
def density(a: Side, b: Side, cells: int = DENSITY_CELLS) -> Density:
    """Counts on a grid of at most 100 × 100 cells between the outer bins of both signals. Do not write into it."""
    cells = min(cells, 100)
    edges = [_edges(side, cells) for side in (a, b)]
    index = [f"least(greatest(floor(({n} - {e[0]!r}) / {e[1] - e[0]!r}), 0), {cells - 1})::INTEGER"
             for n, e in zip("ab", (edge.tolist() for edge in edges), strict=True)]  # fmt: skip
    with _joined(a, b) as (t, pairs, _):
        rows = t.rows(f"SELECT {index[0]} AS i, {index[1]} AS j, count(*) FROM {pairs} GROUP BY i, j")
    counts = np.zeros((cells, cells), dtype=np.int64)
    for i, j, n in rows:
        counts[j, i] = n
    return Density(counts, *edges)


@dataclass(frozen=True)
class Pairs:
    """Both scores of the same samples.

    Attributes:
        a, b: (N,) float32.
        shared: samples that both signals score; more than N if these are a draw of them.
    """

    a: NDArray[np.float32]
    b: NDArray[np.float32]
    shared: int


@lru_cache(maxsize=16)
def pairs(a: Side, b: Side, limit: int = 100_000) -> Pairs:
    """Both scores of every shared sample, or of a fixed draw of `limit` of them. Do not write into it."""
    with _joined(a, b) as (t, joined, _):
        shared = int(t.rows(f"SELECT count(*) FROM {joined}")[0][0])
        found = t.cursor.execute(
            f"SELECT a, b FROM {joined} ORDER BY {shuffled('sample', 0)}, sample LIMIT {int(limit)}"
        ).fetchnumpy()
    return Pairs(np.asarray(found["a"], dtype=np.float32), np.asarray(found["b"], dtype=np.float32), shared)


@contextmanager
def _joined(
    a: Side, b: Side, line_a: float = 0.0, line_b: float = 0.0
) -> Iterator[tuple[Tables, str, dict[str, float]]]:
    """A cursor, SQL for the rows (sample, a, b) that both score, and the lines as its parameters."""
    if a.published.dataset != b.published.dataset:
        raise MimicError(
            f"run {a.published.run} scores data set {a.published.dataset} and run {b.published.run} scores"
            f" {b.published.dataset}: only runs of one data set can be compared"
        )
    own, other = a.published.column(a.signal), b.published.column(b.signal)
    with tables(a.published) as t, tables(b.published) as u:
        source = f"SELECT sample, {own} AS a, {other} AS b FROM {t.scores}"
        if a.published != b.published:
            source = f"SELECT sample, x.a, y.b FROM (SELECT sample, {own} AS a FROM {t.scores}) x"
            source += f" JOIN (SELECT sample, {other} AS b FROM {u.scores}) y USING (sample)"
        shared = f"(SELECT * FROM ({source}) WHERE a IS NOT NULL AND b IS NOT NULL)"
        yield t, shared, {"a": float32_at_least(line_a), "b": float32_at_least(line_b)}


def _edges(side: Side, cells: int) -> NDArray[np.float64]:
    """Equally spaced edges between the inner ends of a signal's outermost bins, which are stretched to the extremes."""
    with tables(side.published) as t:
        low, high = t.rows(
            f"SELECT min(high), max(low) FROM {t.bins} WHERE signal = ? HAVING count(*) > 0", [side.signal]
        )[0]
    if not low < high:
        low, high = low - 0.5, low + 0.5
    return np.linspace(low, high, cells + 1)
