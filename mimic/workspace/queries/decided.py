"""Where the samples that people decided about lie on a signal, or on two: a layer over its figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from mimic.workspace.queries.audit import scores_of
from mimic.workspace.queries.connection import Published

MOST = 2_000


def decided_scores(published: Published, signal: str, decided: pa.Table, most: int = MOST) -> pd.DataFrame:
    """Scores of decided samples, or of a fixed draw of `most` of them; those without the signal are left out.

    Args:
        decided: columns sample and action, as `decisions.overruling` gives them.

    Returns:
        Columns action (keep, drop, relabel), score, in the order of the samples.
    """
    if not decided.num_rows:
        return pd.DataFrame(columns=["action", "score"])
    decided = _drawn(decided, most)
    scores = scores_of(published, signal, decided["sample"].to_pylist())
    frame = pd.DataFrame({"action": decided["action"].to_pylist(), "score": scores})
    return frame.dropna(subset=["score"]).reset_index(drop=True)


def decided_pairs(decided: pa.Table, a: NDArray[np.float32], b: NDArray[np.float32], most: int = MOST) -> pd.DataFrame:
    """Both scores of decided samples, as `decided_scores` gives one; those that lack either are left out.

    Args:
        a, b: (size,) scores by sample number, NaN = none.

    Returns:
        Columns action, a, b.
    """
    decided = _drawn(decided, most)
    samples = decided["sample"].to_numpy()
    frame = pd.DataFrame({"action": decided["action"].to_pylist(), "a": a[samples], "b": b[samples]})
    return frame.dropna(subset=["a", "b"]).reset_index(drop=True)


def _drawn(decided: pa.Table, most: int) -> pa.Table:
    if decided.num_rows <= most:
        return decided
    return decided.take(pa.array(np.sort(np.random.default_rng(0).choice(decided.num_rows, most, replace=False))))
