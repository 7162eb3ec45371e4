"""What to say beside an answer: where its reference is not fit, where it is no answer, and what is advised instead."""

from __future__ import annotations

from collections.abc import Iterable

from mimic.evaluation.advice import Advice, advise
from mimic.evaluation.evidence import evidence_of
from mimic.evaluation.ruling import Outcome
from mimic.filters.expression import expression
from mimic.filters.rule import Rule
from mimic.filters.rules import read_rule
from mimic.filters.signal_rules import Best, ShareRule, SplitRule
from mimic.scores import rests_on_reference
from mimic.workspace.layout import Run
from mimic.workspace.queries.dense import Dense

MOST_ADVISED = 100_000  # samples up to which advice takes a second or so: its intervals are resampled


def of_reference(run: Run) -> str | None:
    """What the run's reference check has against it; None where nothing, or where there was none."""
    check = run.check
    if check is None or check["verdict"] == "Good":
        return None
    return f"The reference check of {run.id} says {check['verdict']}: {check['sentence']}"


def of_references(table: Dense, rules: Iterable[Rule]) -> list[str]:
    """The same of every run with a signal that the rules go by and that rests on its reference."""
    runs: set[str] = set()
    for rule in rules:
        runs |= {one.run for one in rule.columns if rests_on_reference(one.signal, table.dataset.task)}
        runs |= rule.runs - {one.run for one in rule.columns}  # a training's visits
    found = (of_reference(table.workspace.run(run)) for run in sorted(runs))
    return [sentence for sentence in found if sentence is not None]


def cautions(rule: Rule, found: Outcome, unit: str = "label") -> list[str]:
    """Sentences about what the rule does that is tried by itself; none where nothing speaks against it.

    Args:
        rule: as `mimic.evaluation.ruling.default_rule` made it.
        found: what it does.
        unit: what is judged, "label" or "caption".
    """
    said = []
    voted = found.kept + found.dropped
    if not found.dropped:
        reason = (
            f"one distribution describes the scores as well as two, so this rule's answer is that there is nothing to"
            f" remove, whether or not {unit}s are wrong"
            if isinstance(rule, SplitRule)
            else "no score lies below the line"
        )
        said.append(f"Nothing is dropped: {reason}.")
    elif 2 * found.dropped > voted:
        said.append(
            f"{found.dropped / voted:.0%} of what is scored is dropped, more than half: the line parts something else"
            f" than wrong {unit}s from right ones, unless most are wrong."
        )
    return said


def advised(table: Dense, run: Run) -> tuple[Advice, str | None] | None:
    """The advice that the Evaluate page gives on a run, and as an expression the rule that it names.

    Returns:
        None where the data set is so large that advice takes long. The expression is None where everything is to be
        kept, or what to filter by is no signal of the run.
    """
    published = table.published(run.id)
    if table.size > MOST_ADVISED:
        return None
    given = advise(evidence_of(table.workspace, run, published))
    if given.everything or given.signal not in published.signals:
        return given, None
    rule = ShareRule(run=run.id, signal=str(given.signal), best=Best(share=round(given.keep, 2)))
    return given, expression(read_rule(rule.model_dump(mode="json")), run.id)
