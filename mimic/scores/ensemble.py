"""One signal out of all: how likely the given label is the meant one, by the reference and by the data itself.

It needs no truth. The rule was fixed on Fashion-MNIST with made-up noise (docs/results.md) before real mistakes were
looked at. Stages, with r the reference's log-probabilities of the K classes:

1. Which classes are taken for which: EM estimates the flip matrix T[meant, given] from r and the given labels.
2. A head on the features, out of fold, its loss corrected by T → s. T again, from the product of both experts, r + s.
3. What each label was meant to be, as probabilities: (r + s) / 2 and T, by Bayes. Heads are taught those instead of the
   given labels: out of fold → s', and in sample → the margin of the given label, averaged over visits.
4. The mean of the normal scores of three views of the given label: log-probability under the product r + s'; log-odds
   of (r + s') / 2 after T; the mean margin.

Each view fails elsewhere: the product where labels are flipped class by class, the odds where single hard pictures
are mistaken, the margin where the reference is far better than the data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp, ndtri
from scipy.stats import rankdata

from mimic.losses import NO_LABEL
from mimic.scores.heads import Belief, Frozen, out_of_fold, visit_margins

_ROUNDS = 30  # of EM; the matrix moves in the fourth digit after about ten
_PRIOR = 10.0  # samples a class that are believed beforehand: half of them right, half spread over the other classes


def ensemble(frozen: Frozen, reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """The combined signal.

    Args:
        frozen: features and given labels.
        reference: (N, K) log-probabilities of a model that was not trained on these labels.

    Returns:
        (N,) mean normal score, about −3 … 3; NaN for a sample without a label.
    """
    labels = frozen.labels
    r = reference.astype(np.float64)
    s = out_of_fold(frozen, Belief(flips=flip_matrix(r, labels)))
    flips = flip_matrix(log_softmax(r + s, axis=1), labels)
    taught = Belief(targets=np.exp(meant(log_softmax((r + s) / 2, axis=1), labels, flips)))
    s = out_of_fold(frozen, taught)
    return mean_normal_score(
        [
            given(log_softmax(r + s, axis=1), labels),
            log_odds(meant(log_softmax((r + s) / 2, axis=1), labels, flips), labels),
            visit_margins(frozen, taught).mean(axis=1),
        ]
    )


def flip_matrix(log_probs: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often a sample meant as one class was given another's label, by expectation-maximisation.

    The meant class z is hidden: P(z | picture) is what a model says, P(given | z) = T[z, given] for every picture.

    Args:
        log_probs: (N, K) in nats.
        labels: (N,) int64; −1: none, left out.

    Returns:
        (K, K), rows sum to 1.
    """
    classes = log_probs.shape[1]
    rows = labels != NO_LABEL
    one_hot = np.eye(classes)[labels[rows]]
    prior = np.full((classes, classes), _PRIOR / 2 / max(classes - 1, 1))
    np.fill_diagonal(prior, _PRIOR / 2)
    flips = 0.4 * prior / prior.sum(axis=1, keepdims=True) + 0.6 * np.eye(classes)
    for _ in range(_ROUNDS):
        counts = np.exp(meant(log_probs[rows], labels[rows], flips)).T @ one_hot + prior
        flips = counts / counts.sum(axis=1, keepdims=True)
    return np.asarray(flips, dtype=np.float64)


def meant(log_probs: NDArray[np.float64], labels: NDArray[np.int64], flips: NDArray[np.float64]) -> NDArray[np.float64]:
    """log P(meant class | picture, given label) by Bayes, (N, K); without a label what the picture alone says."""
    likelihood = np.where((labels == NO_LABEL)[:, None], 0.0, np.log(flips[:, labels].T))
    posterior: NDArray[np.float64] = log_softmax(log_probs + likelihood, axis=1)
    return posterior


def given(log_probs: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The given label's entry of each row; NaN without a label."""
    own: NDArray[np.float64] = np.take_along_axis(log_probs, np.maximum(labels, 0)[:, None], axis=1)[:, 0]
    known: NDArray[np.float64] = np.where(labels == NO_LABEL, np.nan, own)
    return known


def log_odds(log_probs: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """log P(given) − log P(any other), which keeps ranking where log P(given) is 0 to the last digit."""
    others = log_probs.copy()
    np.put_along_axis(others, np.maximum(labels, 0)[:, None], -np.inf, axis=1)
    odds: NDArray[np.float64] = given(log_probs, labels) - logsumexp(others, axis=1)
    return odds


def mean_normal_score(signals: list[NDArray[np.floating]]) -> NDArray[np.float32]:
    """Each signal's ranks as quantiles of the normal distribution, averaged: scales and outliers no longer matter.

    Returns:
        (N,); NaN where any of them is.
    """
    return np.asarray(np.mean([_normal_scores(each) for each in signals], axis=0), dtype=np.float32)


def _normal_scores(signal: NDArray[np.floating]) -> NDArray[np.float64]:
    scores = np.full(len(signal), np.nan)
    known = ~np.isnan(signal)
    scores[known] = ndtri((rankdata(signal[known]) - 0.5) / max(known.sum(), 1))
    return scores
