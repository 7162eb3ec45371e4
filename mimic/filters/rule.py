"""What every rule is: a frozen model that needs columns of a `Table` and votes on each of its samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import Annotated, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mimic.data import ABSTAIN, DROP, Votes
from mimic.errors import MimicError

Scores = NDArray[np.float32]
Name = Annotated[str, Field(min_length=1)]
Measure = Literal["score", "weight", "margin", "neg_loss"]
T = TypeVar("T")


class Table(Protocol):
    """Where rules find scores: arrays over a data set's sample numbers, 0 … size − 1."""

    @property
    def size(self) -> int: ...

    def scores(self, run: str, signal: str) -> Scores:
        """(size,), higher is better, NaN = not scored. Not to be written into."""
        ...

    def visits(self, run: str, measure: Measure) -> Iterator[Scores]:
        """A training run's visits, one after another, each as (size,), NaN = not visited. weight is times b."""
        ...

    def labels(self) -> tuple[NDArray[np.int32], Sequence[str]]:
        """(size,) codes of the given labels, −1 = none, and the classes' names in the order of the codes."""
        ...

    def remembered(self, runs: frozenset[str], what: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, or gave the last time; it depends on these runs and the data set only."""
        ...


class Column(BaseModel):
    """A signal of a published run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: Name
    signal: Name

    def scores(self, table: Table) -> Scores:
        return table.scores(self.run, self.signal)

    def rising(self, table: Table) -> Scores:
        """The scores that are there, sorted; remembered, so that another budget costs no sorting."""

        def make() -> Scores:
            scores = self.scores(table)
            return np.sort(scores[~np.isnan(scores)])

        rising = table.remembered(frozenset([self.run]), ("rising", self.signal), make)
        if not rising.size:
            raise MimicError(
                f"no sample of run {self.run} has the signal {self.signal!r}, so no line separates anything"
            )
        return rising


class Rule(BaseModel, ABC):
    """What is kept, and why the rest is not.

    Attributes:
        drop_unscored: drop samples that the rule knows no score of; by default they abstain and are exported as kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    drop_unscored: bool = False

    # a rule holds dicts, which pydantic's own hash cannot take
    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    @abstractmethod
    def words(self) -> str:
        """What a kept sample is, in a few words."""

    @property
    @abstractmethod
    def reason(self) -> str:
        """What a drop means, in one line."""

    @abstractmethod
    def decide(self, table: Table) -> NDArray[np.int8]:
        """(size,) KEEP, DROP or ABSTAIN, `drop_unscored` aside."""

    @property
    def parts(self) -> tuple[Rule, ...]:
        """The rules that it is made of."""
        return ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The signals it needs, each once, in the order it names them."""
        return tuple(dict.fromkeys(column for part in self.parts for column in part.columns))

    @property
    def runs(self) -> frozenset[str]:
        """The runs it needs."""
        return frozenset(run for part in self.parts for run in part.runs)

    def votes(self, table: Table) -> Votes:
        """The rule's votes on every sample of the table's data set, with what a drop means.

        Raises:
            MimicError: a run or signal is gone, or holds no score to draw a line by.
        """
        votes = self.opinions(table)
        if not self.drop_unscored:
            return Votes(votes, self.reason)
        return Votes(np.where(votes == ABSTAIN, np.int8(DROP), votes), f"{self.reason} or not scored")

    def opinions(self, table: Table) -> NDArray[np.int8]:
        """The votes before `drop_unscored` turns abstentions into drops; remembered."""
        return table.remembered(self.runs, self, partial(self.decide, table))

    def score(self, table: Table) -> Scores:
        """(size,) what it goes by, NaN where it has nothing: of a combination, its first signal."""
        first = self.columns
        return first[0].scores(table) if first else np.full(table.size, np.nan, dtype=np.float32)

    @property
    def is_line(self) -> bool:
        """Whether it is one line on one signal, as far as can be said without the scores."""
        return False

    def line(self, table: Table) -> tuple[Column, float] | None:
        """The signal and the lowest kept score, where the rule is one line on one signal."""
        return None
