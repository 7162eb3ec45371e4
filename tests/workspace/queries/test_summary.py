"""A run at a glance, against NumPy."""

import numpy as np
import pytest

from mimic.workspace.queries.summary import failure_reasons, failures, signal_summary


def test_summary_of_every_signal(known):
    summary = signal_summary(known.published).set_index("signal")
    assert list(summary.index) == list(known.scores)
    for signal, column in known.scores.items():
        row, scored = summary.loc[signal], column[~np.isnan(column)].astype(np.float64)
        assert (row["scored"], row["not_scored"]) == (scored.size, column.size - scored.size)
        if not scored.size:
            assert row[["mean", "low", "median", "high", "positive"]].isna().all()
            continue
        assert row["mean"] == pytest.approx(scored.mean(), abs=1e-6)
        assert row["deviation"] == pytest.approx(scored.std(ddof=1), abs=1e-6)
        assert (row["low"], row["high"]) == (scored.min(), scored.max())
        assert row["median"] == np.sort(scored)[(scored.size - 1) // 2]
        assert row["positive"] == pytest.approx((scored > 0).mean())


def test_failures_are_listed_and_counted_by_reason(known):
    bad = np.flatnonzero(np.isnan(known.scores["mimic"]))
    assert failures(known.published, 7)["sample"].tolist() == bad[:7].tolist()
    reasons = failure_reasons(known.published)
    assert dict(zip(reasons["reason"], reasons["samples"], strict=True)) == {
        f"no {k}": int((bad % 3 == k).sum()) for k in range(3)
    }
    assert reasons["samples"].is_monotonic_decreasing
