"""What a rule does to a data set: how many it keeps, how well it finds what is wrong, and what its voters are worth.

Also what names in an expression mean there, and the rule that is tried where nobody gave one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mimic.data import ABSTAIN, DROP, KEEP
from mimic.errors import MimicError
from mimic.evaluation.agreement import kendall_correlation, rank_correlation
from mimic.filters.expression import Scope, expression
from mimic.filters.mean_rules import Draw, MeanRule, VisitsRule
from mimic.filters.rule import Column, Rule
from mimic.filters.rules import MinusRule, read_rule
from mimic.filters.signal_rules import Best, OfSignal, ShareRule, SplitRule
from mimic.workspace.filters import load_filter
from mimic.workspace.queries import compare
from mimic.workspace.queries.ballots import Ballot, Bits, Groups, Placed
from mimic.workspace.queries.compare import Cell, Crossing, cross, draw
from mimic.workspace.queries.dense import Dense, Truth
from mimic.workspace.queries.pairs import Density, Pairs, density, overlaps, pairs
from mimic.workspace.queries.threshold import TruthAtLine, lowest

if TYPE_CHECKING:
    import pyarrow as pa

CLIP = ("clip", "clip_b32", "clip_l14", "clip_b32_similarity_score", "clip_l14_similarity_score", "similarity")
CAPTIONED = ("mimic", "caption_knn", "basic")


@dataclass(frozen=True)
class Outcome:
    """Samples of the rule's runs; exact. One not scored is counted apart, whatever becomes of it."""

    kept: int
    dropped: int
    not_scored: int

    @property
    def counts(self) -> dict[str, int]:
        """As a named filter holds them."""
        return {"kept": self.kept, "dropped": self.dropped, "not_scored": self.not_scored}


def outcome(rule: Rule, table: Dense) -> Outcome:
    """How many samples the rule keeps, drops and says nothing about, of those that its runs are about.

    Raises:
        MimicError: a run or signal is gone, or holds no score to draw a line by.
    """

    def make() -> Outcome:
        votes, inside = rule.opinions(table), table.inside(rule.runs)
        kept, dropped = (int(np.count_nonzero((votes == side) & inside)) for side in (KEEP, DROP))
        return Outcome(kept, dropped, int(np.count_nonzero(inside)) - kept - dropped)

    return table.remembered(rule.runs, ("outcome", rule), make)


def on_side(rule: Rule, table: Dense, side: Literal["kept", "dropped"]) -> NDArray[np.int32]:
    """The samples that the rule drops (or keeps), the highest score first (see `Rule.score`).

    Of a line's dropped ones that is from the line down.
    """
    vote = {"kept": KEEP, "dropped": DROP}[side]

    def make() -> NDArray[np.int32]:
        numbers = np.flatnonzero((rule.votes(table).votes == vote) & table.inside(rule.runs))
        falling = np.argsort(-rule.score(table)[numbers], kind="stable")  # what has no score comes last
        return numbers[falling].astype(np.int32)

    return table.remembered(rule.runs, (side, rule), make)


def both_sides(rule: Rule, table: Dense, count: int) -> tuple[tuple[str, list[int]], ...]:
    """The dropped samples that score highest, and the kept ones that score lowest, `count` of each (`Rule.score`)."""

    def make() -> tuple[tuple[str, list[int]], ...]:
        votes, inside, score = rule.votes(table).votes, table.inside(rule.runs), rule.score(table)
        found = []
        for side, vote, sign in (("dropped", DROP, -1), ("kept", KEEP, 1)):
            numbers = np.flatnonzero((votes == vote) & inside)
            nearest = numbers[lowest(numbers, sign * score[numbers], count)]
            found.append((side, [int(number) for number in nearest]))
        return tuple(found)

    return table.remembered(rule.runs, ("both sides", rule, count), make)


def against(rule: Rule, table: Dense, truth: Truth) -> TruthAtLine:
    """Right and wrong samples on each side of the rule, of those that are known and that it votes on; exact."""
    votes = rule.votes(table).votes
    dropped, kept, right = votes == DROP, votes == KEEP, truth.known & ~truth.wrong
    return TruthAtLine(
        wrong_dropped=int(np.count_nonzero(truth.wrong & dropped)),
        wrong_kept=int(np.count_nonzero(truth.wrong & kept)),
        right_dropped=int(np.count_nonzero(right & dropped)),
        right_kept=int(np.count_nonzero(right & kept)),
        sampled=False,
    )


def crossing(rules: Sequence[Rule], table: Dense, truth: Truth | None) -> Crossing:
    """How often each combination of the rules' votes occurs among the samples that any of them is about; exact.

    Args:
        truth: what is known where the data set itself says nothing, as `verdicts` gives it: of few samples, for each is
            looked at alone.

    Raises:
        MimicError: too many rules; a run or signal of one is gone.
    """
    runs = frozenset(run for rule in rules for run in rule.runs)
    found = cross([_ballot(rule, table) for rule in rules], _groups(table), _inside(runs, table))
    if truth is None or table.dataset.has_truth:
        return found
    samples = np.flatnonzero(truth.known & table.inside(runs))
    votes = [_votes_on(rule, table, samples) for rule in rules]
    return found.told(table.labels()[0][samples], truth.wrong[samples], votes)


def examples(a: Rule, b: Rule, table: Dense, each: int = 12, seed: int = 0) -> dict[Cell, list[int]]:
    """Cell → a seeded draw of at most `each` of its samples, most of them the same at the next budget."""
    runs = a.runs | b.runs
    drawn = table.remembered_briefly(runs, ("draw", seed), lambda: draw(table.inside(runs), seed))

    def every(cell: Cell) -> NDArray[np.int64]:
        left, right = (_ballot(rule, table) for rule in (a, b))
        of_a = left.drops if cell in ("only A drops", "both drop") else left.keeps
        of_b = right.drops if cell in ("only B drops", "both drop") else right.keeps
        return _groups(table).samples(of_a & of_b & _inside(runs, table))

    votes = [_votes_on(rule, table, drawn) for rule in (a, b)]
    return compare.examples(drawn, votes[0], votes[1], every, each, seed)


def _groups(table: Dense) -> Groups:
    def make() -> Groups:
        labels, classes = table.labels()
        return Groups.of(labels, len(classes), table.truth())

    return table.remembered(frozenset(), "groups", make)


def _inside(runs: frozenset[str], table: Dense) -> Bits:
    return table.remembered(runs, "inside in groups", lambda: _groups(table).bits(table.inside(runs)))


def _ballot(rule: Rule, table: Dense) -> Ballot:
    """The rule's votes as bits."""

    def make() -> Ballot:
        moving = _moving(rule, table)
        if moving is None:
            return Ballot.by_votes(rule.votes(table).votes, _groups(table))
        column, line = moving
        what = ("placed", column.signal)
        placed = table.remembered(rule.runs, what, lambda: Placed.of(column.scores(table), _groups(table)))
        return Ballot.by_line(placed, line)

    return table.remembered_briefly(rule.runs, ("ballot", rule), make)


def _votes_on(rule: Rule, table: Dense, samples: NDArray[np.integer]) -> NDArray[np.int8]:
    """The rule's votes on some samples."""
    moving = _moving(rule, table)
    if moving is None:
        return np.asarray(rule.votes(table).votes[samples], dtype=np.int8)
    column, line = moving
    scores = column.scores(table)[samples]
    votes: NDArray[np.int8] = (scores >= line).astype(np.int8)  # KEEP is 1, DROP 0
    votes[np.isnan(scores)] = ABSTAIN
    return votes


def _moving(rule: Rule, table: Dense) -> tuple[Column, np.float32] | None:
    """The signal and the line of a rule whose line moves with the budget: the whole column need not vote for each."""
    if not isinstance(rule, ShareRule) or rule.drop_unscored:
        return None
    found = rule.line(table)
    return (found[0], np.float32(found[1])) if found is not None else None


@dataclass(frozen=True)
class Likeness:
    """How alike two rules' scores rank the same samples, whatever their budgets.

    Attributes:
        pairs: both scores, of all samples or of a draw.
        density: how many of these lie where.
        spearman, kendall: rank correlations on these, −1 … 1.
        overlaps: see `mimic.workspace.queries.pairs.overlaps`.
    """

    pairs: Pairs
    density: Density
    spearman: float
    kendall: float
    overlaps: pd.DataFrame


def likeness(a: Rule, b: Rule, table: Dense) -> Likeness | None:
    """How alike the scores are that two rules go by; remembered, whatever their lines.

    Returns:
        None where a rule goes by no score of its own (`has_score`).

    Raises:
        MimicError: no sample has both scores.
    """
    if not (has_score(a) and has_score(b)):
        return None

    def make() -> Likeness:
        of = pairs(a.score(table), b.score(table))
        found = rank_correlation(of.a, of.b), kendall_correlation(of.a, of.b)
        return Likeness(of, density(of), *found, overlaps(of))

    return table.remembered(a.runs | b.runs, ("likeness", scored_by(a), scored_by(b)), make)


def has_score(rule: Rule) -> bool:
    """Whether a rule goes by one score: what combines several rules goes by their votes."""
    if isinstance(rule, VisitsRule):
        return rule.mean is not None
    return isinstance(rule, (OfSignal, MeanRule))


def scored_by(rule: Rule) -> str:
    """What a rule's score is called, the same for all rules with that score."""
    if isinstance(rule, MeanRule):
        return expression(rule).partition(")")[0] + ")"
    return expression(rule) if isinstance(rule, VisitsRule) else ", ".join(map(str, rule.columns[:1]))


def verdicts(table: Dense, decided: pa.Table) -> Truth | None:
    """People's decisions as a truth: kept ones are right, dropped and relabelled ones wrong. None without any.

    Args:
        decided: columns sample and action, as `Decisions.decided` gives them.
    """
    if not decided.num_rows:
        return None
    known, wrong = np.zeros(table.size, dtype=np.bool_), np.zeros(table.size, dtype=np.bool_)
    samples = decided["sample"].to_numpy()
    known[samples] = True
    wrong[samples] = np.array([action != "keep" for action in decided["action"].to_pylist()])
    return Truth(known, wrong)


def default_rule(table: Dense, run: str) -> Rule:
    """What is tried where nobody gave a rule; no truth is asked.

    A run that recorded visits: a line at 0 through the mean score, which is where a step on the sample begins to lead
    away from the reference (of the truth-free rules it lost least: results/gradmimic_detection.csv). Any other run:
    where the lower of two distributions of its main signal gives way to the higher; nothing, if one describes it.
    """
    if table.visits_of(run):
        return VisitsRule(run=run, measure="score", draw=Draw(by="line", at=0.0), mean="score")
    return SplitRule(run=run, signal=table.published(run).main, by="mixture")


def ready_made(table: Dense) -> dict[str, Rule]:
    """Rules worth trying on this data set, by what they are called: those whose signals are there."""
    found: dict[str, Rule] = {}
    there = {column.signal: column for column in columns_of(table)}
    clip = next((there[name] for name in CLIP if name in there), None)
    if clip is not None and "mimic" in there:
        found["CLIP top 30 % minus Mimic bottom 15 %"] = MinusRule(
            of=ShareRule(**clip.model_dump(), best=Best(share=0.3)),
            without=ShareRule(**there["mimic"].model_dump(), side="bottom", best=Best(share=0.15)),
        )
    several = [there[name] for name in CAPTIONED if name in there]
    if len(several) == len(CAPTIONED):
        found["Mimic, captions of near pictures and their length together"] = MeanRule(
            signals=tuple(several), draw=Draw(by="top", at=0.8)
        )
    return found


def columns_of(table: Dense) -> list[Column]:
    """Every signal of the data set's published runs; of those of one name in several runs, all."""
    runs = [run for run in table.workspace.runs(table.dataset.name) if run.state == "published"]
    return [Column(run=run.id, signal=signal) for run in reversed(runs) for signal in run.signals]


def scope(table: Dense, run: str | None = None) -> Scope:
    """What names mean in an expression about this data set.

    Args:
        run: whose signals go without its name; other signals do too, where only one run has them.
    """

    def column(named: str | None, signal: str) -> Column:
        if named is None:
            named = _run_with(table, signal, run)
        table.published(named).column(signal)
        return Column(run=named, signal=signal)

    def saved(name: str) -> Rule:
        found = load_filter(table.workspace, name)
        if found.dataset != table.dataset.name:
            raise MimicError(f"the filter {name!r} decides about {found.dataset}, not about {table.dataset.name}")
        return read_rule(found.rule)

    return Scope(column, lambda name: table.published(name).run, saved)


def _run_with(table: Dense, signal: str, run: str | None) -> str:
    if run is not None and signal in table.published(run).signals:
        return run
    having = [column.run for column in columns_of(table) if column.signal == signal]
    if len(having) == 1:
        return having[0]
    if having:
        raise MimicError(f"{len(having)} runs have a signal {signal!r}: write RUN:{signal}, e.g. {having[-1]}:{signal}")
    known = list(dict.fromkeys(column.signal for column in columns_of(table)))
    near = get_close_matches(signal, known, 1)
    listed = f"did you mean {near[0]}? There are" if near else "there are"
    raise MimicError(f"no run of data set {table.dataset.name} has a signal {signal!r}: {listed} {', '.join(known)}")
