"""Lines against NumPy: exact counts whatever the ties, the class balance and the truth on each side."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimic.errors import MimicError
from mimic.filters.binarise import threshold_keeping
from mimic.workspace.queries import threshold
from mimic.workspace.queries.threshold import (
    beside,
    class_balance,
    line_at,
    line_keeping,
    lowest,
    score_at_rank,
    truth_at,
)

LINES = st.one_of(st.floats(-6, 6), st.floats(-3, 3).map(lambda x: round(x, 1)), st.just(float("-inf")))


@pytest.mark.parametrize("signal", ["mimic", "fine", "flat"])
@settings(max_examples=40, deadline=None)
@given(count=st.integers(-5, 1300))
def test_the_line_that_keeps_a_count_is_the_one_numpy_finds(known, signal, count):
    scores = known.scores[signal]
    scored = int((~np.isnan(scores)).sum())
    line = line_keeping(known.published, signal, count)
    assert line.score == threshold_keeping(scores, count)
    assert line.kept == (scores >= line.score).sum()
    assert (line.dropped, line.not_scored) == (scored - line.kept, scores.size - scored)


@pytest.mark.parametrize("signal", ["mimic", "fine", "flat"])
@settings(max_examples=40, deadline=None)
@given(score=LINES)
def test_a_line_at_a_score_keeps_what_reaches_it(known, signal, score):
    scores = known.scores[signal].astype(np.float64)
    line = line_at(known.published, signal, score)
    kept = scores[scores >= score]
    assert line.kept == kept.size
    assert (scores >= line.score).sum() == kept.size  # moving it to the lowest kept score changes nothing
    if kept.size:
        assert line.score == kept.min()


def test_every_rank_has_its_score(known):
    for signal in ("mimic", "fine"):
        order = np.sort(known.scores[signal][~np.isnan(known.scores[signal])])[::-1]
        for rank in [1, 2, 3, 17, 600, order.size - 1, order.size]:
            assert score_at_rank(known.published, signal, rank) == order[rank - 1]


@pytest.mark.parametrize("signal", ["mimic", "fine", "flat"])
@settings(max_examples=25, deadline=None)
@given(score=LINES)
def test_class_balance_counts_each_class(known, signal, score):
    scores = known.scores[signal].astype(np.float64)
    codes = {name: code for code, name in enumerate(known.published.classes)}
    labels = np.array([codes.get(label, -1) for label in known.labels], dtype=np.int32)
    balance = class_balance(known.published, signal, score, labels)
    expected = {}
    for label in {*known.labels}:
        mine = scores[(known.labels == label) & ~np.isnan(scores)]
        expected[label] = ((mine >= score).sum(), (mine < score).sum())
    found = {row.label: (row.kept, row.dropped) for row in balance.itertuples()}
    assert found == expected
    assert balance["share"].is_monotonic_increasing


@pytest.mark.parametrize("signal", ["mimic", "fine", "flat"])
@settings(max_examples=60, deadline=None)
@given(score=LINES, count=st.sampled_from([1, 20, 500, 2000]), at_hand=st.booleans())
def test_beside_a_line_lies_what_numpy_sorts_there(known, signal, score, count, at_hand):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threshold, "_MANY", 1_000_000 if at_hand else 0)  # or as if every bin held too many
        beside_is_right(known, signal, score, count)


def beside_is_right(known, signal, score, count):
    scores = known.scores[signal]
    numbers = np.flatnonzero(~np.isnan(scores))
    low = scores[numbers].astype(np.float64) < score
    for found, side, sign in zip(beside(known.published, signal, score, count), (low, ~low), (-1, 1), strict=True):
        mine = numbers[side]
        expected = mine[np.lexsort((mine, sign * scores[mine]))][:count]
        assert found["sample"].tolist() == expected.tolist()
        assert found["score"].tolist() == scores[expected].tolist()
        assert found["id"].tolist() == [f"Id/{sample}" for sample in expected]


@given(
    keys=st.lists(st.one_of(st.integers(0, 4).map(float), st.just(float("nan"))), max_size=30),
    count=st.integers(0, 35),
    random=st.randoms(use_true_random=False),
)
def test_the_lowest_are_those_that_sorting_gives(keys, count, random):
    samples = np.array(random.sample(range(100), len(keys)), dtype=np.int32)
    by = [(np.inf if np.isnan(key) else key, number) for key, number in zip(keys, samples, strict=True)]
    places = sorted(range(len(keys)), key=by.__getitem__)
    assert lowest(samples, np.array(keys, dtype=float), count).tolist() == places[:count]


@settings(max_examples=25, deadline=None)
@given(score=LINES)
def test_truth_on_each_side(known, score):
    scores = known.scores["fine"].astype(np.float64)
    use = known.judged & ~np.isnan(scores)
    wrong, low = known.wrong[use], scores[use] < score
    found = truth_at(known.published, "fine", score)
    assert found.wrong_dropped == (wrong & low).sum()
    assert found.wrong_kept == (wrong & ~low).sum()
    assert found.right_dropped == (~wrong & low).sum()
    assert found.right_kept == (~wrong & ~low).sum()
    if low.any():
        assert found.precision == pytest.approx(wrong[low].mean())
    assert found.recall == pytest.approx(low[wrong].mean())


def test_a_signal_nobody_has_is_named(known):
    with pytest.raises(MimicError, match="no sample of run first has the signal 'never'"):
        line_keeping(known.published, "never", 10)
