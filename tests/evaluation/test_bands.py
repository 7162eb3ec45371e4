"""Detection with bands: the point is `detection`'s, the spread DeLong's, ties and weights as they must be."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mimic.errors import MimicError
from mimic.evaluation import bands
from mimic.evaluation.detection import auroc, auroc_difference, auroc_error, average_precision, f1_at_budget


def known(wrong: np.ndarray, weight: np.ndarray | None = None, stratum: np.ndarray | None = None) -> bands.Known:
    n = len(wrong)
    return bands.Known(
        np.arange(n),
        wrong,
        np.ones(n) if weight is None else weight.astype(float),
        np.zeros(n, dtype=np.int64) if stratum is None else stratum,
        "a test",
    )


def scores(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    wrong = rng.random(n) < 0.2
    hard = rng.normal(size=n)
    a, b = (hard + rng.normal(size=n) - gap * wrong for gap in (2.2, 2.0))
    return wrong, a.astype(np.float32), b.astype(np.float32)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=6, max_size=60), st.floats(0, 1))
def test_the_points_are_those_of_detection(rows, share):
    wrong, values = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], dtype=np.float32)
    if wrong.sum() < 2 or (~wrong).sum() < 2:
        with pytest.raises(MimicError, match="two of each"):
            bands.detect({"a": values}, known(wrong))
        return
    found = bands.detect({"a": values}, known(wrong), drop=share)["a"].point
    assert found["auroc"] == pytest.approx(auroc(values, wrong))
    assert found["average_precision"] == pytest.approx(average_precision(values, wrong))
    assert found["f1"] == pytest.approx(f1_at_budget(values, wrong, int(share * len(wrong) + 1e-7)))
    assert found["recall"] == pytest.approx(1 - found["false_negative_rate"])


@pytest.mark.parametrize("n", [600, 20_000])
def test_the_spread_is_delongs(n):
    wrong, a, b = scores(n, 1)
    found = bands.detect({"a": a, "b": b}, known(wrong))
    assert np.std(found["a"].draws["auroc"]) == pytest.approx(auroc_error(a, wrong), rel=0.15)
    paired = found["a"].draws["auroc"] - found["b"].draws["auroc"]
    assert np.std(paired) == pytest.approx(auroc_difference(a, b, wrong)[1], rel=0.15)
    row = bands.differences(found, "b").iloc[0]
    assert row.difference == pytest.approx(auroc_difference(a, b, wrong)[0])
    assert row.low < row.difference < row.high


def test_weights_stand_for_samples():
    wrong, a, _ = scores(400, 2)
    weight = np.random.default_rng(0).integers(1, 5, 400)
    one = bands.detect({"a": a}, known(wrong, weight), drop=0.3)["a"].point
    many = bands.detect({"a": np.repeat(a, weight)}, known(np.repeat(wrong, weight)), drop=0.3)["a"].point
    assert one == pytest.approx(many)
    assert one["auroc"] == pytest.approx(roc_auc_score(wrong, -a, sample_weight=weight))


def test_a_filter_is_judged_at_what_it_drops():
    wrong, a, _ = scores(500, 3)
    kept = (a >= np.quantile(a, 0.37)).astype(np.float32)
    found = bands.detect({"kept": kept}, known(wrong), {"kept": float((kept == 0).mean())})["kept"].point
    dropped = kept == 0
    assert found["precision"] == pytest.approx(wrong[dropped].mean())
    assert found["recall"] == pytest.approx(dropped[wrong].mean())


def test_bands_hold_their_curves():
    wrong, a, _ = scores(800, 4)
    found = bands.detect({"a": a}, known(wrong))["a"]
    for band in (found.roc, found.pr):
        assert (band["low"] <= band["y"]).all()
        assert (band["y"] <= band["high"]).all()
    assert np.trapezoid(found.roc["y"], found.roc["x"]) == pytest.approx(found.point["auroc"], abs=0.01)


@pytest.mark.slow
def test_intervals_cover():
    wrong, a, b = scores(200_000, 5)
    rng = np.random.default_rng(0)
    truth = bands.detect({"a": a, "b": b}, known(wrong), drop=0.2)
    gap = truth["a"].point["auroc"] - truth["b"].point["auroc"]
    low, high = np.flatnonzero(a < np.quantile(a, 0.2)), np.flatnonzero(a >= np.quantile(a, 0.2))
    hits = []
    for seed in range(1000):
        simple = rng.integers(0, len(a), 600)
        audit = np.concatenate([rng.choice(low, 150, replace=False), rng.choice(high, 150, replace=False)])
        weight = np.repeat([len(low) / 150, len(high) / 150], 150)
        stratum = np.repeat([0, 1], 150)
        row = []
        for rows, what in ((simple, known(wrong[simple])), (audit, known(wrong[audit], weight, stratum))):
            found = bands.detect({"a": a[rows], "b": b[rows]}, what, drop=0.2, seed=seed)
            one, pair = bands.table(found).set_index("signal").loc["a"], bands.differences(found, "b").iloc[0]
            for figure in ("auroc", "average_precision", "recall"):
                row.append(one[f"{figure}_low"] <= truth["a"].point[figure] <= one[f"{figure}_high"])
            row.append(pair.low <= gap <= pair.high)
        hits.append(row)
    assert pd.DataFrame(hits).mean().min() >= 0.91  # 1,000 draws: 2.5 standard errors below 93 %
