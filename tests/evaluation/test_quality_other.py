"""Quality from verdicts and from two groups of scores."""

import numpy as np
import pytest

from mimic.evaluation.quality import fit_quality
from mimic.evaluation.quality_other import JudgedZone, known_quality, mixture_quality, with_audit
from tests.evaluation.test_quality import drawn, spoilt


@pytest.mark.parametrize("per_zone", [50, 150])
def test_an_audits_interval_covers_whatever_the_model_believes(per_zone):
    """The reference is wrong here: the model thinks half of the noise is none."""
    log_probs, truth, rng = drawn(3000, seed=1)
    hard = -log_probs.max(axis=1) > np.quantile(-log_probs.max(axis=1), 0.7)
    labels = np.where(hard, np.argsort(log_probs, axis=1)[:, -2], truth)
    fit = fit_quality(log_probs, labels)
    right, hits = labels == truth, 0
    low = log_probs.max(axis=1) < np.quantile(log_probs.max(axis=1), 0.4)
    assert abs(fit.quality.share - right.mean()) > 0.05
    for _ in range(300):
        zones = []
        for zone in (low, ~low):
            rows = rng.choice(np.flatnonzero(zone), per_zone, replace=False)
            zones.append(JudgedZone(int(zone.sum()), fit.good[rows], right[rows]))
        found = with_audit(fit, zones)
        hits += found.low <= right.mean() <= found.high
    assert hits / 300 >= 0.93


def test_an_audit_is_narrower_with_a_model_that_is_right():
    log_probs, truth, rng = drawn(3000, seed=2)
    labels = spoilt(truth, 0.25, rng)
    fit, right = fit_quality(log_probs, labels), labels == truth
    rows = rng.choice(3000, 200, replace=False)
    told = with_audit(fit, [JudgedZone(3000, fit.good[rows], right[rows])])
    plain = with_audit(fit, [JudgedZone(3000, np.full(200, fit.good.mean()), right[rows])])
    assert told.high - told.low < 0.7 * (plain.high - plain.low)
    assert told.method == "audit"
    assert "200 verdicts" in told.note


def test_one_group_of_scores_is_not_called_noisy_and_two_are_told_apart():
    rng = np.random.default_rng(0)
    one = mixture_quality(rng.normal(size=(800, 1)))
    assert one.share == 1.0
    assert not one.noisy
    wrong = rng.random(2000) < 0.3
    visits = rng.normal(size=(2000, 5)) * 0.8 - 4 * wrong[:, None]
    visits[:50] = np.nan
    two = mixture_quality(visits)
    assert two.samples == 1950
    assert two.low <= 1 - wrong[50:].mean() <= two.high
    assert two.noisy


def test_a_share_that_is_known_needs_no_estimate():
    right = np.random.default_rng(0).random(2000) < 0.8
    whole = known_quality(right, 2000)
    assert (whole.low, whole.share, whole.high) == pytest.approx((right.mean(),) * 3)
    hits = 0
    for seed in range(400):
        drawn_at_random = np.random.default_rng(seed).permutation(2000)[:60]
        found = known_quality(right[drawn_at_random], 2000)
        hits += found.low <= right.mean() <= found.high
    assert hits / 400 >= 0.93
    assert known_quality(np.ones(40, bool), 4000).low < 1 == known_quality(np.ones(40, bool), 4000).high
