"""What the visits of training say of a sample: signals of its margins, one a visit. Torch-free."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def margin_mean(margins: NDArray[np.float32]) -> NDArray[np.float32]:
    """Area under the margin (Pleiss et al. 2020, arXiv 2001.10528): the mean over visits.

    Args:
        margins: (N, V) in logits; NaN rows for samples without a label.

    Returns:
        (N,).
    """
    mean: NDArray[np.float32] = margins.mean(axis=1)
    return mean


def forgetting(margins: NDArray[np.float32]) -> NDArray[np.float32]:
    """−(how often a sample was learnt and then lost), −V where it never was (Toneva et al. 2019, arXiv 1812.05159).

    Args:
        margins: (N, V); positive where the model agrees with the label.

    Returns:
        (N,) −V … 0; NaN where a margin is.
    """
    right = margins > 0
    lost = (right[:, :-1] & ~right[:, 1:]).sum(axis=1)
    events = np.where(right.any(axis=1), lost, margins.shape[1])
    return np.where(np.isnan(margins).any(axis=1), np.nan, -events).astype(np.float32)
