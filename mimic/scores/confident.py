"""Confident learning, by cleanlab itself, on probabilities that no sample had a part in (Northcutt et al. 2021)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mimic.errors import MissingExtra
from mimic.losses import NO_LABEL


def label_quality(log_probs: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """cleanlab's label quality score by its default method, self-confidence.

    Its adjustment by each class's mean confidence stays off, as is cleanlab's default: with it fewer made-up mistakes
    in Fashion-MNIST were found (AUROC .854 against .906 on average). Classes that nobody was given take no part.

    Args:
        log_probs: (N, K) out-of-fold, in nats.
        labels: (N,) int64, 0 … K−1; −1: none.

    Returns:
        (N,) 0 … 1; NaN for a sample without a label.

    Raises:
        MissingExtra: cleanlab is not installed.
    """
    try:
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        raise MissingExtra("the signal confident", "baselines") from None
    has = labels != NO_LABEL
    present, codes = np.unique(labels[has], return_inverse=True)
    quality = np.full(len(labels), np.nan, np.float32)
    probabilities = np.exp(log_probs[has][:, present].astype(np.float64))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    quality[has] = get_label_quality_scores(codes, probabilities, method="self_confidence")
    return quality
