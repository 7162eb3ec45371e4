"""A combination read from left to right: first this, then and, or, but not that. What a builder shows, a row a step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mimic.filters.rule import Rule
from mimic.filters.rules import AndRule, MinusRule, OrRule
from mimic.filters.signal_rules import ThresholdRule

Link = Literal["and", "or", "minus"]
Step = tuple[Link, Rule]  # the first step's link means nothing


def steps_of(rule: Rule) -> list[Step]:
    """The steps that lead to a rule, one at least; `joined` of them is the rule again."""
    if rule.drop_unscored or not isinstance(rule, (AndRule, OrRule, MinusRule)):
        return [("and", rule)]
    link: Link = rule.kind
    first, *others = rule.parts
    # what is joined by the same link stays in brackets, or it would run together with the rest
    before = [("and", first)] if type(first) is type(rule) and link != "minus" else steps_of(first)
    return [*before, *((link, other) for other in others)]


def joined(steps: Sequence[Step]) -> Rule:
    """The rule of some steps, one at least, each applied to what came of those before it.

    Raises:
        pydantic.ValidationError: never for the steps of a rule.
    """
    rule, last = steps[0][1], ""
    for link, other in steps[1:]:
        kinds: dict[str, Any] = {"and": AndRule, "or": OrRule}
        if link == "minus":
            rule = MinusRule.model_validate({"of": rule, "without": other})
        elif link == last:
            rule = kinds[link](rules=(*rule.parts, other))
        else:
            rule = kinds[link](rules=(rule, other))
        last = link
    return rule


def within(run: str, ranges: Sequence[tuple[str, float, float]], lowest: Mapping[str, float]) -> Rule:
    """What keeps the samples whose scores lie in every range, ``low ≤ score < high``.

    Args:
        run: whose signals they are.
        ranges: (signal, low, high), one at least; an end may be infinite.
        lowest: signal → its lowest score, the line where there is no lower end.
    """
    steps: list[Step] = []
    for signal, low, high in ranges:
        threshold = lowest[signal] if math.isinf(low) else low
        steps.append(("and", ThresholdRule(run=run, signal=signal, threshold=threshold)))
        if high < math.inf:
            steps.append(("minus", ThresholdRule(run=run, signal=signal, threshold=high)))
    return joined(steps)
