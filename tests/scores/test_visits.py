"""Signals of visits, by hand."""

from __future__ import annotations

import numpy as np

from mimic.scores.visits import forgetting, margin_mean

MARGINS = np.array([[1, 2, 3], [-1, -2, -3], [1, -1, 1], [-1, 1, -1], [np.nan] * 3], np.float32)


def test_margin_mean():
    assert np.array_equal(margin_mean(MARGINS), np.array([2, -2, 1 / 3, -1 / 3, np.nan], np.float32), equal_nan=True)


def test_forgetting_counts_losses_and_puts_the_never_learnt_last():
    assert np.array_equal(forgetting(MARGINS), np.array([0, -3, -1, -1, np.nan], np.float32), equal_nan=True)
