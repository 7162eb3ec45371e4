"""Decisions as a layer: every decided sample with its score, or a fixed draw of them."""

import numpy as np
import pyarrow as pa

from mimic.workspace.queries.decided import decided_pairs, decided_scores


def test_scores_of_decided_samples(known):
    scores = known.scores["fine"]
    samples = np.arange(0, len(scores), 3, dtype=np.int32)
    actions = ["keep", "drop", "relabel"] * len(samples)
    decided = pa.table({"sample": samples, "action": actions[: len(samples)]})
    found = decided_scores(known.published, "fine", decided)
    there = ~np.isnan(scores[samples])
    np.testing.assert_array_equal(found["score"], scores[samples][there])
    assert found["action"].tolist() == [a for a, t in zip(actions, there, strict=False) if t]
    some = decided_scores(known.published, "fine", decided, most=20)
    assert 0 < len(some) <= 20
    assert set(some["score"]) <= set(found["score"])
    assert decided_scores(known.published, "fine", decided.slice(0, 0)).empty


def test_pairs_are_those_that_have_both():
    a = np.array([0.1, np.nan, 0.3, 0.4], dtype=np.float32)
    b = np.array([1.0, 2.0, np.nan, 4.0], dtype=np.float32)
    decided = pa.table({"sample": pa.array([0, 1, 2, 3], pa.int32()), "action": ["keep", "drop", "drop", "relabel"]})
    found = decided_pairs(decided, a, b)
    assert found.to_dict("list") == {"action": ["keep", "relabel"], "a": [a[0], a[3]], "b": [b[0], b[3]]}
    assert len(decided_pairs(decided, b[[0, 1, 1, 1]], b[[0, 1, 1, 1]], most=2)) == 2
    assert decided_pairs(decided.slice(0, 0), a, b).empty
