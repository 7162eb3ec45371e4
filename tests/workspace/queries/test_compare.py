"""Filters against each other, on arrays drawn at random and on those of a published run, against plain counting."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimic.data import ABSTAIN, DROP, KEEP
from mimic.errors import MimicError
from mimic.workspace.queries.compare import (
    CELLS,
    MOST,
    Agreement,
    Ballot,
    Groups,
    Placed,
    cross,
    density,
    draw,
    examples,
    overlaps,
    pairs,
)
from mimic.workspace.queries.dense import Truth

CLASSES = ["cat", "dog"]


def drawn(seed: int, members: int = 3, size: int = 200):
    rng = np.random.default_rng(seed)
    votes = [rng.choice([KEEP, DROP, ABSTAIN], size, p=[0.5, 0.4, 0.1]).astype(np.int8) for _ in range(members)]
    inside = rng.random(size) < 0.9
    labels = rng.integers(-1, 2, size).astype(np.int32)
    known = rng.random(size) < 0.7
    return votes, inside, labels, Truth(known, known & (rng.random(size) < 0.3))


def crossed(votes, inside, labels, classes, truth):
    groups = Groups.of(labels, classes, truth)
    return cross([Ballot.by_votes(vote, groups) for vote in votes], groups, groups.bits(inside))


def by_hand(votes, inside, labels, classes, truth):
    counts = np.zeros((classes + 1, 3, *[3] * len(votes)), dtype=np.int64)
    for i in np.flatnonzero(inside):
        counts[(labels[i] + 1, int(truth.known[i]) + int(truth.wrong[i]), *(vote[i] + 1 for vote in votes))] += 1
    return counts


def cell_of(a: int, b: int) -> str | None:
    if ABSTAIN in (a, b):
        return None
    return {(1, 1): "both keep", (0, 1): "only A drops", (1, 0): "only B drops", (0, 0): "both drop"}[a, b]


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 1000), st.integers(1, MOST), st.integers(1, 300), st.integers(1, 30))
def test_every_combination_is_counted_as_by_hand(seed, members, size, classes):
    votes, inside, _, truth = drawn(seed, members, size)
    labels = np.random.default_rng(seed).integers(-1, classes, size).astype(np.int32)
    expected = by_hand(votes, inside, labels, classes, truth)
    assert (crossed(votes, inside, labels, classes, truth).counts == expected).all()
    # what is told one by one, as people do, comes to the same
    some = np.flatnonzero(truth.known & inside)
    unknown = crossed(votes, inside, labels, classes, None)
    told = unknown.told(labels[some], truth.wrong[some], [vote[some] for vote in votes])
    assert (told.counts == expected).all()
    assert (unknown.counts[:, 1:] == 0).all()


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.sampled_from([*np.linspace(-1, 1, 5), math.nan, -math.inf, math.inf]), min_size=1, max_size=200),
    st.sampled_from([*np.linspace(-1, 1, 9), -math.inf, math.inf]),
    st.integers(0, 1000),
)
def test_a_line_is_a_ballot(scores, line, seed):
    scores, line = np.array(scores, np.float32), np.float32(line)
    labels = np.random.default_rng(seed).integers(-1, 2, len(scores)).astype(np.int32)
    groups = Groups.of(labels, 2, None)
    ballot = Ballot.by_line(Placed.of(scores, groups), line)
    assert groups.samples(ballot.keeps).tolist() == np.flatnonzero(scores >= line).tolist()
    assert groups.samples(ballot.drops).tolist() == np.flatnonzero(scores < line).tolist()


@pytest.mark.parametrize("classes", [0, 3, 30_000])  # none, few, and more groups than sixteen bits hold
def test_groups_are_classes_and_what_is_known_of_them(classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, classes, 1000).astype(np.int32)
    known = rng.random(1000) < 0.5
    truth = Truth(known, known & (rng.random(1000) < 0.5))
    mask = rng.random(1000) < 0.5
    groups = Groups.of(labels, classes, truth)
    expected = np.zeros((classes + 1, 3), dtype=np.int64)
    np.add.at(expected, (labels[mask] + 1, known[mask].astype(int) + truth.wrong[mask]), 1)
    assert (groups.counts(groups.bits(mask)) == expected).all()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000))
def test_every_pair_of_members_is_counted_as_by_hand(seed):
    votes, inside, labels, truth = drawn(seed)
    crossing = crossed(votes, inside, labels, 2, truth)
    for a, b in product(range(3), repeat=2):
        if a == b:
            continue
        found = crossing.agreement(a, b)
        cells = [cell_of(x, y) if here else "outside" for x, y, here in zip(votes[a], votes[b], inside, strict=True)]
        for cell in CELLS:
            mine = np.array([one == cell for one in cells])
            assert found.counts[cell] == mine.sum()
            assert found.known[cell] == (mine & truth.known).sum()
            assert found.wrong[cell] == (mine & truth.wrong).sum()
        assert found.left_out == cells.count(None)
        both, either = found.counts["both drop"], found.compared - found.counts["both keep"]
        assert found.jaccard_dropped == pytest.approx(both / either)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), st.integers(2, 4))
def test_combinations_and_classes_are_counted_as_by_hand(seed, members):
    votes, inside, labels, truth = drawn(seed, members)
    crossing = crossed(votes, inside, labels, 2, truth)
    everyone = inside & np.all([vote != ABSTAIN for vote in votes], axis=0)
    table = crossing.combinations()
    assert table["samples"].is_monotonic_decreasing
    found = {row.drops: (row.samples, row.known, row.wrong) for row in table.itertuples()}
    for drops in ({*()}, {0}, {0, 1}, set(range(members))):
        mine = everyone & np.all([(vote == DROP) == (k in drops) for k, vote in enumerate(votes)], axis=0)
        expected = (mine.sum(), (mine & truth.known).sum(), (mine & truth.wrong).sum())
        assert found.get(tuple(sorted(drops)), (0, 0, 0)) == expected
    assert crossing.dropped().tolist() == [(everyone & (vote == DROP)).sum() for vote in votes]
    by_class = crossing.by_class(CLASSES)
    assert by_class["disputed"].is_monotonic_decreasing
    for row in by_class.to_dict("records"):
        code = -1 if row["label"] is None else CLASSES.index(row["label"])
        mine = everyone & (labels == code)
        assert row["samples"] == mine.sum()
        for place, vote in enumerate(votes):
            assert row[str(place)] == pytest.approx((mine & (vote == DROP)).sum() / mine.sum())
        same = np.all([vote == votes[0] for vote in votes], axis=0)
        assert row["disputed"] == pytest.approx((mine & ~same).sum() / mine.sum())
        known = (mine & truth.known).sum()
        assert row["wrong"] == pytest.approx((mine & truth.wrong).sum() / known if known else np.nan, nan_ok=True)


def test_chance_is_what_unrelated_filters_give():
    rng = np.random.default_rng(0)
    a, b = rng.random(200_000) < 0.3, rng.random(200_000) < 0.2
    counts = dict(zip(CELLS, [(~a & ~b).sum(), (a & ~b).sum(), (~a & b).sum(), (a & b).sum()], strict=True))
    found = Agreement(counts, dict.fromkeys(CELLS, 0), dict.fromkeys(CELLS, 0), 0)
    assert found.jaccard_by_chance == pytest.approx(found.jaccard_dropped, abs=0.01)


@pytest.mark.parametrize("size", [300, 300_000])
def test_examples_lie_in_their_cell_and_are_drawn_again_alike(size):
    (a, b), inside, *_ = drawn(1, 2, size)
    rare = np.flatnonzero((a == DROP) & (b == DROP))[5:]
    b[rare] = KEEP  # fewer than a draw would find
    cells = np.array([cell_of(x, y) if here else None for x, y, here in zip(a, b, inside, strict=True)])

    def found_with(seed):
        some = draw(inside, seed)
        return examples(some, a[some], b[some], lambda cell: np.flatnonzero(cells == cell), each=9, seed=seed)

    found = found_with(4)
    for cell, samples in found.items():
        assert all(cells[samples] == cell)
        assert len(set(samples)) == len(samples) == min(9, (cells == cell).sum())
    assert found == found_with(4)
    assert found["both keep"] != found_with(5)["both keep"]


def test_pairs_are_both_scores_of_a_sample(known):
    x, y = known.scores["mimic"], known.scores["fine"]
    both = ~np.isnan(x) & ~np.isnan(y)
    found = pairs(x, y)
    assert found.shared == both.sum()
    assert (found.a.tolist(), found.b.tolist()) == (x[both].tolist(), y[both].tolist())
    few = pairs(x, y, 200)
    assert (len(few.a), few.shared) == (200, both.sum())
    assert set(zip(few.a.tolist(), few.b.tolist(), strict=True)) <= set(zip(x.tolist(), y.tolist(), strict=True))
    with pytest.raises(MimicError, match="no sample in common"):
        pairs(x, known.scores["never"])


def test_density_counts_every_pair_in_its_cell(known):
    of = pairs(known.scores["mimic"], known.scores["fine"])
    found = density(of, 20)
    i = np.clip(np.floor((of.a.astype(float) - found.a[0]) / (found.a[1] - found.a[0])), 0, 19).astype(int)
    j = np.clip(np.floor((of.b.astype(float) - found.b[0]) / (found.b[1] - found.b[0])), 0, 19).astype(int)
    expected = np.zeros((20, 20), dtype=int)
    np.add.at(expected, (j, i), 1)
    np.testing.assert_array_equal(found.counts, expected)
    flat = pairs(known.scores["flat"], known.scores["fine"])
    assert density(flat, 10).counts.sum() == flat.shared


def test_overlap_at_every_budget():
    rng = np.random.default_rng(0)
    a = rng.normal(size=4000).astype(np.float32)
    same = overlaps(pairs(a, 3 * a + 1))
    assert (same["overlap"] == 1).all()
    unrelated = overlaps(pairs(a, rng.normal(size=4000).astype(np.float32)))
    np.testing.assert_allclose(unrelated["overlap"], unrelated["chance"], atol=0.05)
    row = unrelated.iloc[24]
    n = round((1 - row["kept"]) * 3999)
    low = a < np.sort(a)[n]
    assert low.sum() == n
    assert unrelated["kept"].is_monotonic_increasing


def test_too_many_or_nothing_in_common_is_said():
    (a, b, _), inside, labels, truth = drawn(0)
    with pytest.raises(MimicError, match="7 filters are too many"):
        crossed([a] * 7, inside, labels, 2, truth)
    nobody = np.full(200, ABSTAIN, np.int8)
    with pytest.raises(MimicError, match="no sample in common"):
        crossed([nobody, b], inside, labels, 2, None).agreement(0, 1)
