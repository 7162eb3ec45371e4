"""What a run is like at a glance: spread of each signal, counts, failures."""

from __future__ import annotations

from functools import lru_cache

import pandas as pd

from mimic.workspace.queries.connection import Published, tables
from mimic.workspace.queries.threshold import score_at_rank


@lru_cache(maxsize=32)
def signal_summary(published: Published) -> pd.DataFrame:
    """One row a signal, in the run's order.

    Returns:
        Columns signal, scored, not_scored, mean, deviation, low, median, high, positive (the share above 0). The median
        is the lower of the two middle scores.
    """
    with tables(published) as t:
        parts = []
        for signal in published.signals:
            s = published.column(signal)
            parts.append(
                f"SELECT count({s}) AS scored, count(*) - count({s}) AS not_scored, avg({s}) AS mean,"
                f" stddev_samp({s}) AS deviation, min({s}) AS low, max({s}) AS high,"
                f" count(*) FILTER ({s} > 0) / nullif(count({s}), 0) AS positive FROM {t.scores}"
            )
        frame = t.frame(" UNION ALL BY NAME ".join(f"SELECT {i} AS place, * FROM ({p})" for i, p in enumerate(parts)))
    frame = frame.sort_values("place", ignore_index=True).drop(columns="place")
    frame.insert(0, "signal", list(published.signals))
    middles = [
        score_at_rank(published, signal, (int(scored) + 2) // 2) if scored else float("nan")
        for signal, scored in zip(frame["signal"], frame["scored"], strict=True)
    ]
    frame.insert(6, "median", middles)
    return frame


def failures(published: Published, limit: int = 100) -> pd.DataFrame:
    """The first samples that could not be scored: columns sample, id, path, reason; at most `limit` ≤ 1,000 rows."""
    with tables(published) as t:
        return t.frame(f"SELECT sample, id, path, reason FROM {t.failures} ORDER BY sample LIMIT ?", [min(limit, 1000)])


def failure_reasons(published: Published) -> pd.DataFrame:
    """Reasons for not being scored, the commonest first: columns reason, samples; at most 20 rows."""
    with tables(published) as t:
        return t.frame(
            f"SELECT reason, count(*) AS samples FROM {t.failures}"
            f" GROUP BY reason ORDER BY samples DESC, reason LIMIT 20"
        )
