"""Rules that work a score out before they cut it: the mean of several signals, or the visits of a training run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mimic.filters import aggregate
from mimic.filters.binarise import Line, fixed, mixture, side_by_side, top_share, two_means, votes_of
from mimic.filters.rule import Column, Measure, Name, Rule, Scores, Table

# how several voters come to one answer, in words
HOW = {"majority": "most", "weighted": "most of the weight", "dawid_skene": "a label model"}


class Draw(BaseModel):
    """How a line is drawn through scores that a rule works out.

    Attributes:
        by: at the score `at`; so that the share `at` is kept; between two groups; between two distributions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Literal["line", "top", "two_means", "mixture"]
    at: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check(self) -> Draw:
        if (self.at is None) == (self.by in ("line", "top")):
            raise ValueError("`at` belongs to line (a score) and top (a share), which need it")
        if self.by == "top" and not 0 < (self.at or 0) <= 1:
            raise ValueError("a share is above 0 and at most 1")
        return self

    def __call__(self, scores: NDArray[np.floating[Any]]) -> Line:
        if self.by == "line":
            return fixed(scores, self.at or 0.0)
        if self.by == "top":
            return top_share(scores, self.at or 1.0)
        return two_means(scores) if self.by == "two_means" else mixture(scores)

    @property
    def words(self) -> str:
        if self.by == "line":
            return f"≥ {self.at:.6g}"
        if self.by == "top":
            return f"in the top {100 * (self.at or 0):.6g}%"
        return f"in the higher of two {'groups' if self.by == 'two_means' else 'distributions'}"


class MeanRule(Rule):
    """A line through the mean of several signals: of their normal scores, of their ranks (0 … 1), or as they are."""

    kind: Literal["mean"] = "mean"
    of: Literal["normal", "rank", "score"] = "normal"
    signals: tuple[Column, ...] = Field(min_length=2)
    draw: Draw

    TITLES: ClassVar[dict[str, str]] = {"normal": "normal score", "rank": "rank", "score": "score"}

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(dict.fromkeys(self.signals))

    @property
    def runs(self) -> frozenset[str]:
        return frozenset(column.run for column in self.signals)

    @property
    def words(self) -> str:
        return f"{self._what} {self.draw.words}"

    @property
    def reason(self) -> str:
        return f"{self._what} not {self.draw.words}"

    @property
    def _what(self) -> str:
        return f"mean {self.TITLES[self.of]} of {', '.join(column.signal for column in self.signals)}"

    def decide(self, table: Table) -> NDArray[np.int8]:
        return _cut(self, self.draw, ("mean", self.of, self.signals), table)

    def score(self, table: Table) -> Scores:
        def make() -> Scores:
            columns = (self._turned(column, table) for column in self.signals)
            return aggregate.mean_of(columns).astype(np.float32)

        return table.remembered(self.runs, ("mean", self.of, self.signals), make)

    def _turned(self, column: Column, table: Table) -> Scores:
        """A signal as it goes into the mean."""
        if self.of == "score":
            return column.scores(table)
        turn = aggregate.normal_scores if self.of == "normal" else aggregate.ranks
        return table.remembered(frozenset([column.run]), (self.of, column.signal), lambda: turn(column.scores(table)))


class Voting(Rule, ABC):
    """What several voters come to.

    Attributes:
        how: by number, by weight, or by the estimated accuracies of Dawid and Skene's model.
        weights: one a voter, with how = weighted.
    """

    how: Literal["majority", "weighted", "dawid_skene"] = "majority"
    weights: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = ()

    @model_validator(mode="after")
    def _check_weights(self) -> Voting:
        if bool(self.weights) != (self.how == "weighted"):
            raise ValueError("weights belong to how = weighted, which needs them")
        return self

    @abstractmethod
    def voters(self, table: Table) -> tuple[list[str], NDArray[np.int8]]:
        """The voters' names, and (size, V) what each says of every sample."""

    def decide(self, table: Table) -> NDArray[np.int8]:
        votes = self.voters(table)[1]
        if self.how == "weighted":
            return aggregate.weighted(votes, np.array(self.weights)).votes
        if self.how == "majority":
            return aggregate.majority(votes).votes
        return aggregate.dawid_skene(votes).votes.votes


class VisitsRule(Voting):
    """Keep what a training run's visits say: each visit is cut by a line of its own and votes, or their mean is cut.

    Attributes:
        run: a published run that recorded visits.
        measure: what is looked at; weight is times the batch's size, so that 1 is the neutral 1/b.
        mean: cut the mean of the visits (their scores, or their normal scores) once, instead of voting.
    """

    kind: Literal["visits"] = "visits"
    run: Name
    measure: Measure = "weight"
    draw: Draw = Draw(by="line", at=1.0)
    mean: Literal["score", "normal"] | None = None

    @model_validator(mode="after")
    def _check_mean(self) -> VisitsRule:
        if self.mean is not None and self.how != "majority":
            raise ValueError("a mean is cut once, so nobody votes: leave out how")
        return self

    @property
    def runs(self) -> frozenset[str]:
        return frozenset([self.run])

    @property
    def words(self) -> str:
        return f"{self._what} {self.draw.words}{self._where}"

    @property
    def reason(self) -> str:
        return f"{self._what} not {self.draw.words}{self._where}"

    @property
    def _what(self) -> str:
        measure = "weight × batch size" if self.measure == "weight" else self.measure
        return measure if self.mean is None else f"mean {MeanRule.TITLES[self.mean]} of the visits' {measure}"

    @property
    def _where(self) -> str:
        return f" by {HOW[self.how]} of the visits" if self.mean is None else ""

    def voters(self, table: Table) -> tuple[list[str], NDArray[np.int8]]:
        votes = side_by_side(votes_of(scores, self.draw) for scores in table.visits(self.run, self.measure))
        return [f"visit {place}" for place in range(votes.shape[1])], votes

    def decide(self, table: Table) -> NDArray[np.int8]:
        if self.mean is None:
            return super().decide(table)
        return _cut(self, self.draw, ("visits", self.measure, self.mean == "normal"), table)

    def score(self, table: Table) -> Scores:
        def make() -> Scores:
            visits = table.visits(self.run, self.measure)
            columns = map(aggregate.normal_scores, visits) if self.mean == "normal" else visits
            return aggregate.mean_of(columns).astype(np.float32)

        return table.remembered(self.runs, ("visits", self.measure, self.mean == "normal"), make)


def _cut(rule: Rule, draw: Draw, what: tuple[object, ...], table: Table) -> NDArray[np.int8]:
    """The score of a rule, cut. Its sorted form is remembered, so that another share of it costs no sorting."""
    score = rule.score(table)
    rising = table.remembered(rule.runs, ("rising", *what), lambda: np.sort(score[~np.isnan(score)]))
    return draw(rising).votes(score).votes
