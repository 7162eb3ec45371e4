"""Rules: what a named filter keeps, as a small frozen sentence that gives the same votes next year.

A rule is written as JSON (`read_rule`) or as an expression (`mimic.filters.expression`). It says which runs it needs
and votes on every sample of their data set: keep, drop, or abstain where it knows no score. Ties are never split.

    threshold     a line on a signal                        share    the best or worst share of it, over all or by class
    split         where two groups or distributions part    mean     a line through the mean of several signals
    visits        a training run's visits, each cut by a line of its own, then aggregated
    votes         several rules, aggregated                 and, or, minus

Abstentions go by Kleene's logic: `and` drops what any part drops, keeps what all keep, and abstains on the rest, which
somebody's missing score could turn; `or` and `minus` follow from it. Knows no files: scores come from a `Table`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from mimic.data import ABSTAIN, DROP, KEEP
from mimic.errors import MimicError
from mimic.filters.aggregate import dawid_skene, diagnose
from mimic.filters.binarise import side_by_side
from mimic.filters.mean_rules import HOW, MeanRule, VisitsRule, Voting
from mimic.filters.rule import Rule, Table
from mimic.filters.signal_rules import ShareRule, SplitRule, ThresholdRule

DEEPEST = 20  # rules within rules: nobody reads a deeper one, and a file from a stranger may hold anything


class VotesRule(Voting):
    """Keep what several rules keep, by majority, by weight, or by the label model. Ties keep."""

    kind: Literal["votes"] = "votes"
    rules: tuple[AnyRule, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _check_count(self) -> VotesRule:
        if self.weights and len(self.weights) != len(self.rules):
            raise ValueError(f"{len(self.weights)} weights for {len(self.rules)} rules: one a rule")
        return self

    @property
    def parts(self) -> tuple[Rule, ...]:
        return self.rules

    @property
    def words(self) -> str:
        return f"kept by {HOW[self.how]} of {len(self.rules)} rules"

    @property
    def reason(self) -> str:
        return f"dropped by {HOW[self.how]} of {len(self.rules)} rules"

    def voters(self, table: Table) -> tuple[list[str], NDArray[np.int8]]:
        return [rule.words for rule in self.rules], side_by_side(rule.votes(table).votes for rule in self.rules)


class _Several(Rule):
    """A rule over two or more others that stand alike."""

    rules: tuple[AnyRule, ...] = Field(min_length=2)

    @property
    def parts(self) -> tuple[Rule, ...]:
        return self.rules


class AndRule(_Several):
    """Keep what every part keeps."""

    kind: Literal["and"] = "and"

    @property
    def words(self) -> str:
        return " and ".join(_bracketed(part.words, part) for part in self.rules)

    @property
    def reason(self) -> str:
        return " or ".join(_bracketed(part.reason, part) for part in self.rules)

    def decide(self, table: Table) -> NDArray[np.int8]:
        return _all_keep([part.votes(table).votes for part in self.rules])


class OrRule(_Several):
    """Keep what any part keeps."""

    kind: Literal["or"] = "or"

    @property
    def words(self) -> str:
        return " or ".join(_bracketed(part.words, part) for part in self.rules)

    @property
    def reason(self) -> str:
        return " and ".join(_bracketed(part.reason, part) for part in self.rules)

    def decide(self, table: Table) -> NDArray[np.int8]:
        return _opposite(_all_keep([_opposite(part.votes(table).votes) for part in self.rules]))


class MinusRule(Rule):
    """Keep what one rule keeps and another does not."""

    kind: Literal["minus"] = "minus"
    of: AnyRule
    without: AnyRule

    @property
    def parts(self) -> tuple[Rule, ...]:
        return (self.of, self.without)

    @property
    def words(self) -> str:
        return f"{_bracketed(self.of.words, self.of)} and not {_bracketed(self.without.words, self.without)}"

    @property
    def reason(self) -> str:
        return f"{_bracketed(self.of.reason, self.of)} or {_bracketed(self.without.words, self.without)}"

    def decide(self, table: Table) -> NDArray[np.int8]:
        return _all_keep([self.of.votes(table).votes, _opposite(self.without.votes(table).votes)])


AnyRule = Annotated[
    ThresholdRule | ShareRule | SplitRule | MeanRule | VotesRule | VisitsRule | AndRule | OrRule | MinusRule,
    Field(discriminator="kind"),
]
KINDS = ("threshold", "share", "split", "mean", "visits", "votes", "and", "or", "minus")
_INNER = ("of", "without")  # fields that hold one rule; `rules` holds several, which are numbered
_ANY: TypeAdapter[Rule] = TypeAdapter(AnyRule)


def read_rule(written: Mapping[str, Any]) -> Rule:
    """The rule that a filter's JSON holds.

    Raises:
        MimicError: an unknown kind, or a field that is missing, unknown or of the wrong type; the sentence names it.
    """
    kind = written.get("kind")
    if kind not in KINDS:
        raise MimicError(f"The filter's rule has the kind {kind!r}; known kinds: {', '.join(KINDS)}.")
    if depth(written) > DEEPEST:
        raise MimicError(f"The filter's rule has rules within rules deeper than {DEEPEST}: say it in fewer steps.")
    try:
        return _ANY.validate_python(dict(written))
    except ValidationError as error:
        first = error.errors()[0]
        # at every level pydantic names the kind before the field; the field's place says it already
        places = zip(("of", *first["loc"]), first["loc"], strict=False)
        named = [
            part for before, part in places if not (part in KINDS and (before in _INNER or isinstance(before, int)))
        ]
        where = ".".join(str(part) for part in named) or "rule"
        raise MimicError(f"The filter's rule does not fit its kind {kind!r}: {where}: {first['msg']}.") from None


def depth(written: Any) -> int:
    """How deep rules lie within rules, as they are written; counted without recursion, to `DEEPEST` + 1 at most."""
    deepest, waiting = 0, [(written, 1)]
    while waiting:
        each, level = waiting.pop()
        deepest = max(deepest, level)
        if isinstance(each, Mapping):
            inner = [each.get("of"), each.get("without")]
            inner += each["rules"] if isinstance(each.get("rules"), (list, tuple)) else []
            waiting += [(one, level + 1) for one in inner if isinstance(one, Mapping)]
        if level > DEEPEST:
            break
    return deepest


def voters(rule: Rule, table: Table) -> tuple[list[str], NDArray[np.int8]]:
    """The names of those who have a say in a rule, and (size, V) what each says; the rule itself if it has no parts."""
    if isinstance(rule, Voting) and not (isinstance(rule, VisitsRule) and rule.mean is not None):
        return rule.voters(table)
    names = [part.words for part in rule.parts or (rule,)]
    votes = [part.votes(table).votes for part in rule.parts or (rule,)]
    if isinstance(rule, MinusRule):  # who is taken away has the opposite say
        names[1], votes[1] = f"not {_bracketed(names[1], rule.without)}", _opposite(votes[1])
    return names, side_by_side(votes)


def diagnostics(
    rule: Rule, table: Table, good: NDArray[np.bool_] | None = None, known: NDArray[np.bool_] | None = None
) -> pd.DataFrame:
    """`mimic.filters.aggregate.diagnose` of those who have a say in a rule, on the samples that anyone votes on."""
    names, votes = voters(rule, table)
    somebody = np.zeros(table.size, dtype=np.bool_)
    for place in range(votes.shape[1]):
        somebody |= votes[:, place] != ABSTAIN
    if not somebody.all():
        votes = votes[somebody]
        good = None if good is None else good[somebody]
        known = None if known is None else known[somebody]
    return diagnose(votes, names, dawid_skene(votes), good, known)


def _bracketed(words: str, part: Rule) -> str:
    return f"({words})" if isinstance(part, (AndRule, OrRule, MinusRule)) else words


def _all_keep(votes: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
    """KEEP where all keep, DROP where any drops, else ABSTAIN."""
    least, dropped = votes[0], votes[0] == DROP
    for other in votes[1:]:
        least = np.minimum(least, other)
        dropped |= other == DROP
    return np.where(dropped, np.int8(DROP), least)


def _opposite(votes: NDArray[np.int8]) -> NDArray[np.int8]:
    return np.where(votes == ABSTAIN, votes, np.int8(KEEP + DROP) - votes)
