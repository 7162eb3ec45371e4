"""How alike two signals rank the same samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import kendalltau


def rank_correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Spearman's ρ of two signals on the same (N,) samples, ties sharing their mean rank.

    Returns:
        −1 … 1; NaN with fewer than two samples or where one signal is constant.
    """
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    ranks = [np.asarray(pd.Series(values).rank(), dtype=np.float64) for values in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def kendall_correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Kendall's τ-b of two signals on the same (N,) samples: how many more pairs they order alike than otherwise.

    Returns:
        −1 … 1; NaN with fewer than two samples or where one signal is constant.
    """
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(kendalltau(a, b).statistic)
