"""Filters against each other, on arrays drawn at random and on those of a published run, against plain counting."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimic.data import ABSTAIN, DROP, KEEP
from mimic.errors import MimicError
from mimic.workspace.queries.ballots import Ballot, Groups
from mimic.workspace.queries.compare import CELLS, MOST, Agreement, cross, draw, examples
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


def test_too_many_or_nothing_in_common_is_said():
    (a, b, _), inside, labels, truth = drawn(0)
    with pytest.raises(MimicError, match="7 filters are too many"):
        crossed([a] * 7, inside, labels, 2, truth)
    nobody = np.full(200, ABSTAIN, np.int8)
    with pytest.raises(MimicError, match="no sample in common"):
        crossed([nobody, b], inside, labels, 2, None).agreement(0, 1)
