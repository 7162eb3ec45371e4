"""Curves: whole lines only, forgotten where a resumed training makes them again, the same once published."""

from pathlib import Path

import duckdb
import numpy as np

from mimic.workspace.curves import append_point, by_epoch, curves_table, forget_points, read_curves, standing
from mimic.workspace.layout import Run


def point(step: int, **further: float) -> dict[str, object]:
    return {"arm": "grad_mimic", "epoch": 0, "step": step, "split": "train", "samples": 8, "loss": 0.1} | further


def test_points_come_back_in_order_and_a_torn_line_does_not_count(tmp_path: Path) -> None:
    run = Run(tmp_path, {})
    assert read_curves(run).empty
    append_point(run, point(1, ess=0.5))
    append_point(run, point(2))
    with (tmp_path / "curves.jsonl").open("a") as file:
        file.write('{"arm": "grad_mi')
    found = read_curves(run)
    assert found["step"].tolist() == [1, 2]
    assert found["ess"].tolist()[0] == 0.5
    assert np.isnan(found["ess"].tolist()[1])
    forget_points(run, lambda each: each["step"] < 2)
    append_point(run, point(2, loss=0.7))
    assert read_curves(run)["loss"].tolist() == [0.1, 0.7]


def test_the_published_table_is_what_was_read_before(tmp_path: Path) -> None:
    run = Run(tmp_path, {})
    for step in range(5):
        append_point(run, point(step, accuracy=step / 7))
    before = read_curves(run)
    with duckdb.connect(tmp_path / "scores.duckdb") as connection:
        curves_table(connection, run)
    after = read_curves(Run(tmp_path, {"published": "scores.duckdb"}))
    assert after.columns.tolist() == before.columns.tolist()
    np.testing.assert_array_equal(after["accuracy"], before["accuracy"])
    assert after["arm"].tolist() == before["arm"].tolist()


def test_training_stands_at_the_mean_over_its_last_epoch_s_samples(tmp_path: Path) -> None:
    run = Run(tmp_path, {})
    append_point(run, point(1, samples=32, accuracy=0.1, mean_score=1.0))
    for step, samples, right, score in ((2, 32, 24, -1.0), (3, 4, 1, 3.0)):
        append_point(run, point(step, epoch=1, samples=samples, accuracy=right / samples, mean_score=score))
    append_point(run, point(1, split="truth", samples=9, accuracy=0.2))
    append_point(run, point(3, epoch=1, split="truth", samples=9, accuracy=0.7))
    append_point(run, point(1, arm="uniform", samples=32, accuracy=0.5))
    last = standing(read_curves(run)).set_index(["arm", "split"])
    ours = last.loc["grad_mimic", "train"]
    assert (ours.samples, ours.accuracy, ours.mean_score) == (36, 25 / 36, (-32 + 12) / 36)
    assert last.loc["grad_mimic", "truth"].accuracy == 0.7
    assert last.loc["uniform", "train"].accuracy == 0.5
    assert np.isnan(last.loc["uniform", "train"].mean_score)
    assert by_epoch(read_curves(run), "grad_mimic")["samples"].tolist() == [32, 36]
