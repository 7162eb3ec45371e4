"""What to say beside a rule that nobody chose: where its answer is no answer, and what is advised instead."""

from __future__ import annotations

from mimic.evaluation.advice import Advice, advise
from mimic.evaluation.evidence import evidence_of
from mimic.evaluation.ruling import Outcome
from mimic.filters.expression import expression
from mimic.filters.rule import Rule
from mimic.filters.rules import read_rule
from mimic.filters.signal_rules import Best, ShareRule, SplitRule
from mimic.workspace.layout import Run
from mimic.workspace.queries.dense import Dense

MOST_ADVISED = 100_000  # samples up to which advice takes a second or so: its intervals are resampled


def cautions(rule: Rule, found: Outcome, run: Run, unit: str = "label") -> list[str]:
    """Sentences about the rule that is tried by itself; none where nothing speaks against it.

    Args:
        rule: as `mimic.evaluation.ruling.default_rule` made it.
        found: what it does.
        run: whose signal it goes by.
        unit: what is judged, "label" or "caption".
    """
    said = []
    check = run.check
    if check is not None and check["verdict"] != "Good":
        said.append(f"The reference check of {run.id} says {check['verdict']}: {check['sentence']}")
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
