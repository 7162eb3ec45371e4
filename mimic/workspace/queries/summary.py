"""What a run is like at a glance: spread of each signal, counts, failures."""

from __future__ import annotations

import pandas as pd

from mimic.workspace.queries.connection import Published, tables
from mimic.workspace.queries.once import once
from mimic.workspace.queries.threshold import score_at_rank


@once(32)
def signal_summary(published: Published) -> pd.DataFrame:
    """One row a signal, in the run's order.

    Returns:
        Columns signal, scored, not_scored, mean, deviation, low, median, high, positive (the share above 0). The median
        is the lower of the two middle scores.
    """
    facts = {
        "scored": "count({s})",
        "not_scored": "count(*) - count({s})",
        "mean": "avg({s})",
        "deviation": "stddev_samp({s})",
        "low": "min({s})",
        "high": "max({s})",
        "positive": "count(*) FILTER ({s} > 0) / nullif(count({s}), 0)",
    }
    columns = [sql.format(s=published.column(signal)) for signal in published.signals for sql in facts.values()]
    with tables(published) as t:
        found = t.rows(f"SELECT {', '.join(columns)} FROM {t.scores}")[0]
    rows = [found[start : start + len(facts)] for start in range(0, len(found), len(facts))]
    frame = pd.DataFrame(rows, columns=list(facts)).astype(dict.fromkeys(list(facts)[2:], float))
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
