"""The ensemble: its parts against definitions, and that it holds up where single signals fail."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from mimic.scores.ensemble import ensemble, flip_matrix, given, log_odds, mean_normal_score, meant
from mimic.scores.heads import Frozen, visit_margins

torch.set_num_threads(1)
N, D, K = 2000, 20, 4
FLIPS = np.array([[0.6, 0.4, 0, 0], [0, 1, 0, 0], [0, 0, 0.7, 0.3], [0.1, 0.1, 0.1, 0.7]])


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, meant classes, and the log-probabilities of a fair reference."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, K, N)
    centres = rng.normal(size=(K, D))
    features = (centres[truth] + 1.3 * rng.normal(size=(N, D))).astype(np.float32)
    logits = -((features[:, None] + 0.7 * rng.normal(size=(N, 1, D)) - centres) ** 2).sum(axis=2) / 4
    return features, truth, log_softmax(logits, axis=1).astype(np.float32)


def spoilt(truth: np.ndarray, flips: np.ndarray, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random(len(truth))[:, None] > flips[truth].cumsum(axis=1)).sum(axis=1).clip(max=K - 1)


def area(scores: np.ndarray, wrong: np.ndarray) -> float:
    return float((scores[wrong][:, None] < scores[~wrong][None]).mean())


def test_the_flip_matrix_is_found(world):
    _, truth, reference = world
    assert np.abs(flip_matrix(reference.astype(float), spoilt(truth, FLIPS)) - FLIPS).max() < 0.08
    clean = flip_matrix(reference.astype(float), truth)
    assert clean.diagonal().min() > 0.93
    assert np.allclose(clean.sum(axis=1), 1)


def test_bayes(world):
    _, truth, reference = world
    labels = spoilt(truth, FLIPS)
    labels[0] = -1
    got = np.exp(meant(reference.astype(float), labels, FLIPS + 1e-9))
    i = 17
    expected = np.exp(reference[i].astype(float)) * (FLIPS[:, labels[i]] + 1e-9)
    assert np.allclose(got[i], expected / expected.sum())
    assert np.allclose(got[0], np.exp(reference[0]), atol=1e-6)  # no label: what the picture alone says
    assert np.isnan(given(reference.astype(float), labels)[0])


def test_log_odds_rank_where_probabilities_have_run_out():
    sure = log_softmax(np.array([[50.0, 0], [60.0, 0], [0, 50.0]]), axis=1)
    assert np.allclose(log_odds(sure, np.zeros(3, int)), [50, 60, -50])


def test_mean_normal_score_knows_ranks_only():
    a = np.array([3.0, 1, 2, np.nan])
    assert np.allclose(mean_normal_score([a]), mean_normal_score([np.exp(a)]), equal_nan=True)
    got = mean_normal_score([a, -a])
    assert np.allclose(got[:3], 0, atol=1e-7)
    assert np.isnan(got[3])


def test_class_by_class_mistakes_do_not_fool_it(world):
    features, truth, reference = world
    labels = spoilt(truth, FLIPS)
    wrong = labels != truth
    combined = ensemble(Frozen(features, labels, K), reference)
    own = visit_margins(Frozen(features, labels, K)).mean(axis=1)
    alone = given(reference.astype(float), labels)
    assert area(combined, wrong) > area(own, wrong) + 0.03
    assert area(combined, wrong) > area(alone, wrong) + 0.001


def test_a_reference_that_knows_nothing_does_not_drag_it_down(world):
    features, truth, _ = world
    labels = spoilt(truth, np.full((K, K), 0.1) + 0.6 * np.eye(K))
    labels[:3] = -1
    wrong = labels != truth
    frozen = Frozen(features, labels, K)
    combined = ensemble(frozen, np.full((N, K), -np.log(K), np.float32))
    assert np.isnan(combined[:3]).all()
    assert area(combined[3:], wrong[3:]) > area(visit_margins(frozen).mean(axis=1)[3:], wrong[3:]) - 0.01
