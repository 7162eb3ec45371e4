"""Several filters, or signals with a line each, on the same samples: where they agree, where they part, and examples.

What each decides is a ballot, a bit a sample (`Ballot`), so a named filter, a signal and a rule over several runs are
compared alike. Samples lie side by side by class and by what is known of them (`Groups`), so every combination of
votes is counted by class and truth with a few sums over bits (`cross`): at another budget a column of floats is read
once a signal, and nothing else that grows with the data set. All tables and figures are sums over that. Counts are
exact. What needs both scores of a sample is worked out on a fixed draw where there are many (`pairs`), and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from mimic.data import DROP, KEEP
from mimic.errors import MimicError
from mimic.workspace.queries.dense import Truth

Cell = Literal["both keep", "only A drops", "only B drops", "both drop"]
CELLS: tuple[Cell, ...] = ("both keep", "only A drops", "only B drops", "both drop")
DENSITY_CELLS = 80
PAIRS = 100_000
MOST = 6  # filters at once: 3⁶ combinations are already more than anybody reads

_RIGHT, _WRONG = 1, 2  # 0: nobody knows
_WORD = 64

T = TypeVar("T", bound=np.generic)

Votes = NDArray[np.int8]
Floats = NDArray[np.float32]
Numbers = NDArray[np.integer[Any]]
Bits = NDArray[np.uint64]  # a bit a sample, in the order of `Groups`; those after the last sample are 0


@dataclass(frozen=True)
class Agreement:
    """How two filters divide the samples that both vote on.

    Attributes:
        counts: cell → samples.
        wrong, known: cell → samples with a wrong label (or caption), and of which that is known; zeros where it is not.
        left_out: samples that only one of the two votes on, or neither.
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
        """The same for two unrelated filters that drop as many as these do."""
        n = self.compared
        a = (self.counts["only A drops"] + self.counts["both drop"]) / n
        b = (self.counts["only B drops"] + self.counts["both drop"]) / n
        return a * b / (a + b - a * b) if a + b else 1.0


@dataclass(frozen=True, eq=False)
class Crossing:
    """How often each combination of votes occurs, by class and by what is known.

    Attributes:
        counts: int64, axes: class (0 = no label), truth (unknown, right, wrong), then a member's vote each (abstains,
            drops, keeps).
    """

    counts: NDArray[np.int64]

    @property
    def members(self) -> int:
        return self.counts.ndim - 2

    def told(self, labels: Numbers, wrong: NDArray[np.bool_], votes: Sequence[Votes]) -> Crossing:
        """The same, some samples being known that were unknown.

        Args:
            labels, wrong: (n,) their class codes (−1 = none), and whether their label (or caption) is wrong.
            votes: (n,) a member.
        """
        counts = self.counts.copy()
        for known, places in ((-1, np.zeros(len(labels), dtype=np.int64)), (1, _RIGHT + wrong)):
            where = np.ravel_multi_index((labels + 1, places, *(vote + 1 for vote in votes)), counts.shape)
            counts += known * np.bincount(where, minlength=counts.size).reshape(counts.shape)
        return Crossing(counts)

    def agreement(self, a: int, b: int) -> Agreement:
        """Two of the members.

        Raises:
            MimicError: there is no sample that both vote on.
        """
        others = tuple(axis + 2 for axis in range(self.members) if axis not in (a, b))
        square = self.counts.sum(axis=(0, *others))  # truth, vote, vote
        if a > b:
            square = square.transpose(0, 2, 1)
        inner = square[:, 1:, 1:][:, ::-1, ::-1]  # keeps before drops, as in CELLS
        if not inner.sum():
            raise MimicError("the two vote on no sample in common: choose two that overlap")

        def cells(part: NDArray[np.int64]) -> dict[Cell, int]:
            # in CELLS, A's drop changes before B's
            return dict(zip(CELLS, part.sum(axis=0).T.ravel().tolist(), strict=True))

        left_out = int(square.sum() - inner.sum())
        return Agreement(cells(inner), cells(inner[_WRONG:]), cells(inner[_RIGHT:]), left_out)

    def combinations(self) -> pd.DataFrame:
        """Who drops together, among samples that all vote on.

        Returns:
            Columns drops (tuple of members' places), samples, known, wrong; only combinations that occur, the most
            frequent first.
        """
        everyone = self.counts[(slice(None), slice(None), *[slice(1, None)] * self.members)].sum(axis=0)
        rows = []
        for votes in product((0, 1), repeat=self.members):  # 0 drops, 1 keeps
            unknown, right, wrong = (int(n) for n in everyone[(slice(None), *votes)])
            if unknown + right + wrong:
                drops = tuple(place for place, vote in enumerate(votes) if vote == 0)
                rows.append((drops, unknown + right + wrong, right + wrong, wrong))
        frame = pd.DataFrame(rows, columns=["drops", "samples", "known", "wrong"])
        return frame.sort_values("samples", ascending=False, ignore_index=True, kind="stable")

    def dropped(self) -> NDArray[np.int64]:
        """(members,) how many samples each drops, among those that all vote on."""
        frame = self.combinations()
        return np.array(
            [frame["samples"][[place in drops for drops in frame["drops"]]].sum() for place in range(self.members)]
        )

    def by_class(self, names: Sequence[str]) -> pd.DataFrame:
        """What becomes of each class, among samples that all vote on.

        Returns:
            Columns label (None where a sample has none), samples, wrong (share of those known; NaN where none is),
            disputed (share on which not all decide the same), then a column a member, by its place: the share that it
            drops. The most disputed first.
        """
        everyone = self.counts[(slice(None), slice(None), *[slice(1, None)] * self.members)]
        flat = everyone.reshape(*everyone.shape[:2], -1)
        total = flat.sum(axis=(1, 2))
        known = flat[:, _RIGHT:].sum(axis=(1, 2))
        with np.errstate(invalid="ignore", divide="ignore"):
            columns = {
                "samples": total,
                "wrong": flat[:, _WRONG].sum(axis=1) / known,
                "disputed": 1 - (flat[:, :, 0].sum(axis=1) + flat[:, :, -1].sum(axis=1)) / total,
            }
            for place in range(self.members):
                drops = everyone.take(0, axis=place + 2).reshape(len(total), -1).sum(axis=1)
                columns[str(place)] = drops / total
        frame = pd.DataFrame({"label": pd.Series([None, *names], dtype=object), **columns})
        frame = frame[frame["samples"] > 0]
        return frame.sort_values(["disputed", "samples"], ascending=False, ignore_index=True, kind="stable")


@dataclass(frozen=True, eq=False)
class Groups:
    """A data set's samples, those of a class and of what is known of them side by side.

    Attributes:
        places: (size,) int32, where each sample lies.
        ends: (groups + 1,) int64, where groups begin and end: by class (0 = no label), then unknown, right, wrong.
    """

    places: NDArray[np.int32]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, labels: NDArray[np.int32], classes: int, truth: Truth | None) -> Groups:
        """The groups of a data set.

        Args:
            labels: (size,) class codes, −1 = none.
            classes: how many there are.
            truth: what is known of the samples.
        """
        groups = labels + np.int32(1)
        groups *= 3
        if truth is not None:
            groups += truth.known
            groups += truth.wrong
        numbers = np.arange(len(groups) + 1, dtype=np.int32)
        rows = sparse.csr_array(
            (np.ones(len(groups), dtype=np.int8), groups, numbers), shape=(len(groups), 3 * (classes + 1))
        )
        columns = rows.tocsc()  # sorts by counting: four times faster than argsort
        places = np.empty(len(groups), dtype=np.int32)
        places[columns.indices] = numbers[:-1]
        return cls(places, columns.indptr.astype(np.int64))

    def placed(self, values: NDArray[T]) -> NDArray[T]:
        """Values by sample number, (size,), each in its place."""
        found = np.empty_like(values)
        found[self.places] = values  # every group is filled from its beginning: faster than to gather it
        return found

    def bits(self, mask: NDArray[np.bool_]) -> Bits:
        """A mask by sample number, (size,), as bits."""
        return packed(self.placed(mask))

    def counts(self, bits: Bits) -> NDArray[np.int64]:
        """(classes + 1, 3) how many bits are set in each group."""
        before = np.append(0, np.cumsum(np.bitwise_count(bits), dtype=np.int64))
        words, rest = self.ends // _WORD, (self.ends % _WORD).astype(np.uint64)
        # a group that ends within a word has those of its bits that lie below
        below = np.bitwise_count(np.append(bits, np.uint64(0))[words] & ((np.uint64(1) << rest) - np.uint64(1)))
        return np.diff(before[words] + below).reshape(-1, 3)

    def samples(self, bits: Bits) -> NDArray[np.int64]:
        """The numbers of the samples whose bits are set, rising."""
        every = np.unpackbits(bits.astype("<u8", copy=False).view(np.uint8), count=len(self.places), bitorder="little")
        return np.flatnonzero(every[self.places])


def packed(mask: NDArray[np.bool_]) -> Bits:
    """A mask in the order of `Groups`, (size,), as bits: (⌈size / 64⌉,)."""
    found = np.zeros(-(-len(mask) // _WORD) * _WORD // 8, dtype=np.uint8)
    found[: -(-len(mask) // 8)] = np.packbits(mask, bitorder="little")
    return found.view("<u8").astype(np.uint64, copy=False)


@dataclass(frozen=True, eq=False)
class Placed:
    """A signal in the order of `Groups`: 41 MB at ten million samples, and a ballot 2.5.

    Attributes:
        scores: (size,) float32, NaN = not scored.
        scored: where there is one.
    """

    scores: Floats
    scored: Bits

    @classmethod
    def of(cls, scores: Floats, groups: Groups) -> Placed:
        """Scores by sample number, (size,)."""
        placed = groups.placed(scores)
        return cls(placed, packed(~np.isnan(placed)))


@dataclass(frozen=True, eq=False)
class Ballot:
    """What a member says of every sample; it abstains where it neither drops nor keeps.

    Attributes:
        drops, keeps: never both.
    """

    drops: Bits
    keeps: Bits

    @classmethod
    def by_line(cls, placed: Placed, line: np.float32) -> Ballot:
        """Keeps what scores at least `line`."""
        keeps = packed(placed.scores >= line)
        return cls(placed.scored & ~keeps, keeps)

    @classmethod
    def by_votes(cls, votes: Votes, groups: Groups) -> Ballot:
        """Votes by sample number, (size,)."""
        placed = groups.placed(votes)
        return cls(packed(placed == DROP), packed(placed == KEEP))


def cross(ballots: Sequence[Ballot], groups: Groups, inside: Bits) -> Crossing:
    """Count every combination.

    Args:
        ballots: of at most `MOST` members.
        inside: the samples to count.

    Raises:
        MimicError: too many members.
    """
    if len(ballots) > MOST:
        raise MimicError(f"{len(ballots)} filters are too many to compare at once: choose at most {MOST}")
    counts = np.zeros((len(groups.ends) // 3, 3, 3 ** len(ballots)), dtype=np.int64)

    def count(those: Bits, left: Sequence[Ballot], pattern: int) -> None:
        if not those.any():
            return  # of the 729 combinations of six most never occur
        if not left:
            counts[:, :, pattern] = groups.counts(those)
            return
        one, *others = left
        for vote, chosen in enumerate((~(one.drops | one.keeps), one.drops, one.keeps)):
            count(those & chosen, others, 3 * pattern + vote)

    count(inside, ballots, 0)
    return Crossing(counts.reshape(*counts.shape[:2], *[3] * len(ballots)))


def draw(inside: NDArray[np.bool_], seed: int) -> NDArray[np.int32]:
    """Samples in a seeded order: all, or of a large set some hundred thousand, which have enough of most cells."""
    rng = np.random.default_rng(seed)
    drawn = np.arange(len(inside)) if len(inside) <= PAIRS else np.unique(rng.integers(len(inside), size=PAIRS))
    return rng.permutation(drawn[inside[drawn]]).astype(np.int32)


def examples(
    drawn: NDArray[np.int32], a: Votes, b: Votes, every: Callable[[Cell], Numbers], each: int = 12, seed: int = 0
) -> dict[Cell, list[int]]:
    """Cell → a seeded draw of at most `each` of its samples.

    Args:
        drawn: as `draw` gives it.
        a, b: A's and B's votes on these.
        every: all samples of a cell, rising: asked for where the draw has fewer than `each`.
    """
    found = {}
    for cell, (of_b, of_a) in zip(CELLS, product((KEEP, DROP), repeat=2), strict=True):
        mine: Numbers = drawn[(a == of_a) & (b == of_b)][:each]
        if len(mine) < each:
            mine = every(cell)
            mine = np.random.default_rng([seed, CELLS.index(cell)]).choice(mine, min(each, len(mine)), replace=False)
        found[cell] = [int(sample) for sample in mine]
    return found


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


def pairs(a: Floats, b: Floats, limit: int = PAIRS) -> Pairs:
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


def density(of: Pairs, cells: int = DENSITY_CELLS) -> Density:
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
