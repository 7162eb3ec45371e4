"""Quality, against data whose truth is made: the share, its interval, its parts, and what it must not say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from mimic.errors import MimicError
from mimic.evaluation.quality import Fit, fit_quality
from mimic.evaluation.quality_parts import quality_by_class, quality_by_group

CLASSES = 6


def drawn(n: int, seed: int = 0, sharpness: float = 3.0) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Log-probabilities that hold, and true classes drawn from them."""
    rng = np.random.default_rng(seed)
    log_probs = log_softmax(sharpness * rng.normal(size=(n, CLASSES)), axis=1)
    truth = (log_probs + rng.gumbel(size=log_probs.shape)).argmax(axis=1)
    return log_probs, truth, rng


def spoilt(truth: np.ndarray, rate: float | np.ndarray, rng: np.random.Generator) -> np.ndarray:
    other = (truth + rng.integers(1, CLASSES, len(truth))) % CLASSES
    return np.where(rng.random(len(truth)) < rate, other, truth)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.3, 0.6])
def test_the_share_is_found_and_covered(rate):
    log_probs, truth, rng = drawn(4000)
    labels = spoilt(truth, rate, rng)
    found = fit_quality(log_probs, labels).quality
    true = (labels == truth).mean()
    assert found.share == pytest.approx(true, abs=0.02)
    assert found.low <= true <= found.high
    assert found.high - found.low < 0.1
    assert found.noisy == (rate > 0)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.0])
def test_a_reference_that_is_too_sure_or_not_sure_enough_is_corrected(temperature):
    log_probs, truth, rng = drawn(6000)
    labels = spoilt(truth, 0.2, rng)
    found = fit_quality(log_softmax(log_probs / temperature, axis=1), labels).quality
    assert found.share == pytest.approx((labels == truth).mean(), abs=0.02)
    assert found.temperature == pytest.approx(temperature, rel=0.15)


def test_mistakes_of_one_class_for_another_are_told_from_mistakes_of_all():
    log_probs, truth, rng = drawn(6000)
    labels = np.where((truth == 2) & (rng.random(len(truth)) < 0.5), 3, truth)
    found = fit_quality(log_probs, labels)
    assert found.quality.pattern == "by class"
    assert found.quality.share == pytest.approx((labels == truth).mean(), abs=0.02)
    assert fit_quality(log_probs, spoilt(truth, 0.2, rng)).quality.pattern == "alike"
    parts = quality_by_class(found, list("abcdef")).set_index("part")
    assert parts.index[0] == "d"
    for code, name in enumerate("abcdef"):
        own = labels == code
        true = (truth[own] == code).mean()
        assert parts.loc[name, "low"] - 1e-9 <= true <= parts.loc[name, "high"] + 1e-9
        assert parts.loc[name, "samples"] == own.sum()


def test_groups_have_their_own_shares():
    log_probs, truth, rng = drawn(6000)
    source = rng.integers(0, 3, len(truth))
    labels = spoilt(truth, np.array([0.0, 0.15, 0.5])[source], rng)
    names = np.array(["good", "fair", "bad"], dtype=object)[source]
    names[:20] = None
    parts = quality_by_group(fit_quality(log_probs, labels), names)
    assert parts["part"].tolist() == ["bad", "fair", "good"]
    for row in parts.itertuples():
        true = (labels == truth)[names == row.part].mean()
        assert row.share == pytest.approx(true, abs=0.03)
        assert row.low <= true <= row.high
    assert parts["samples"].sum() == len(truth) - 20


def test_a_small_group_is_left_unsaid():
    log_probs, truth, _ = drawn(500)
    names = np.array(["few"] * 10 + ["many"] * 490, dtype=object)
    parts = quality_by_group(fit_quality(log_probs, truth), names).set_index("part")
    assert np.isnan(parts.loc["few", "share"])
    assert parts.loc["many", "share"] > 0.95


def test_the_influence_is_what_leaving_a_sample_out_does():
    log_probs, truth, rng = drawn(400, seed=3)
    labels = spoilt(truth, 0.3, rng)
    fit = fit_quality(log_probs, labels)
    n, chosen = len(labels), np.arange(0, 400, 40)
    refitted = [_without(log_probs, labels, place).quality.share for place in chosen]
    left_out = -(n - 1) * (np.array(refitted) - fit.quality.share)
    assert np.corrcoef(left_out, fit.influence[chosen])[0, 1] > 0.98
    np.testing.assert_allclose(left_out, fit.influence[chosen], atol=0.15)


def _without(log_probs: np.ndarray, labels: np.ndarray, place: int) -> Fit:
    return fit_quality(np.delete(log_probs, place, axis=0), np.delete(labels, place))


def test_two_sets_are_ranked_by_their_quality():
    right = 0
    for seed in range(20):
        log_probs, truth, rng = drawn(1500, seed=seed)
        better, worse = (fit_quality(log_probs, spoilt(truth, rate, rng)).quality.share for rate in (0.2, 0.27))
        right += better > worse
    assert right >= 19


def test_too_little_to_say_anything_is_said():
    log_probs, truth, _ = drawn(49)
    with pytest.raises(MimicError, match="49 samples of 6 classes"):
        fit_quality(log_probs, truth)


def test_a_reference_without_any_doubt_is_no_trouble():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 500)
    sure = np.where(np.eye(3, dtype=bool)[labels], 0.0, -60.0)
    assert fit_quality(sure, labels).quality.share == pytest.approx(1.0, abs=1e-6)


@given(st.integers(2, 30), st.integers(1, 4), st.sampled_from([0.0, 0.2, 0.6]), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_a_few_known_classes_say_what_the_whole_matrix_says(classes, known, rate, seed):
    """Every class's log-probability written out, and mistakes of one class for the next, must give the same fit."""
    rng = np.random.default_rng(seed)
    n = 50 + seed % 300
    named = log_softmax(2 * rng.normal(size=(n, classes)), axis=1)
    best = np.argsort(-named + rng.normal(size=named.shape), axis=1)[:, :known]
    codes = np.where(rng.random(best.shape) < 0.9, best, -1)
    every = np.full((n, classes), np.nan)
    for row, own in enumerate(codes):
        own = own[own >= 0]
        every[row, own] = np.exp(named[row, own])
        others = np.isnan(every[row])
        every[row, others] = max(1 - every[row, own].sum(), 1e-9) / max(others.sum(), 1)
    every = np.log(every / every.sum(axis=1, keepdims=True))
    truth = (every + rng.gumbel(size=every.shape)).argmax(axis=1)
    labels = np.where(rng.random(n) < rate, (truth + 1) % classes, truth)

    few = fit_quality(np.take_along_axis(named, np.maximum(codes, 0), axis=1), labels, codes, classes)
    whole = fit_quality(every, labels)
    assert few.quality.pattern == whole.quality.pattern
    assert few.quality.share == pytest.approx(whole.quality.share, abs=1e-9)
    assert few.quality.temperature == pytest.approx(whole.quality.temperature, abs=1e-9)
    np.testing.assert_allclose(few.good, whole.good, atol=1e-9)
    # second differences, which divide what rounding does by the square of a small step
    np.testing.assert_allclose(few.influence, whole.influence, atol=1e-4 * np.abs(whole.influence).max())
    assert [few.quality.low, few.quality.high] == pytest.approx([whole.quality.low, whole.quality.high], abs=1e-5)
    np.testing.assert_allclose(few.probabilities(), softmax(few.quality.temperature * every, axis=1), atol=1e-9)
    transition = np.eye(classes) + few.rate * few.spread()
    meant = few.probabilities() * transition.T[labels]
    good = meant[np.arange(n), labels] / np.maximum(meant.sum(axis=1), 1e-12)
    np.testing.assert_allclose(few.good, np.clip(good, 0, 1), atol=1e-9)
