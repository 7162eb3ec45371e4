"""Several filters, or signals with a line each, on the same samples: where they agree, where they part, and examples.

What each decides is a ballot (`mimic.workspace.queries.ballots`), so a named filter, a signal and a rule over several
runs are compared alike: every combination of votes is counted by class and truth (`cross`), and all tables are sums
over that. Counts are exact. How alike two rank the samples is in `mimic.workspace.queries.pairs`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mimic.data import DROP, KEEP
from mimic.errors import MimicError
from mimic.workspace.queries.ballots import Ballot, Bits, Groups, Votes

Cell = Literal["both keep", "only A drops", "only B drops", "both drop"]
CELLS: tuple[Cell, ...] = ("both keep", "only A drops", "only B drops", "both drop")
DRAWN = 100_000
MOST = 6  # filters at once: 3⁶ combinations are already more than anybody reads

_RIGHT, _WRONG = 1, 2  # 0: nobody knows

Numbers = NDArray[np.integer[Any]]


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
    drawn = np.arange(len(inside)) if len(inside) <= DRAWN else np.unique(rng.integers(len(inside), size=DRAWN))
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
