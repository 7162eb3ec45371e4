"""Judged scores, against the arrays."""

from dataclasses import replace

import numpy as np
import pytest

from mimic.errors import MimicError
from mimic.workspace.queries.rows import judged


def test_judged_holds_the_samples_whose_truth_is_known(known):
    found = judged(known.published)
    assert found.wrong.size == known.judged.sum()
    assert not found.sampled
    assert found.wrong.sum() == known.wrong.sum()
    for signal, column in found.signals.items():
        for wrong in (True, False):
            mine = np.sort(column[found.wrong == wrong])
            np.testing.assert_array_equal(mine, np.sort(known.scores[signal][known.judged & (known.wrong == wrong)]))


def test_a_draw_says_that_it_is_one(known):
    found = judged(known.published, 200)
    assert found.wrong.size == pytest.approx(200, abs=50)
    assert found.sampled
    assert found.drawn_from == known.published.size


def test_without_truth_nothing_is_judged(known):
    with pytest.raises(MimicError, match="no column `truth`"):
        judged(replace(known.published, has_truth=False))
