"""What a rule does to a published data set, against NumPy; and what names mean there."""

from dataclasses import replace
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimic.data import DROP, KEEP
from mimic.errors import MimicError
from mimic.evaluation import ruling
from mimic.filters.expression import expression, parse
from mimic.filters.mean_rules import VisitsRule
from mimic.filters.rule import Column
from mimic.workspace.filters import save_filter
from mimic.workspace.queries import dense
from mimic.workspace.queries.compare import CELLS
from mimic.workspace.queries.dense import Dense
from tests.workspace.queries.conftest import known  # noqa: F401
from tests.workspace.queries.test_dense import trained  # noqa: F401

# ruff: noqa: F811 (fixtures are imported by name)


@pytest.fixture
def table(known):
    return Dense(known.workspace, known.workspace.dataset("d"))


def rule(table, text):
    return parse(text, ruling.scope(table, "first"))


def test_counts_and_quality_are_numpys(known, table):
    chosen = rule(table, "mimic >= 0.1 & second:fine >= 0")
    a, b = known.scores["mimic"].astype(float), known.second_scores["fine"].astype(float)
    dropped, kept = (a < 0.1) | (b < 0), (a >= 0.1) & (b >= 0)
    found = ruling.outcome(chosen, table)
    assert (found.kept, found.dropped) == (kept.sum(), dropped.sum())
    assert found.kept + found.dropped + found.not_scored == a.size
    quality = ruling.against(chosen, table, table.truth())
    assert quality.precision == pytest.approx((known.wrong & dropped).sum() / (known.judged & dropped).sum())
    decisive = known.wrong & (dropped | kept)
    assert quality.recall == pytest.approx((known.wrong & dropped).sum() / decisive.sum())
    strict = chosen.model_copy(update={"drop_unscored": True})
    assert ruling.outcome(strict, table) == found  # what is not scored is counted apart whatever becomes of it
    assert (strict.votes(table).votes == DROP).sum() == dropped.sum() + found.not_scored


def test_both_sides_are_those_nearest_to_each_other(known, table):
    chosen = rule(table, "fine >= 0.3")
    scores = known.scores["fine"].astype(float)
    (low, dropped), (high, kept) = ruling.both_sides(chosen, table, 5)
    assert (low, high) == ("dropped", "kept")
    assert dropped == sorted(np.flatnonzero(scores < 0.3), key=lambda i: (-scores[i], i))[:5]
    assert kept == sorted(np.flatnonzero(scores >= 0.3), key=lambda i: (scores[i], i))[:5]
    every = ruling.on_side(chosen, table, "dropped")
    assert every.tolist() == sorted(np.flatnonzero(scores < 0.3), key=lambda i: (-scores[i], i))


def test_decisions_are_a_truth_of_some(known, table):
    decided = pa.table({"sample": [3, 7, 9], "action": ["keep", "drop", "relabel"]})
    truth = ruling.verdicts(table, decided)
    assert np.flatnonzero(truth.known).tolist() == [3, 7, 9]
    assert np.flatnonzero(truth.wrong).tolist() == [7, 9]
    assert ruling.verdicts(table, decided.slice(0, 0)) is None


def test_names_mean_the_run_at_hand_then_the_only_one(known, table):
    assert expression(rule(table, "mimic@top5%")) == "first:mimic@top5%"
    with pytest.raises(MimicError, match="2 runs have a signal 'fine': write RUN:fine"):
        parse("fine@top5%", ruling.scope(table))
    save_filter(known.workspace, "elsewhere", "another", {"kind": "split", "run": "x", "signal": "y"}, {})
    with pytest.raises(MimicError, match="decides about another, not about d"):
        rule(table, "filter(elsewhere)")


def test_crossing_and_likeness_go_by_the_rules(known, table):
    a, b = rule(table, "mimic@top50%"), rule(table, "second:fine@top50%")
    found = ruling.crossing([a, b], table, table.truth()).agreement(0, 1)
    votes = [each.votes(table).votes for each in (a, b)]
    assert found.counts["only A drops"] == ((votes[0] == DROP) & (votes[1] == KEEP)).sum()
    alike = ruling.likeness(a, b, table)
    assert alike is ruling.likeness(rule(table, "mimic@top10%"), b, table)  # whatever the budget
    other = ruling.likeness(rule(table, "mean(mimic, fine)@top10%"), b, table)
    assert other.spearman != alike.spearman
    assert ruling.likeness(rule(table, "mimic@top5% - fine@bottom5%"), b, table) is None


MEMBERS = [
    "mimic@top50%", "mimic@top0", "fine@top1000", "flat@top10%", "second:fine@top30%", "second:mimic@bottom15%",
    "mimic >= 0.1", "fine@top40%/class", "second:mimic@top20%!", "mimic@top60% - second:fine@bottom15%", "fine@mixture",
]  # fmt: skip


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(MEMBERS), min_size=2, max_size=6, unique=True), st.booleans())
def test_crossing_is_what_the_votes_say_one_by_one(known, members, by_people):
    table = Dense(known.workspace, known.workspace.dataset("d"))
    truth = table.truth()
    if by_people:  # where the data set itself says nothing
        table.dataset = replace(table.dataset, facts=table.dataset.facts | {"truth": False, "content": "another"})
    rules = [rule(table, member) for member in members]
    inside = table.inside(frozenset(run for one in rules for run in one.runs))
    votes = [one.votes(table).votes for one in rules]
    labels, classes = table.labels()
    expected = np.zeros((len(classes) + 1, 3, *[3] * len(rules)), dtype=np.int64)
    for i in np.flatnonzero(inside):
        expected[(labels[i] + 1, int(truth.known[i]) + int(truth.wrong[i]), *(vote[i] + 1 for vote in votes))] += 1
    assert (ruling.crossing(rules, table, truth).counts == expected).all()
    drawn = ruling.examples(rules[0], rules[1], table, 5, seed=3)
    for cell, (b, a) in zip(CELLS, product((KEEP, DROP), repeat=2), strict=True):
        mine = np.flatnonzero((votes[0] == a) & (votes[1] == b) & inside)
        assert len(drawn[cell]) == len(set(drawn[cell])) == min(5, len(mine))
        assert set(drawn[cell]) <= set(mine.tolist())


def test_budgets_and_draws_push_out_no_column(known, table, monkeypatch):
    def compare(keep, seed):
        members = [rule(table, f"{name}@top{keep}") for name in ("mimic", "fine")]
        ruling.crossing(members, table, None)
        ruling.examples(*members, table, seed=seed)

    column = table.scores("second", "fine")  # which nobody who compares the others asks for meanwhile
    compare(1, 1)
    monkeypatch.setattr(dense._KEPT, "most", sum(map(dense._bytes, dense._KEPT._found.values())))
    for number in range(2, 100):
        compare(number, number)
    assert table.scores("second", "fine") is column


def test_a_training_run_is_cut_at_a_mean_of_nothing(trained):
    table, measures = trained
    chosen = ruling.default_rule(table, "r")
    assert isinstance(chosen, VisitsRule)
    mean = np.ma.masked_invalid(measures["score"]).mean(axis=0).filled(np.nan)
    votes = chosen.votes(table).votes
    assert np.flatnonzero(votes == KEEP).tolist() == np.flatnonzero(mean >= 0).tolist()
    assert np.flatnonzero(votes == DROP).tolist() == np.flatnonzero(mean < 0).tolist()
    assert ruling.outcome(chosen, table).not_scored == 0  # ten samples were never visited: nobody's to decide
    voted = parse("visits(r, weight >= 1, dawid_skene)", ruling.scope(table))
    assert ruling.outcome(voted, table).kept > 0


def test_the_papers_best_is_at_hand_where_its_signals_are(known, table, tmp_path, monkeypatch):
    assert ruling.ready_made(table) == {}
    signals = [Column(run="first", signal="mimic"), Column(run="second", signal="clip")]
    monkeypatch.setattr(ruling, "columns_of", lambda table: signals)
    (written,) = map(expression, ruling.ready_made(table).values())
    assert written == "second:clip@top30% - first:mimic@bottom15%"
