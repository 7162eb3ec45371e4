"""Where the samples that people decided about lie on a signal: a layer over its bars."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

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
    if decided.num_rows > most:
        drawn = np.sort(np.random.default_rng(0).choice(decided.num_rows, most, replace=False))
        decided = decided.take(pa.array(drawn))
    if not decided.num_rows:
        return pd.DataFrame(columns=["action", "score"])
    scores = scores_of(published, signal, decided["sample"].to_pylist())
    frame = pd.DataFrame({"action": decided["action"].to_pylist(), "score": scores})
    return frame.dropna(subset=["score"]).reset_index(drop=True)
