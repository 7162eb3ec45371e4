"""Rank correlation against scipy's, ties included."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from mimic.evaluation.agreement import kendall_correlation, rank_correlation


@pytest.mark.parametrize("seed", range(5))
def test_it_is_spearmans(seed):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=200).round(seed % 3).astype(np.float32)
    b = (a + rng.normal(size=200)).round(1).astype(np.float32)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)


def test_nothing_to_rank():
    assert np.isnan(rank_correlation(np.ones(5), np.arange(5.0)))
    assert np.isnan(rank_correlation(np.ones(1), np.ones(1)))


def test_kendall_counts_pairs():
    a, b = np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])
    assert kendall_correlation(a, b) == pytest.approx((5 - 1) / 6)
    assert np.isnan(kendall_correlation(np.ones(3), a[:3]))
