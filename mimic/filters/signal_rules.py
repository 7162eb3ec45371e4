"""Rules about one signal: a line, the best or worst share of it, or where it falls into two groups."""

from __future__ import annotations

from abc import ABC
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mimic.data import ABSTAIN
from mimic.errors import MimicError
from mimic.filters.aggregate import sortable
from mimic.filters.binarise import Line, count_of, line_in, mixture, two_means
from mimic.filters.rule import Column, Name, Rule, Scores, Table

Share = Annotated[float, Field(ge=0, le=1)]


class OfSignal(Rule, ABC):
    """A rule about one signal of one run."""

    run: Name
    signal: Name

    @property
    def column(self) -> Column:
        return Column(run=self.run, signal=self.signal)

    @property
    def columns(self) -> tuple[Column, ...]:
        return (self.column,)

    @property
    def runs(self) -> frozenset[str]:
        return frozenset([self.run])


class ThresholdRule(OfSignal):
    """Keep what scores at least `threshold`, in the signal's own unit."""

    kind: Literal["threshold"] = "threshold"
    threshold: float = Field(allow_inf_nan=False)

    @property
    def words(self) -> str:
        return f"{self.signal} ≥ {self.threshold:.6g}"

    @property
    def reason(self) -> str:
        return f"{self.signal} < {self.threshold:.6g}"

    def decide(self, table: Table) -> NDArray[np.int8]:
        return Line(self.threshold, self.reason).votes(self.column.scores(table)).votes

    @property
    def is_line(self) -> bool:
        return True

    def line(self, table: Table) -> tuple[Column, float]:
        return self.column, self.threshold


class Best(BaseModel):
    """How many of the best are meant: a share of those scored, rounded up, or a number.

    Attributes:
        share, count: one of them. Ties with the last one are in.
        within: over all samples, or so much of every class (samples without a label are a class of their own).
        budgets: class → its own share or number, in place of the general one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: Share | None = None
    count: int | None = Field(default=None, ge=0)
    within: Literal["all", "class"] = "all"
    budgets: dict[str, float] = Field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @model_validator(mode="after")
    def _check(self) -> Best:
        if (self.share is None) == (self.count is None):
            raise ValueError("needs a share or a count, and not both")
        most = 1.0 if self.share is not None else float("inf")
        if not all(0 <= budget <= most for budget in self.budgets.values()):
            raise ValueError("budgets are shares from 0 to 1, or counts, as the general one is")
        if self.count is not None and not all(float(budget).is_integer() for budget in self.budgets.values()):
            raise ValueError("budgets beside a count are whole numbers")
        if self.budgets and self.within == "all":
            raise ValueError("budgets by class need within = class")
        return self

    def of(self, scored: int, name: str | None = None) -> int:
        """The number of the best meant among so many, of a class."""
        budget = self.budgets.get(name) if name is not None else None
        if self.share is not None:
            return count_of(self.share if budget is None else budget, scored)
        return min(int(budget) if budget is not None else self.count or 0, scored)

    @property
    def words(self) -> str:
        amount = f"{100 * self.share:.6g}%" if self.share is not None else f"{self.count:,}"
        within = " of each class" if self.within == "class" else ""
        return f"{amount}{within}{', some classes with their own' if self.budgets else ''}"


class ShareRule(OfSignal):
    """Keep the best of a signal, or the worst: exactly what the best of the rest leaves out."""

    kind: Literal["share"] = "share"
    side: Literal["top", "bottom"] = "top"
    best: Best

    @property
    def words(self) -> str:
        return f"{self.signal} in the {self.side} {self.best.words}"

    @property
    def reason(self) -> str:
        return f"{self.signal} not in the {self.side} {self.best.words}"

    def decide(self, table: Table) -> NDArray[np.int8]:
        scores = self.column.scores(table)
        if self.best.within == "all":
            lines: Any = np.float32(self._line_in(self.column.rising(table), None))
        else:
            lines = self._lines_by_class(scores, table)
        above = scores >= lines
        votes: NDArray[np.int8] = (above if self.side == "top" else ~above).astype(np.int8)  # KEEP is 1, DROP 0
        votes[np.isnan(scores)] = ABSTAIN
        return votes

    @property
    def is_line(self) -> bool:
        return self.best.within == "all" and self.side == "top"

    def line(self, table: Table) -> tuple[Column, float] | None:
        if not self.is_line:
            return None
        return self.column, self._line_in(self.column.rising(table), None)

    def _line_in(self, rising: Scores, name: str | None) -> float:
        scored = len(rising)
        if self.side == "top":
            return line_in(rising, self.best.of(scored, name))
        if self.best.share is not None:  # the complement of a share of the rest, so that the two never overlap
            budget = self.best.budgets.get(name, self.best.share) if name is not None else self.best.share
            return line_in(rising, count_of(1 - budget, scored))
        return line_in(rising, scored - self.best.of(scored, name))

    def _lines_by_class(self, scores: Scores, table: Table) -> Scores:
        """(N,) each sample's own class's line; NaN for a class without a score."""
        codes, names = table.labels()
        unknown = [name for name in self.best.budgets if name not in names]
        if unknown:
            raise MimicError(f"there is no class {unknown[0]!r} to give a budget: {', '.join(names[:10])}")

        def make() -> tuple[Scores, NDArray[np.int64]]:
            known = ~np.isnan(scores)
            return _sorted_by_class(scores[known], codes[known] + 1, len(names) + 1)

        rising, ends = table.remembered(self.runs, ("rising by class", self.signal), make)
        lines = np.full(len(names) + 1, np.nan, dtype=np.float32)
        for place, (first, last) in enumerate(pairwise(ends.tolist())):
            if first < last:
                lines[place] = self._line_in(rising[first:last], names[place - 1] if place else None)
        return lines[codes + 1]


class SplitRule(OfSignal):
    """Keep the higher of two groups, or of two normal distributions if two describe the scores better than one."""

    kind: Literal["split"] = "split"
    by: Literal["two_means", "mixture"] = "mixture"

    @property
    def words(self) -> str:
        return f"{self.signal} in the higher of two {'groups' if self.by == 'two_means' else 'distributions'}"

    @property
    def reason(self) -> str:
        return f"{self.signal} in the lower of two {'groups' if self.by == 'two_means' else 'distributions'}"

    def decide(self, table: Table) -> NDArray[np.int8]:
        return self.drawn(table).votes(self.column.scores(table)).votes

    def drawn(self, table: Table) -> Line:
        """The line that it comes to: −∞ where nothing is to be removed."""
        draw = two_means if self.by == "two_means" else mixture
        what = ("split", self.signal, self.by)
        return table.remembered(self.runs, what, lambda: draw(self.column.rising(table)))

    @property
    def is_line(self) -> bool:
        return True

    def line(self, table: Table) -> tuple[Column, float] | None:
        threshold = self.drawn(table).threshold
        return (self.column, threshold) if np.isfinite(threshold) else None


def _sorted_by_class(scores: Scores, codes: NDArray[np.int32], classes: int) -> tuple[Scores, NDArray[np.int64]]:
    """The scores class by class, rising in each, and where classes begin and end: (classes + 1,).

    One sort of 64-bit keys, class above score: many times faster than sorting by two columns.
    """
    keys = np.sort((codes.astype(np.uint64) << np.uint64(32)) | sortable(scores))
    lower = (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    rising = np.where(lower >> 31, lower & np.uint32(0x7FFFFFFF), ~lower).view(np.float32)
    return rising, np.append(0, np.cumsum(np.bincount(codes, minlength=classes)))
