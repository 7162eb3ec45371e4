"""Heads on frozen features: what is trained on what, and what a belief about the labels changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mimic.scores.heads import Belief, Frozen, heads, out_of_fold, visit_margins

torch.set_num_threads(1)
N, D, K = 600, 8, 3


@pytest.fixture(scope="module")
def frozen() -> Frozen:
    """Three clouds; the first 60 labels are moved on by one class, the last five are missing."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, K, N)
    features = rng.normal(size=(N, D)).astype(np.float32)
    features[np.arange(N), truth] += 5
    labels = truth.copy()
    labels[:60] = (labels[:60] + 1) % K
    labels[-5:] = -1
    return Frozen(100 * features + 7, labels, K, epochs=8, folds=2)


def test_margins_tell_wrong_labels_apart_and_are_missing_without_a_label(frozen):
    margins = visit_margins(frozen)
    assert margins.shape == (N, 8)
    assert np.isnan(margins[-5:]).all()
    assert not np.isnan(margins[:-5]).any()
    assert np.quantile(margins[:60, -1], 0.9) < np.quantile(margins[60:-5, -1], 0.1)
    assert np.array_equal(margins, visit_margins(frozen), equal_nan=True)
    assert not np.array_equal(margins, visit_margins(replace(frozen, seed=1)), equal_nan=True)


def test_out_of_fold_never_sees_the_sample(frozen):
    changed = frozen.labels.copy()
    changed[7] = (changed[7] + 1) % K
    before, after = out_of_fold(frozen), out_of_fold(replace(frozen, labels=changed))
    assert np.allclose(np.exp(before).sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(before[7], after[7])
    assert not np.array_equal(before, after)


def test_samples_without_a_label_train_nothing(frozen):
    *_, head = heads(frozen)
    changed = frozen.features.copy()
    changed[-5:] = changed[-5:][::-1]  # the columns' means stay
    *_, same = heads(replace(frozen, features=changed))
    assert torch.allclose(head.weight, same.weight, atol=1e-5)


def test_folds_in_one_go_are_heads_of_their_own(frozen):
    """A head that passes over a fold learns what a head does that never had the fold's labels."""
    fold = np.empty(N, np.int64)
    fold[torch.randperm(N, generator=torch.Generator().manual_seed(0)).numpy()] = np.arange(N) % frozen.folds
    labels = np.where(fold == 0, (frozen.labels + 1) % K, frozen.labels)  # all of a fold's labels changed
    labels[frozen.labels < 0] = -1
    before, after = out_of_fold(frozen), out_of_fold(replace(frozen, labels=labels))
    assert np.array_equal(before[fold == 0], after[fold == 0])


def test_a_constant_feature_is_harmless(frozen):
    features = np.concatenate([frozen.features, np.ones((N, 1), np.float32)], axis=1)
    assert np.allclose(out_of_fold(replace(frozen, features=features)), out_of_fold(frozen), atol=1e-5)


def test_targets_replace_labels(frozen):
    one_hot = np.eye(K)[np.maximum(frozen.labels, 0)]
    assert np.allclose(out_of_fold(frozen, Belief(targets=one_hot)), out_of_fold(frozen), atol=1e-6)
    assert np.allclose(out_of_fold(frozen, Belief(flips=np.eye(K))), out_of_fold(frozen), atol=1e-3)


def test_flips_teach_the_label_that_was_meant():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 1500)
    features = rng.normal(size=(1500, 3)).astype(np.float32)
    features[:, 0] += 4 * truth
    given = np.where((truth == 0) & (rng.random(1500) < 0.45), 1, truth)  # nearly half of class 0 is called 1
    frozen = Frozen(features, given, 2, epochs=12, folds=2)
    flips = np.array([[0.55, 0.45], [0.0, 1.0]])
    taken, meant = np.exp(out_of_fold(frozen)), np.exp(out_of_fold(frozen, Belief(flips=flips)))
    zero = truth == 0
    assert taken[zero, 0].mean() < 0.65
    assert meant[zero, 0].mean() > 0.85
