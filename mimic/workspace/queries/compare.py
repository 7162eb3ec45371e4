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
from mimic.workspace.queries import given
from mimic.workspace.queries.bins import bins_of
from mimic.workspace.queries.connection import Published, Tables, drawn, float32_at_least, shuffled, tables

Cell = Literal["both keep", "only A drops", "only B drops", "both drop"]
CELLS: tuple[Cell, ...] = ("both keep", "only A drops", "only B drops", "both drop")
DENSITY_CELLS = 80
PAIRS = 100_000

# A sample's cell, as SQL over columns a and b and the parameters $a and $b: its place in CELLS.
_CELL = "((a < $a::FLOAT)::INTEGER + 2 * (b < $b::FLOAT)::INTEGER)"


@dataclass(frozen=True)
class Side:
    """One of the two: a signal of a published run."""

    published: Published
    signal: str


@dataclass(frozen=True)
class Agreement:
    """How two lines divide the samples that both signals score.

    Attributes:
        counts: cell → samples, exact.
        wrong, known: cell → samples with a wrong label, and with a known truth, among those that `pairs` holds: all of
            them, or a draw; zeros where no truth is known.
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
    with _joined(a, b, line_a, line_b) as (t, joined, lines):
        both, keep_a, keep_b, keep = t.rows(
            f"SELECT count(*), count(*) FILTER (a >= $a::FLOAT), count(*) FILTER (b >= $b::FLOAT),"
            f" count(*) FILTER (a >= $a::FLOAT AND b >= $b::FLOAT) FROM {joined}",
            lines,
        )[0]
    inside = (keep, keep_b - keep, keep_a - keep, both - keep_a - keep_b + keep)
    counts = dict(zip(CELLS, inside, strict=True))
    of = pairs(a, b)
    place = (of.a < np.float32(lines["a"])) + 2 * (of.b < np.float32(lines["b"]))
    wrong, known = (
        dict(zip(CELLS, np.bincount(place[marked], minlength=4).tolist(), strict=True))
        for marked in (of.wrong, of.known)
    )
    compared = sum(counts.values())
    if not compared:
        raise MimicError(f"{a.signal} and {b.signal} score no sample in common: choose two signals that overlap")
    return Agreement(counts, wrong, known, max(a.published.size, b.published.size) - compared)


def examples(a: Side, b: Side, line_a: float, line_b: float, each: int = 12, seed: int = 0) -> dict[Cell, pd.DataFrame]:
    """A seeded draw of at most `each` ≤ 24 samples from each cell.

    Returns:
        cell → the columns of `given.card`, a, b.
    """
    # a hundredth of a large run has enough of most cells; where one comes short, all of it is looked through
    for share in (PAIRS / max(a.published.size, 1), 1.0):
        found = _drawn_examples(a, b, (line_a, line_b), min(each, 24), seed, share)
        if share >= 1 or min(len(frame) for frame in found.values()) == min(each, 24):
            break
    return found


def _drawn_examples(
    a: Side, b: Side, lines: tuple[float, float], each: int, seed: int, share: float
) -> dict[Cell, pd.DataFrame]:
    order = shuffled("sample", seed)
    with _joined(a, b, *lines) as (t, joined, parameters):
        frame = t.frame(
            f"WITH drawn AS (SELECT cell, unnest(min_by((sample, a, b), {order}, {each})) AS x"
            f"   FROM (SELECT *, {_CELL} AS cell FROM {joined} WHERE {drawn('sample', share, seed)}) GROUP BY cell)"
            f" SELECT d.cell, {given.card(a.published)}, d.x[2] AS a, d.x[3] AS b"
            f" FROM drawn d JOIN {t.samples} s ON s.rowid = d.x[1] ORDER BY d.cell, {shuffled('s.sample', seed)}",
            parameters,
        )
    return {
        cell: frame[frame["cell"] == place].drop(columns="cell").reset_index(drop=True)
        for place, cell in enumerate(CELLS)
    }


@dataclass(frozen=True)
class Pairs:
    """Both scores of the same samples.

    Attributes:
        a, b: (N,) float32.
        wrong, known: (N,) whether the given label (or caption) is wrong, and whether that is known.
        shared: samples that both signals score; more than N if these are a draw of them.
    """

    a: NDArray[np.float32]
    b: NDArray[np.float32]
    wrong: NDArray[np.bool_]
    known: NDArray[np.bool_]
    shared: int


@lru_cache(maxsize=16)
def pairs(a: Side, b: Side, limit: int = PAIRS) -> Pairs:
    """Both scores of every shared sample, or of a fixed draw of about `limit` of them. Do not write into it."""
    with _joined(a, b) as (t, joined, _):
        shared = int(t.rows(f"SELECT count(*) FROM {joined}")[0][0])
        share = limit / max(shared, 1)
        wrong = given.wrong(a.published)
        truth = f"coalesce({wrong}, false) AS wrong, {wrong} IS NOT NULL AS known"
        found = t.cursor.execute(
            f"SELECT p.a, p.b, {truth} FROM {joined} p JOIN {t.samples} s ON s.rowid = p.sample"
            f" WHERE {drawn('p.sample', share)} AND {drawn('s.sample', share)} ORDER BY p.sample"
        ).fetchnumpy()
    return Pairs(
        a=np.asarray(found["a"], dtype=np.float32),
        b=np.asarray(found["b"], dtype=np.float32),
        wrong=np.asarray(found["wrong"], dtype=np.bool_),
        known=np.asarray(found["known"], dtype=np.bool_),
        shared=shared,
    )


@dataclass(frozen=True)
class Density:
    """How many samples lie in each cell of a grid over both signals; the outermost cells hold what lies beyond.

    Attributes:
        counts: (cells, cells) int64, first b (rows, upwards), then a (columns), of those that `pairs` holds.
        a, b: (cells + 1,) edges.
    """

    counts: NDArray[np.int64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]


@lru_cache(maxsize=16)
def density(a: Side, b: Side, cells: int = DENSITY_CELLS) -> Density:
    """Counts on a grid of at most 100 × 100 cells between the outer bins of both signals. Do not write into it."""
    cells = min(cells, 100)
    of, edges = pairs(a, b), [_edges(side, cells) for side in (a, b)]
    places = []
    for scores, edge in zip((of.a, of.b), edges, strict=True):
        place = np.floor((scores.astype(np.float64) - edge[0]) / (edge[1] - edge[0]))
        places.append(np.clip(place, 0, cells - 1).astype(np.int64))
    counts = np.bincount(places[1] * cells + places[0], minlength=cells * cells).reshape(cells, cells)
    return Density(counts.astype(np.int64), *edges)


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
    bins = bins_of(side.published, side.signal)
    low, high = bins[0].high, bins[-1].low
    if not low < high:
        low, high = bins[0].low - 0.5, bins[0].low + 0.5
    return np.linspace(low, high, cells + 1)
