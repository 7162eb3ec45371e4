"""Every kind of rule against the plainest code that says the same; broken rules say what is wrong."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import norm, rankdata

from mimic.data import ABSTAIN, DROP, KEEP
from mimic.errors import MimicError
from mimic.filters.aggregate import dawid_skene
from mimic.filters.binarise import fit_mixture
from mimic.filters.mean_rules import Draw, MeanRule, VisitsRule
from mimic.filters.rules import AndRule, MinusRule, OrRule, VotesRule, diagnostics, read_rule
from mimic.filters.signal_rules import Best, ShareRule, SplitRule, ThresholdRule
from tests.filters.tables import CLASSES, Arrays, bests, finite, leaves, rules, shares, table

SEEDS = st.integers(0, 50)
R = {"run": "r", "signal": "mimic"}
FLOATS = st.floats(-4, 4, width=32)
SCORES = hnp.arrays(
    np.float32, st.integers(1, 50), elements=st.one_of(st.just(np.nan), FLOATS, st.sampled_from([0, 1]))
)


def plain(scores: np.ndarray, line: float) -> list[int]:
    return [ABSTAIN if math.isnan(s) else KEEP if s >= line else DROP for s in scores.astype(float)]


def best_line(scores: np.ndarray, count: int) -> float:
    """The score of the count-th best, by sorting; above everything for none."""
    falling = sorted((s for s in scores.astype(float) if not math.isnan(s)), reverse=True)
    return falling[min(count, len(falling)) - 1] if count > 0 else math.inf


@given(SCORES, FLOATS, st.booleans())
def test_a_line_keeps_what_scores_at_least_that(scores, line, drop_unscored):
    rule = ThresholdRule(**R, threshold=line, drop_unscored=drop_unscored)
    found = rule.votes(Arrays({("r", "mimic"): scores}, np.zeros(len(scores), np.int32))).votes
    by_hand = [DROP if drop_unscored and vote == ABSTAIN else vote for vote in plain(scores, line)]
    assert found.tolist() == by_hand


@settings(max_examples=100, deadline=None)
@given(SEEDS, bests, st.sampled_from(["top", "bottom"]))
def test_a_share_keeps_the_best_or_the_worst_by_class_or_of_all(seed, best, side):
    t = table(seed)
    scores = t.scores("r", "mimic")
    found = ShareRule(**R, side=side, best=best).votes(t).votes
    groups = [np.arange(t.size)] if best.within == "all" else [np.flatnonzero(t.codes == c) for c in range(-1, 3)]
    for group in groups:
        scored = scores[group][~np.isnan(scores[group])]
        budget = best.share if best.share is not None else best.count
        if best.within == "class" and len(group) and t.codes[group[0]] >= 0:
            budget = best.budgets.get(CLASSES[t.codes[group[0]]], budget)
        if best.share is not None:
            kept_on_top = math.ceil((budget if side == "top" else 1 - budget) * len(scored) - 1e-6)
        else:
            kept_on_top = (
                min(int(budget), len(scored)) if side == "top" else len(scored) - min(int(budget), len(scored))
            )
        line = best_line(scores[group], kept_on_top)
        expected = [v if v == ABSTAIN or side == "top" else KEEP + DROP - v for v in plain(scores[group], line)]
        assert found[group].tolist() == expected


@settings(deadline=None)
@given(SEEDS, shares, st.sampled_from(["all", "class"]))
def test_the_bottom_is_what_the_best_of_the_rest_leaves_out(seed, share, within):
    t = table(seed)
    bottom = ShareRule(**R, side="bottom", best=Best(share=share, within=within)).votes(t).votes
    if 1 - share > 0:
        top = ShareRule(**R, best=Best(share=1 - share, within=within)).votes(t).votes
        assert ((bottom == KEEP) == (top == DROP)).all()
    scored = (bottom != ABSTAIN).sum()
    assert (bottom == KEEP).sum() <= share * scored + 1e-6 or within == "class"


@pytest.mark.parametrize("by", ["two_means", "mixture"])
def test_a_split_falls_between_two_groups_or_removes_nothing(by):
    rng = np.random.default_rng(0)
    bad = rng.random(3000) < 0.2
    scores = np.where(bad, rng.normal(-3, 0.5, 3000), rng.normal(0, 0.5, 3000)).astype(np.float32)
    scores[:50] = np.nan
    t = Arrays({("r", "mimic"): scores, ("r", "one"): rng.normal(size=3000)}, np.zeros(3000, np.int32))
    rule = SplitRule(**R, by=by)
    found = rule.votes(t).votes
    assert (found[:50] == ABSTAIN).all()
    assert ((found[50:] == DROP) == bad[50:]).mean() > 0.99
    column, line = rule.line(t)
    assert found.tolist() == plain(scores, line)
    assert column.signal == "mimic"
    if by == "mixture":
        assert len(fit_mixture(t.scores("r", "one")).means) == 1
        nothing = SplitRule(run="r", signal="one")
        assert (nothing.votes(t).votes == KEEP).all()
        assert nothing.line(t) is None


@settings(deadline=None)
@given(SEEDS, st.sampled_from(["normal", "rank", "score"]), shares, finite)
def test_a_mean_is_cut_where_it_is_told_to(seed, of, share, line):
    t = table(seed)
    signals = [("r", "mimic"), ("other-run", "clip")]
    turned = []
    for run, signal in signals:
        scores = t.scores(run, signal).astype(float)
        known = ~np.isnan(scores)
        if of != "score":
            scores[known] = (rankdata(scores[known]) - 0.5) / known.sum()
        turned.append(norm.ppf(scores) if of == "normal" else scores)
    both = np.stack(turned)
    count = (~np.isnan(both)).sum(axis=0)
    mean = np.where(count > 0, np.nansum(both, axis=0) / np.maximum(count, 1), np.nan)
    columns = [{"run": run, "signal": signal} for run, signal in signals]
    rule = MeanRule(of=of, signals=columns, draw=Draw(by="line", at=line))
    np.testing.assert_allclose(rule.score(t), mean, rtol=1e-5, atol=1e-6)
    assert rule.votes(t).votes.tolist() == plain(rule.score(t), line)
    top = MeanRule(of=of, signals=columns, draw=Draw(by="top", at=share)).votes(t).votes
    scored = int((~np.isnan(mean)).sum())
    assert top.tolist() == plain(rule.score(t), best_line(rule.score(t), math.ceil(share * scored - 1e-6)))


@settings(deadline=None)
@given(SEEDS, st.sampled_from(["majority", "weighted", "dawid_skene"]), finite)
def test_visits_vote_each_by_its_own_line(seed, how, line):
    t = table(seed)
    weights = [3.0, 1.0, 1.0, 0.5] if how == "weighted" else []
    rule = VisitsRule(run="r", measure="score", draw=Draw(by="line", at=line), how=how, weights=weights)
    votes = np.array([plain(visit, line) for visit in t.visited["r"]], dtype=np.int8).T
    if how == "dawid_skene":
        expected = dawid_skene(votes).votes.votes.tolist()
    else:
        lead = (votes == KEEP) @ np.array(weights or [1.0] * 4) - (votes == DROP) @ np.array(weights or [1.0] * 4)
        expected = [
            ABSTAIN if (row == ABSTAIN).all() else KEEP if s >= 0 else DROP for row, s in zip(votes, lead, strict=True)
        ]
    assert rule.votes(t).votes.tolist() == expected


@settings(deadline=None)
@given(SEEDS, st.sampled_from(["score", "normal"]))
def test_the_mean_of_the_visits_is_cut_once(seed, mean):
    t = table(seed)
    rule = VisitsRule(run="r", measure="score", draw=Draw(by="line", at=0.0), mean=mean)
    visits = t.visited["r"].astype(float)
    if mean == "normal":
        for visit in visits:
            known = ~np.isnan(visit)
            visit[known] = norm.ppf((rankdata(visit[known]) - 0.5) / known.sum())
    count = (~np.isnan(visits)).sum(axis=0)
    expected = np.where(count > 0, np.nansum(visits, axis=0) / np.maximum(count, 1), np.nan)
    np.testing.assert_allclose(rule.score(t), expected, rtol=1e-4, atol=1e-5)
    assert rule.votes(t).votes.tolist() == plain(rule.score(t), 0.0)


def kleene(kind: str, row: tuple[int, ...]) -> int:
    """What a combination says, if an abstention could turn out either way: its answer where both agree, else none."""
    possible = [[vote] if vote != ABSTAIN else [DROP, KEEP] for vote in row]
    answers = set()
    for choice in np.stack(np.meshgrid(*possible), -1).reshape(-1, len(row)):
        yes = choice == KEEP
        answers.add(bool({"and": yes.all(), "or": yes.any(), "minus": yes[0] and not yes[1]}[kind]))
    return ABSTAIN if len(answers) > 1 else KEEP if answers.pop() else DROP


@settings(max_examples=50, deadline=None)
@given(SEEDS, leaves, leaves, leaves)
def test_combinations_follow_kleenes_logic(seed, a, b, c):
    t = table(seed)
    rows = list(zip(*(rule.votes(t).votes.tolist() for rule in (a, b, c)), strict=True))
    assert AndRule(rules=[a, b, c]).votes(t).votes.tolist() == [kleene("and", row) for row in rows]
    assert OrRule(rules=[a, b, c]).votes(t).votes.tolist() == [kleene("or", row) for row in rows]
    assert MinusRule(of=a, without=b).votes(t).votes.tolist() == [kleene("minus", row[:2]) for row in rows]
    majority = VotesRule(rules=[a, b, c]).votes(t).votes
    for row, found in zip(rows, majority, strict=True):
        keeps, drops = row.count(KEEP), row.count(DROP)
        assert found == (ABSTAIN if keeps + drops == 0 else KEEP if keeps >= drops else DROP)


@settings(max_examples=60, deadline=None)
@given(SEEDS, rules)
def test_any_rule_survives_its_json_and_gives_the_same_votes_again(seed, rule):
    again = read_rule(json.loads(rule.model_dump_json()))
    assert again == rule
    assert hash(again) == hash(rule)
    t = table(seed)
    first, second = rule.votes(t), again.votes(t)
    assert first.votes.tolist() == second.votes.tolist()
    assert first.votes.dtype == np.int8
    assert first.reason
    assert rule.runs <= {"r", "other-run"}
    assert not rule.drop_unscored or (first.votes != ABSTAIN).all()


@settings(deadline=None)
@given(SEEDS, leaves)
def test_a_rule_with_a_line_is_that_line(seed, rule):
    t = table(seed)
    drawn = rule.line(t)
    if drawn is not None:
        column, line = drawn
        assert rule.opinions(t).tolist() == plain(column.scores(t), line)


def test_minus_as_the_paper_means_it():
    clip, mimic = np.arange(10, dtype=np.float32), np.arange(10, dtype=np.float32)[::-1].copy()
    t = Arrays({("r", "clip"): clip, ("r", "mimic"): mimic}, np.zeros(10, np.int32))
    rule = MinusRule(
        of=ShareRule(run="r", signal="clip", best=Best(share=0.3)),
        without=ShareRule(run="r", signal="mimic", side="bottom", best=Best(share=0.2)),
    )
    assert np.flatnonzero(rule.votes(t).votes == KEEP).tolist() == [7]
    assert rule.reason == "clip not in the top 30% or mimic in the bottom 20%"


def test_voters_are_told_apart_by_the_truth():
    t = table(3, 400)
    rule = VotesRule(rules=[ThresholdRule(**R, threshold=0.0), ThresholdRule(run="r", signal="clip", threshold=0.0)])
    good = t.scores("r", "mimic") >= 0
    found = diagnostics(rule, t, good, ~np.isnan(t.scores("r", "mimic")))
    assert found["voter"].tolist() == ["mimic ≥ 0", "clip ≥ 0"]
    assert found["accuracy"].iloc[0] == 1.0
    assert 0.3 < found["accuracy"].iloc[1] < 0.7
    minus = diagnostics(MinusRule(of=rule.rules[1], without=rule.rules[0]), t, ~good, ~np.isnan(t.scores("r", "mimic")))
    assert minus["voter"].tolist() == ["clip ≥ 0", "not mimic ≥ 0"]
    assert minus["accuracy"].iloc[1] == 1.0


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"kind": "magic"}, "kind 'magic'; known kinds: threshold"),
        ({"kind": "threshold", "run": "r", "signal": "mimic"}, "threshold: Field required"),
        ({"kind": "threshold", "run": "r", "signal": "mimic", "threshold": float("nan")}, "threshold: .*finite"),
        ({"kind": "threshold", "run": "r", "signal": "mimic", "threshold": 1, "colour": 2}, "colour: Extra"),
        ({"kind": "share", "run": "r", "signal": "m", "best": {}}, "best: .*a share or a count"),
        ({"kind": "share", "run": "r", "signal": "m", "best": {"share": 1.2}}, "best.share: .*less than or equal"),
        ({"kind": "share", "run": "r", "signal": "m", "best": {"share": 0.2, "budgets": {"a": 1}}}, "within = class"),
        ({"kind": "and", "rules": []}, "rules: .*at least 2"),
        ({"kind": "and", "rules": [{"kind": "magic"}, {"kind": "magic"}]}, "rules.0: .*magic"),
        ({"kind": "visits", "run": "r", "how": "weighted"}, "weights belong"),
        ({"kind": "votes", "rules": [{"kind": "split", **R}] * 2, "how": "weighted", "weights": [1]}, "one a rule"),
    ],
)
def test_a_broken_rule_is_named(written, said):
    with pytest.raises(MimicError, match=said):
        read_rule(written)


def test_a_bottomless_rule_is_refused():
    written: dict = {"kind": "split", **R}
    for _ in range(5000):
        written = {"kind": "minus", "of": written, "without": {"kind": "split", **R}}
    with pytest.raises(MimicError, match="deeper than 20"):
        read_rule(written)


def test_what_has_no_score_or_class_is_named():
    t = Arrays({("r", "mimic"): np.full(5, np.nan, np.float32)}, np.zeros(5, np.int32))
    with pytest.raises(MimicError, match="no sample of run r has the signal 'mimic'"):
        ShareRule(**R, best=Best(share=0.5)).votes(t)
    with pytest.raises(MimicError, match="no class 'cow'"):
        ShareRule(**R, best=Best(share=0.5, within="class", budgets={"cow": 1})).votes(table(0))
