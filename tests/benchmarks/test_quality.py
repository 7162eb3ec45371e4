"""The quality benchmark's own arithmetic: kinds of fault are told apart, intervals hold what they should."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.quality import correlations, detection_by_fault, with_intervals


def rows(count: int = 600) -> pd.DataFrame:
    """A third uniform faults, which `sharp` finds all, a third confusable, which it does not see at all."""
    rng = np.random.default_rng(0)
    fault = np.repeat(["none", "uniform", "confusable"], count // 3)
    sharp = rng.normal(size=count).astype(np.float32) - 100 * (fault == "uniform")
    return pd.DataFrame({"fault": fault, "wrong": fault != "none", "sharp": sharp, "noise": rng.normal(size=count)})


def test_each_kind_of_fault_is_compared_with_the_right_labels() -> None:
    table = detection_by_fault(rows(), ["noise", "sharp"], draws=50).set_index(["faults", "signal"])
    assert table.wrong.groupby("faults").first().to_dict() == {"all": 400, "confusable": 200, "uniform": 200}
    assert table.loc[("uniform", "sharp"), ["auroc", "average_precision", "f1"]].tolist() == [1, 1, 1]
    assert table.auroc["confusable", "sharp"] == pytest.approx(0.5, abs=0.1)
    assert table.auroc["all", "sharp"] == pytest.approx((1 + table.auroc["confusable", "sharp"]) / 2)
    assert table.loc["uniform"].index[0] == "sharp"  # best first


def test_the_interval_has_the_width_that_theory_gives() -> None:
    rng = np.random.default_rng(1)
    wrong = np.repeat([True, False], 400)
    found = with_intervals(rng.normal(size=800).astype(np.float32), wrong, draws=400)
    assert found["auroc_low"] < found["auroc"] < found["auroc_high"]
    # standard error of a useless score's AUROC (Mann-Whitney): sqrt((m + n + 1) / 12 mn)
    expected = 2 * 1.96 * np.sqrt(801 / (12 * 400 * 400))
    assert found["auroc_high"] - found["auroc_low"] == pytest.approx(expected, rel=0.15)


def test_the_same_seed_gives_the_same_interval() -> None:
    table = rows()
    scores, wrong = table.sharp.to_numpy(), table.wrong.to_numpy()
    assert with_intervals(scores, wrong, draws=20) == with_intervals(scores, wrong, draws=20)


def test_correlations_are_of_ranks() -> None:
    values = np.array([1, 2, 3, 4], np.float32)
    table = correlations({"a": values, "b": np.exp(values), "c": -values})
    assert table.set_index("signal").loc["a"].tolist() == pytest.approx([1, 1, -1])
