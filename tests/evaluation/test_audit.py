"""The intervals cover, whatever the score is worth; bounds are the exact ones; too few bad samples are said to be.

Coverage is simulated: a finite set is drawn from again and again, and the true share is looked up in the interval.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mimic.evaluation.audit import (
    ENOUGH,
    TARGET,
    Judgement,
    Piece,
    ZoneVerdicts,
    bad_bounds,
    judge,
    judge_pieces,
    quotas,
)

SIZE, VERDICTS, TRIES = 4000, 200, 2000
SCORES = {"good": -2.0, "useless": 0.0, "inverted": 2.0}


def population(prevalence: float, shift: float) -> np.ndarray:
    """(SIZE,) whether each sample is bad, lowest score first: bad ones score lower by `-shift` standard deviations."""
    rng = np.random.default_rng(round(1000 * prevalence))
    bad = rng.random(SIZE) < prevalence
    return bad[np.argsort(rng.normal(size=SIZE) + shift * bad, kind="stable")]


def bounds_by_count(sizes: list[int], drawn: list[int], risk: float) -> list[tuple[np.ndarray, np.ndarray]]:
    return [bad_bounds(np.arange(n + 1), n, size, risk) for size, n in zip(sizes, drawn, strict=True)]


@pytest.mark.parametrize("worth", SCORES)
@pytest.mark.parametrize("prevalence", [0.01, 0.05, 0.2, 0.5])
def test_intervals_cover_at_the_line_that_was_drawn_for(prevalence, worth):
    bad = population(prevalence, SCORES[worth])
    line = round(SIZE * 0.2)
    sizes, truth = [line, SIZE - line], [int(bad[:line].sum()), int(bad[line:].sum())]
    drawn = list(quotas(*sizes, VERDICTS))
    rng = np.random.default_rng(0)
    found = [rng.hypergeometric(b, n - b, k, TRIES) for b, n, k in zip(truth, sizes, drawn, strict=True)]
    (low, high), (least, most) = bounds_by_count(sizes, drawn, 0.025)
    low, high, least, most = low[found[0]], high[found[0]], least[found[1]], most[found[1]]
    recall = truth[0] / sum(truth)
    covered = (low / np.maximum(low + most, 1) <= recall) & (recall <= high / np.maximum(high + least, 1))
    assert covered.mean() >= 0.93
    alone = bad_bounds(np.arange(drawn[0] + 1), drawn[0], sizes[0], 0.05)
    precise = (alone[0][found[0]] <= truth[0]) & (truth[0] <= alone[1][found[0]])
    assert precise.mean() >= 0.93


@pytest.mark.parametrize("worth", SCORES)
@pytest.mark.parametrize("prevalence", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("moved", [0.1, 0.4])
def test_intervals_cover_at_any_other_line(prevalence, worth, moved):
    """The whole of `judge`, fewer times: three pieces, whose numbers of verdicts are left to chance."""
    bad = population(prevalence, SCORES[worth])
    scores = np.arange(SIZE, dtype=np.float32)
    line, other = round(SIZE * 0.2), round(SIZE * moved)
    zones = [np.arange(line), np.arange(line, SIZE)]
    below = [min(other, line), max(other - line, 0)]
    recall, precision = bad[:other].sum() / bad.sum(), bad[:other].mean()
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(40):
        drawn = [rng.permutation(zone)[:n] for zone, n in zip(zones, quotas(line, SIZE - line, VERDICTS), strict=True)]
        nobody = np.empty(0, np.float32)
        verdicts = [ZoneVerdicts(z.size, scores[d], bad[d], nobody) for z, d in zip(zones, drawn, strict=True)]
        found = judge(verdicts, below, float(other))
        covered.append(
            found.recall.low <= recall <= found.recall.high and found.precision.low <= precision <= found.precision.high
        )
    # 40 tries of an event of probability ≤ 0.07: more than 9 misses happen once in a thousand
    assert len(covered) - sum(covered) <= 9


@given(st.integers(1, 60), st.data())
def test_bounds_are_those_of_the_exact_test(size, data):
    drawn = data.draw(st.integers(0, size))
    found = data.draw(st.integers(0, drawn))
    risk = data.draw(st.sampled_from([0.05, 0.025, 0.01]))
    low, high = (int(bound) for bound in bad_bounds(found, drawn, size, risk))
    possible = [
        count
        for count in range(found, size - (drawn - found) + 1)
        if stats.hypergeom.sf(found - 1, size, count, drawn) > risk / 2
        and stats.hypergeom.cdf(found, size, count, drawn) > risk / 2
    ]
    assert (low, high) == (possible[0], possible[-1])


def test_in_a_large_set_they_are_clopper_and_pearson_s():
    low, high = bad_bounds(np.array([0, 7, 100]), 100, 10_000_000, 0.05)
    for found, *bounds in zip([0, 7, 100], low / 1e7, high / 1e7, strict=True):
        exact = stats.binomtest(found, 100).proportion_ci(0.95, "exact")
        assert bounds == pytest.approx([exact.low, exact.high], abs=2e-6)


def test_what_was_judged_whole_is_known():
    found = judge_pieces([Piece(50, 50, 20)], [Piece(100, 100, 5)])
    assert (found.precision.low, found.precision.high) == (0.4, 0.4)
    assert (found.recall.low, found.recall.high, found.recall.estimate) == (0.8, 0.8, 0.8)
    assert (found.bad_share.low, found.more_for_precision(), found.more_for_recall()) == (25 / 150, 0, 0)


def test_an_estimate_weighs_each_side_by_its_size():
    found = judge_pieces([Piece(1000, 100, 60)], [Piece(9000, 100, 10)])
    assert found.precision.estimate == 0.6
    assert found.recall.estimate == pytest.approx(600 / 1500)
    assert found.bad_share.estimate == pytest.approx(0.15)
    assert "of what is dropped is bad" in found.sentence
    assert found.verdicts == 200


def test_unsure_verdicts_widen_and_never_move():
    sure = judge_pieces([Piece(1000, 100, 60)], [Piece(9000, 100, 10)])
    doubtful = judge_pieces([Piece(1000, 110, 60, 10)], [Piece(9000, 100, 10)])
    assert doubtful.precision.estimate == sure.precision.estimate
    assert doubtful.precision.low < sure.precision.low
    assert doubtful.precision.high > sure.precision.high
    assert doubtful.verdicts == 200


def test_a_side_without_verdicts_can_be_anything():
    found = judge_pieces([Piece(1000, 100, 60)], [Piece(500, 0, 0)])
    assert found.precision.high < 0.71
    assert found.recall.high == 1
    assert math.isnan(found.recall.estimate)
    assert found.more_for_recall() is None
    nothing = judge_pieces([Piece(0, 0, 0)], [Piece(500, 100, 10)])
    assert math.isnan(nothing.precision.estimate)


@pytest.mark.parametrize("bad", range(ENOUGH + 1))
def test_under_five_bad_ones_is_not_enough(bad):
    found = judge_pieces([Piece(1000, 100, bad)], [Piece(9000, 100, 0)])
    assert found.enough == (bad >= ENOUGH)
    assert ("Not enough verdicts" in found.sentence) == (bad < ENOUGH)


@pytest.mark.parametrize("times", [1, 3])
def test_so_many_more_do_narrow_it(times):
    dropped, kept = Piece(30_000, 50 * times, 30 * times), Piece(70_000, 50 * times, 5 * times)
    found = judge_pieces([dropped], [kept])
    for name in ("precision", "recall"):
        more = getattr(found, f"more_for_{name}")()
        for share, narrow in ((1.0, True), (0.8, False)):
            factor = 1 + share * more / (100 * times)
            grown = [
                Piece(p.size, round(p.drawn * factor), round(p.bad * factor)) for p in (dropped, kept)
            ]  # as the present ones are
            interval = getattr(judge_pieces([grown[0]], [grown[1]]), name)
            assert (interval.half <= TARGET * 1.01) == narrow


def test_quotas_use_what_there_is():
    assert quotas(1000, 9000, 300) == (150, 150)
    assert quotas(20, 9000, 300) == (20, 280)
    assert quotas(9000, 30, 300) == (270, 30)
    assert quotas(5, 6, 300) == (5, 6)
    assert quotas(0, 600, 300) == (0, 300)


def test_a_line_cuts_verdicts_as_it_cuts_samples():
    zone = ZoneVerdicts(
        100, np.array([0.1, 0.2, 0.3], np.float32), np.array([True, True, False]), np.empty(0, np.float32)
    )
    line = float(np.float32(0.2))
    one = judge([zone], [10], line)
    assert isinstance(one, Judgement)
    assert one.precision.estimate == 1.0
    assert one.bad_share.estimate == pytest.approx((10 + 90 * 0.5) / 100)
