"""Confident learning: cleanlab's own numbers, on the samples that have a label."""

from __future__ import annotations

import numpy as np
from cleanlab.rank import get_label_quality_scores

from mimic.scores.confident import label_quality


def test_equals_cleanlab_and_passes_over_what_has_no_label():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), size=80)
    labels = rng.integers(0, 4, 80)
    expected = get_label_quality_scores(labels, probabilities, method="self_confidence")
    got = label_quality(np.log(probabilities).astype(np.float32), labels)
    assert np.allclose(got, expected, atol=1e-5)
    labels[5] = -1
    assert np.isnan(label_quality(np.log(probabilities).astype(np.float32), labels)).nonzero()[0].tolist() == [5]


def test_a_class_that_nobody_was_given_takes_no_part():
    rng = np.random.default_rng(1)
    labels = rng.choice([0, 2], 60)
    got = label_quality(np.log(rng.dirichlet(np.ones(3), size=60)).astype(np.float32), labels)
    assert np.isfinite(got).all()
