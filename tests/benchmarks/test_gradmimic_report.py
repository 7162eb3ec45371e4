"""The tables' figures by hand: shares of the gap, steps, F1 by a line, cells in which an arm is ahead."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import gradmimic_cells as cells
from benchmarks import gradmimic_filters as filters
from benchmarks import gradmimic_report as reports
from benchmarks.gradmimic_data import Pictures, noisy, split
from benchmarks.gradmimic_probe import Trained
from benchmarks.gradmimic_weights import Arm
from mimic.scores.heads import Head

torch.set_num_threads(1)
HEAD = Head(torch.zeros(10, 2), torch.zeros(10))


def small_pictures(count: int = 600) -> tuple[Pictures, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 10, count)
    features = rng.normal(size=(count, 16)).astype(np.float32)
    features[np.arange(count), truth] += 4
    return Pictures("digits", np.zeros((count, 8, 8), np.uint8), truth, 10, 0, {}), features


def outcome_rows() -> pd.DataFrame:
    rows = []
    for seed, extra in ((0, 0.0), (1, 1.0)):
        for labels, sgd in (("symmetric 0.5", 60.0), ("asymmetric 0.4", 70.0)):
            for reference, arm, accuracy in (
                ("", "SGD", sgd),
                ("clean", "Grad-Mimic", sgd + 6 + extra),
                ("clean", "reference", 80.0),
            ):
                rows.append({"dataset": "d", "labels": labels, "seed": seed, "reference": reference, "arm": arm,
                             "accuracy": accuracy, "loss": 1.0, "steps": 0.5})  # fmt: skip
    return pd.DataFrame(rows)


def test_the_share_of_the_gap_is_pooled_over_cells_split_by_split():
    shares = reports.gap_shares(outcome_rows(), "clean", "Grad-Mimic")
    assert shares.tolist() == pytest.approx([12 / 30, 14 / 30])
    wide = reports.beside(outcome_rows(), "clean", ["Grad-Mimic"])
    assert reports.ahead(wide) == "2 of 2 cells"
    assert reports.ahead(wide, "reference") == "0 of 2 cells"
    assert reports.gain(wide, "SGD") == "6.50 ± 0.50"


def test_steps_to_a_loss_lie_between_the_points_of_the_curve():
    def curve(*losses: float) -> Trained:
        return Trained(Arm("", "uniform", ""), HEAD, 0, 0, [10, 20, 30, 40], [*losses])

    assert cells.share_of_steps(curve(2.0, 1.0, 0.5, 0.5), 1.5) == pytest.approx(15 / 40)
    assert cells.share_of_steps(curve(2.0, 1.0, 0.5, 0.5), 0.5) == pytest.approx(30 / 40)
    assert np.isnan(cells.share_of_steps(curve(2.0, 2.0, 2.0, 2.0), 1.0))


def test_f1_and_the_best_line():
    scores, wrong = np.array([0.0, 1, 2, 2, 3]), np.array([True, False, True, False, False])
    assert filters.f1(scores < 1, wrong) == pytest.approx(100 * 2 / 3)
    assert filters.best_f1(scores, wrong) == pytest.approx(100 * 4 / 6)  # the tie at 2 is never parted
    for line in (0.5, 1.5, 2.5, 3.5):
        assert filters.f1(scores < line, wrong) <= filters.best_f1(scores, wrong) + 1e-9


def test_decisions_by_hand():
    scores = np.array([[-1, -1], [-1, 3], [1, 1]], np.float32)
    weights = np.array([[0.5, 0.5], [0.5, 2.0], [2.0, 0.5]], np.float32)
    found = filters.decisions(scores, weights)
    assert found["score ≥ 0", "mean score"].tolist() == [True, False, False]
    assert found["score ≥ 0", "majority of visits"].tolist() == [True, False, False]  # ties keep
    assert found["weight ≥ 1/b", "mean score"].tolist() == [True, False, False]
    assert found["top half", "mean score"].tolist() == [True, False, False]


def test_one_split_from_references_to_filters(monkeypatch):
    pictures, features = small_pictures()
    monkeypatch.setattr(cells, "recipe_for", lambda _: cells.Recipe(epochs=3, rate=1e-2))
    monkeypatch.setattr("benchmarks.gradmimic_data.SMALL_TEST", 200)
    unit = cells.prepare(pictures, features, seed=0)
    outcomes, recorded = cells.outcomes(unit)
    rows = pd.DataFrame(outcomes + filters.on_what_is_kept(unit, recorded))
    assert not rows.duplicated([*reports.CELL, "reference", "arm", "seed"]).any()
    wide = reports.beside(rows, "clean", ["Grad-Mimic", "SGD on what the filter keeps"])
    assert wide.notna().all().all()
    assert (wide["Grad-Mimic"] >= wide["SGD"] - 5).all()
    for trained in filters.judged(recorded):
        assert trained.scores.isfinite().all()
        for row in filters.detection(unit, trained):
            assert row["aggregator"] != "mean score" or row["f1"] <= row["best f1"] + 20
            assert 0 <= row["f1"] <= 100
    kept = pd.DataFrame(filters.subsets(unit))
    assert set(kept.share) == {0.5, 0.6, 0.7, 0.8, 1.0}
    shown = reports.probe(pd.DataFrame(rows), write=False)
    assert "4 of 4 cells" in shown


def test_the_choice_sees_noisy_labels_only(monkeypatch):
    pictures, features = small_pictures()
    monkeypatch.setattr(cells, "recipe_for", lambda _: cells.Recipe(epochs=1, rate=1e-2))
    monkeypatch.setattr("benchmarks.gradmimic_data.SMALL_TEST", 100)
    unit = cells.prepare(pictures, features, seed=0, held_out=0.2)
    parts, labels = split(pictures, 0), noisy(pictures, 0)
    held = parts.judged[round(len(parts.judged) * 0.8) :]
    assert unit.data.test_labels["symmetric 0.5"].tolist() == labels["symmetric 0.5"][held].tolist()
    assert len(unit.data.features) + len(held) == len(parts.judged)
    rows = pd.DataFrame(cells.choice(unit))
    assert {"mimic", "cosine", "rho", "reference_loss"} == set(rows.kind)
    assert not rows.duplicated(["labels", "reference", "kind", "policy"]).any()


def test_halves_and_test_photos_are_apart():
    pictures, _ = small_pictures(1200)
    parts = split(pictures, 3)
    assert len(parts.judged) == len(parts.theirs) == 350
    assert sorted(np.concatenate([parts.judged, parts.theirs, parts.test]).tolist()) == list(range(1200))
    assert not np.array_equal(split(pictures, 4).judged, parts.judged)
