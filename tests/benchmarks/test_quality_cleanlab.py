"""cleanlab's decisions as the benchmark reads them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.quality_cleanlab import OURS, RULES, decided, lowest, rows
from benchmarks.quality_frozen import Cell


def test_decided_by_hand() -> None:
    dropped, wrong = np.array([1, 1, 0, 0, 0], dtype=bool), np.array([1, 0, 1, 1, 0], dtype=bool)
    assert decided(dropped, wrong) == pytest.approx({"dropped": 0.4, "precision": 0.5, "recall": 1 / 3, "f1": 0.4})


def test_lowest_drops_exactly_so_many_though_they_tie() -> None:
    assert lowest(np.zeros(5, np.float32), 2).sum() == 2


def test_every_decision_finds_labels_that_clearly_lie_elsewhere() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 60)
    features = (np.eye(3)[truth] * 6 + rng.normal(size=(180, 3))).astype(np.float32)
    wrong = rng.random(180) < 0.1
    labels = np.where(wrong, (truth + 1) % 3, truth)
    cell = Cell("made up", "clean", 0, wrong, dict.fromkeys(OURS, (~wrong).astype(np.float32)))
    table = pd.DataFrame(rows(cell, features, labels)).set_index("filter")
    assert len(table) == len(RULES) + 1 + len(OURS)
    assert (table.f1.drop("find_label_issues, both") > 0.8).all(), table
    assert table.auroc["Datalab"] > 0.95
