"""What retraining showed: averages, paired errors, and when a budget may be said to beat keeping everything."""

import numpy as np
import pandas as pd
import pytest

from mimic.evaluation.retraining import best, curves

TEST = 2000


def fits(gains: dict[str, float], seeds: int = 5, churn: float = 0.0) -> pd.DataFrame:
    """Everything is right on 80 %; each filter at 0.9 turns a share of the test samples round, and churns others."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        base = rng.random(TEST) < 0.8
        for name, gain in {"": 0.0, **gains}.items():
            correct = base.copy()
            turned = rng.choice(np.flatnonzero(base != (gain > 0)), round(abs(gain) * TEST), replace=False)
            correct[turned] = gain > 0
            correct ^= (rng.random(TEST) < churn) & bool(name)
            arm, budget = ("everything", 1.0) if not name else ("kept", 0.9)
            rows.append((arm, name, budget, seed, 100.0, correct.mean(), correct))
        rows.append(("random", "", 0.9, seed, 90.0, base.mean(), base))
    return pd.DataFrame(rows, columns=["arm", "filter", "budget", "seed", "kept", "accuracy", "correct"])


def test_averages_and_paired_errors():
    made = fits({"a": 0.05})
    table = curves(made).set_index(["arm", "filter"])
    own, everything = (made[made["filter"] == name].sort_values("seed") for name in ("a", ""))
    everything = everything[everything["arm"] == "everything"]
    assert table.loc[("kept", "a"), "accuracy"] == pytest.approx(own["accuracy"].mean())
    assert table.loc[("kept", "a"), "gain"] == pytest.approx(0.05)
    assert table.loc[("kept", "a"), "over_random"] == pytest.approx(0.05)
    gap = np.stack(own["correct"].tolist()).astype(float) - np.stack(everything["correct"].tolist())
    error = np.sqrt(gap.mean(axis=0).var(ddof=1) / TEST + gap.mean(axis=1).var(ddof=1) / 5)
    assert table.loc[("kept", "a"), "gain_error"] == pytest.approx(error)
    assert table.loc[("everything", ""), "gain_error"] == 0


def test_the_best_is_named_only_where_it_is_beyond_doubt():
    top = best(curves(fits({"a": 0.05, "b": 0.01})))
    assert top is not None
    assert (top.filter, top.beats, top.near) == ("a", True, 0)
    assert "a that keeps 90% beats keeping everything: +5.0 points" in top.sentence
    doubtful = best(curves(fits({"a": 0.033, "b": -0.02}, churn=0.05)))
    assert doubtful is not None
    assert not doubtful.beats
    assert doubtful.sentence.startswith("No budget beats keeping everything beyond doubt: the best of 2 tried is a")
    assert doubtful.low < 0 < doubtful.high


def test_the_more_is_tried_the_wider_the_interval_of_the_best():
    few, many = (best(curves(fits({f"f{i}": 0.01 for i in range(count)}))) for count in (2, 30))
    assert few is not None
    assert many is not None
    assert many.high - many.low > few.high - few.low


def test_nothing_tried_is_none():
    assert best(curves(fits({}))) is None
