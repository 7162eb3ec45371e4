"""Decisions as a layer: every decided sample with its score, or a fixed draw of them."""

import numpy as np
import pyarrow as pa

from mimic.workspace.queries.decided import decided_scores


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
