"""Draws, counts and rows, against the arrays."""

import math

import numpy as np

from mimic.workspace.queries.audit import counts_between, draw, scores_of
from mimic.workspace.queries.gallery import rows_of


def test_draws_stay_in_their_span(known):
    scores = known.scores["mimic"].astype(np.float64)
    inside = np.flatnonzero((scores >= -0.3) & (scores < 0.4))
    everything = draw(known.published, "mimic", -0.3, 0.4, 10_000, 3)
    assert sorted(everything) == inside.tolist()
    assert draw(known.published, "mimic", -0.3, 0.4, 20, 3) == everything[:20]
    assert draw(known.published, "mimic", -0.3, 0.4, 20, 4) != everything[:20]


def test_counts_between_edges(known):
    scores = known.scores["fine"]
    edges = [-math.inf, -1.0, 0.25, math.inf]
    assert counts_between(known.published, "fine", edges) == np.histogram(scores[~np.isnan(scores)], edges)[0].tolist()


def test_scores_and_rows_in_the_order_asked_for(known):
    wanted = [5, 3, 3, 900]
    np.testing.assert_array_equal(scores_of(known.published, "mimic", wanted), known.scores["mimic"][wanted])
    assert rows_of(known.published, wanted)["id"].tolist() == [f"Id/{i}" for i in wanted]
    assert scores_of(known.published, "mimic", []).size == 0
