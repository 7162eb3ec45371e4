"""Nearest neighbours against all pairs written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mimic.scores.neighbours import Neighbours, density, label_agreement, nearest

torch.set_num_threads(1)
FEATURES = np.random.default_rng(0).normal(size=(70, 6)).astype(np.float32) * [1, 5, 1, 1, 1, 0.1]
FEATURES = FEATURES.astype(np.float32)


def all_pairs() -> np.ndarray:
    x = (FEATURES - FEATURES.mean(axis=0)) / FEATURES.std(axis=0)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosines = x @ x.T
    np.fill_diagonal(cosines, -np.inf)
    return cosines


@pytest.mark.parametrize("block", [1, 70 * 4 * 9, 10**9])  # a row, nine rows and all rows at a time
def test_blocks_give_the_nearest(block: int):
    cosines = all_pairs()
    found = nearest(FEATURES, 5, block)
    assert np.array_equal(found.rows, np.argsort(-cosines, axis=1)[:, :5])
    assert np.allclose(found.cosines, -np.sort(-cosines, axis=1)[:, :5], atol=1e-5)
    assert np.allclose(density(found), -np.sort(-cosines, axis=1)[:, 4], atol=1e-5)


def test_fewer_samples_than_neighbours():
    assert nearest(FEATURES[:4], 50).rows.shape == (4, 3)


def test_agreement_by_hand():
    neighbours = Neighbours(
        np.array([[1, 2], [0, 2], [1, 0], [2, 2]]), np.array([[1, 0], [1, 0], [0, 0], [0, 0]], "f4")
    )
    got = label_agreement(neighbours, np.array([4, 4, -1, 4]))
    assert np.array_equal(got, np.array([1, 1, np.nan, np.nan], "f4"), equal_nan=True)  # unlabelled ones do not vote
    got = label_agreement(neighbours, np.array([4, 5, 4, 4]))
    assert np.allclose(got, [1 / 3, 0, 0.5, 1])


def test_an_outlier_is_sparse_and_a_wrong_label_disagrees():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 50)
    clouds = rng.normal(size=(100, 4)) * 0.2 + np.where(labels == 0, 1, -1)[:, None] * np.array([1, 1, 0, 0])
    clouds[7] = [0, 0, 9, -9]
    given = labels.copy()
    given[3] = 1
    found = nearest(clouds.astype(np.float32), 10)
    assert density(found).argmin() == 7
    assert label_agreement(found, given).argmin() in (3, 7)
    assert label_agreement(found, given)[3] == 0
