"""Bits by class and by what is known, against plain counting."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimic.workspace.queries.ballots import Ballot, Groups, Placed
from mimic.workspace.queries.dense import Truth


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
