"""What the benchmark grades is what it says: pairs, clean sets, hits; on made-up rows and on a cell of real digits."""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.evaluate import advised, estimates, graded, hit
from benchmarks.evaluate_cells import parts, signals, versions

NOTHING = argparse.Namespace()


def rows(**columns: object) -> pd.DataFrame:
    made = {"rate": [0.0, 0.1, 0.2], "true": [1.0, 0.9, 0.8], "share": [0.99, 0.93, 0.95], "low": [0.97, 0.9, 0.9],
            "high": [1.0, 0.95, 0.97], "covers": [True, True, False], "noisy": [False, True, True]}  # fmt: skip
    return pd.DataFrame(made | columns)


def test_the_grades_of_an_estimate():
    grades = graded(rows())
    assert grades["mean error"] == pytest.approx((0.01 + 0.03 + 0.15) / 3)
    assert grades["covered"] == pytest.approx(2 / 3)
    assert (grades["pairs"], grades["clean called noisy"]) == (3, 0)
    assert grades["ranked rightly"] == pytest.approx(2 / 3)  # 0.93 < 0.95 though 0.9 > 0.8
    assert graded(rows(noisy=[True, True, True]))["clean called noisy"] == 1


def test_a_hit_is_within_a_standard_error_of_the_best():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 2000)
    views = np.full((2000, 3), -9.0, np.float32)
    views[np.arange(2000), labels] = 0
    given = np.where(rng.random(2000) < 0.2, (labels + 1) % 3, labels)
    table = pd.DataFrame(
        [("everything", "", 1.0, 0.8), ("kept", "ref_logprob", 0.7, 0.85), ("kept", "ref_logprob", 0.9, 0.86)],
        columns=["arm", "filter", "budget", "accuracy"],
    ).assign(error=0.02, gain_error=0.005)
    found = hit({"source": "made up"}, table, advised(table, views, given))
    assert (found["advised"], found["accuracy"], found["best"]) == ("ref_logprob", 0.85, 0.86)
    assert (found["hit"], found["hit_own"], found["everything"]) == (True, False, False)
    assert hit({"source": "made up"}, table, advised(table, views, labels))["everything"]


def test_a_cell_of_digits():
    torch.set_num_threads(1)
    part = next(parts("digits", NOTHING, 1, 500))
    assert not set(part.theirs) & set(part.judged)
    assert not set(part.tested) & {*part.judged, *part.theirs}
    labels = versions(part, (0.3,))["symmetric 0.3"]
    assert (labels != part.truth).mean() == pytest.approx(0.3, abs=0.04)
    found = signals(part, labels[part.judged], part.reference)
    wrong = labels[part.judged] != part.truth[part.judged]
    assert all(values[wrong].mean() < values[~wrong].mean() for values in found.values())
    whole = pd.DataFrame(estimates(next(parts("digits", NOTHING, 1)))).set_index("labels")
    assert abs(whole.loc["symmetric 0.3", "share"] - whole.loc["symmetric 0.3", "true"]) < 0.03
