"""A training run is the plain loop, whatever kills it, and leaves visits, curves and models."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from mimic import GradMimic
from mimic.errors import MimicError
from mimic.models.build import build_model
from mimic.models.checkpoint import load_checkpoint, load_into, save_checkpoint
from mimic.runs.importing import import_dataset
from mimic.runs.manager import score
from mimic.runs.progress import Progress
from mimic.runs.train import manage
from mimic.runs.train.batches import epoch_order
from mimic.runs.train.config import TrainConfig
from mimic.runs.train.manage import train
from mimic.workspace.curves import read_curves
from mimic.workspace.layout import Run, Workspace
from mimic.workspace.queries.progress import progress, running_histogram
from tests.runs.conftest import JUDGED, MODEL, Digits
from tests.runs.train.conftest import Configured

TABLES = ("scores", "visits", "curves", "failures", "bins")

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__, "mimic.models.small"])
os.environ.setdefault("OMP_NUM_THREADS", "1")


def table(run: Run, name: str) -> pd.DataFrame:
    assert run.scores_file is not None
    with duckdb.connect(run.scores_file, read_only=True) as connection:
        return connection.sql(f"SELECT * FROM {name}").df()


def weights(run: Run, arm: str = "grad_mimic") -> dict[str, torch.Tensor]:
    return load_checkpoint(run.folder / run.facts["models"][arm]).tensors


def train_saving_often(workspace: Workspace, config: TrainConfig) -> None:
    manage.CHECKPOINT_SECONDS = 0.02
    train(workspace, config)


def test_it_is_the_plain_loop(workspace: Workspace, digits: Digits, config: Configured) -> None:
    run = train(workspace, config(validation="none", compare="uniform", temperature=0.5))
    for arm in ("grad_mimic", "uniform"):
        module = build_model(MODEL, 10).module
        load_into(module, load_checkpoint(digits.start))
        module.train()
        optimizer = torch.optim.AdamW(module.parameters(), 1e-3)
        reweight = GradMimic(module, load_checkpoint(digits.reference).tensors, 0.5)
        for epoch in range(2):
            for places in epoch_order(JUDGED, 50, 0, epoch):
                rows = torch.from_numpy(places)
                losses = F.cross_entropy(module(digits.pixels[rows]), digits.given[rows], reduction="none")
                optimizer.zero_grad()
                (reweight(losses) if arm == "grad_mimic" else losses.mean()).backward()
                optimizer.step()
        for name, expected in module.state_dict().items():
            torch.testing.assert_close(weights(run, arm)[name], expected, rtol=0, atol=0)


def test_visits_scores_and_curves_agree(workspace: Workspace, config: Configured) -> None:
    run = train(workspace, config(validation="none"))
    visits, scores, curves = (table(run, name) for name in ("visits", "scores", "curves"))
    assert run.counts == {"scored": JUDGED, "not_scored": 0}
    assert visits.groupby("sample")["epoch"].agg(list).map(tuple).unique().tolist() == [(0, 1)]
    means = visits.groupby("sample")["score"].mean()
    np.testing.assert_allclose(scores.set_index("sample")["mimic_mean"].sort_index(), means, rtol=1e-5)
    assert scores["mimic_mean"].is_monotonic_increasing
    second = curves[(curves["epoch"] == 1) & (curves["split"] == "train")]
    assert second["samples"].sum() == JUDGED
    mine = visits[visits["epoch"] == 1]
    share = second["samples"] / JUDGED
    assert (second["mean_score"] * share).sum() == pytest.approx(mine["score"].mean(), rel=1e-4)
    assert (second["loss"] * share).sum() == pytest.approx(mine["loss"].mean(), rel=1e-4)
    sizes = mine.groupby("step").agg(ess=("weight", lambda w: 1 / (w**2).sum() / len(w)))
    assert second["ess"].mean() == pytest.approx(sizes["ess"].mean(), rel=1e-3)


def test_equal_weights_are_the_uniform_arm(workspace: Workspace, config: Configured) -> None:
    run = train(workspace, config(policy="uniform", compare="uniform"))
    for name, tensor in weights(run).items():
        torch.testing.assert_close(weights(run, "uniform")[name], tensor, rtol=1e-3, atol=1e-5)
    curves = read_curves(run)
    validation = curves[curves["split"] == "validation"].pivot_table(index="step", columns="arm", values="loss")
    np.testing.assert_allclose(validation["grad_mimic"], validation["uniform"], rtol=1e-3)
    assert curves.loc[curves["arm"] == "uniform", "mean_score"].isna().all()


def test_killed_again_and_again_the_same_command_ends_with_the_same_bits(
    workspace: Workspace, config: Configured
) -> None:
    asked = config(compare="uniform", augment="flip-crop", schedule="cosine", temperature_end=0.1)
    whole = train(workspace, asked)
    expected = {name: table(whole, name) for name in TABLES}
    models = {arm: weights(whole, arm) for arm in asked.arms}
    shutil.rmtree(whole.folder)
    for kept in (0, 500, 1300):  # visits, of 2,160
        child = processes.Process(target=train_saving_often, args=(workspace, asked))
        child.start()
        deadline = time.monotonic() + 60
        while child.is_alive() and time.monotonic() < deadline and not reached(workspace, kept):
            time.sleep(0.001)
        child.kill()
        child.join()
        (interrupted,) = workspace.runs()
        assert interrupted.state == "interrupted"
        assert progress(interrupted).done >= kept
        assert progress(interrupted).size == 2160
        running_histogram(interrupted, interrupted.main)
    seen: list[Progress] = []
    run = train(workspace, asked, on_progress=seen.append)
    assert seen[0].resumed >= 1300
    assert seen[-1].done == seen[-1].total == 2160
    for name, frame in expected.items():
        pd.testing.assert_frame_equal(table(run, name), frame, check_exact=True)
    for arm, tensors in models.items():
        assert all(torch.equal(tensors[name], tensor) for name, tensor in weights(run, arm).items())
    assert not (run.folder / "checkpoint.safetensors").exists()


def reached(workspace: Workspace, kept: int) -> bool:
    told = list(workspace.runs_folder.glob("*/progress.json"))
    return bool(told) and json.loads(told[0].read_text())["kept"] >= kept


def test_ctrl_c_keeps_the_step_it_was_at(workspace: Workspace, config: Configured) -> None:
    asked = config(epochs=3)
    done = []

    def interrupt(state: Progress) -> None:
        done.append(state.done)
        if len(done) == 16:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(workspace, asked, on_progress=interrupt)
    (run,) = workspace.runs()
    assert run.state == "interrupted"
    seen: list[Progress] = []
    assert train(workspace, asked, on_progress=seen.append).state == "published"
    assert seen[0].done == seen[0].resumed == done[-1]


def test_ctrl_c_at_the_end_of_an_epoch_loses_no_point_of_the_curves(workspace: Workspace, config: Configured) -> None:
    asked = config(epochs=2)
    whole = train(workspace, asked)
    expected = table(whole, "curves")
    shutil.rmtree(whole.folder)
    asked_once = []

    def interrupt(state: Progress) -> None:
        if state.done == state.total // 2 and not asked_once:
            asked_once.append(state)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(workspace, asked, on_progress=interrupt)
    pd.testing.assert_frame_equal(table(train(workspace, asked), "curves"), expected, check_exact=True)


def test_the_final_model_is_scored_like_any_start(workspace: Workspace, digits: Digits, config: Configured) -> None:
    run = train(workspace, config())
    file = run.folder / run.facts["models"]["grad_mimic"]
    again = score(workspace, digits.config(start=str(file)))
    assert again.facts["start"]["name"] == "model.safetensors"
    assert again.counts["scored"] == JUDGED


def test_held_back_samples_are_never_visited(workspace: Workspace, config: Configured) -> None:
    run = train(workspace, config(validation_share=0.2))
    assert run.size == len(table(run, "scores")) == 480
    curves = read_curves(run)
    assert set(curves["split"]) == {"train", "validation", "truth"}
    last = curves[curves["step"] == curves["step"].max()].set_index("split")
    assert last.loc["validation", "samples"] == last.loc["truth", "samples"] == 120
    assert last.loc["truth", "accuracy"] > last.loc["validation", "accuracy"]  # one given label in five is wrong


def test_a_split_of_the_data_set_is_held_back(digits: Digits, tmp_path: Path, config: Configured) -> None:
    rows = pd.read_csv(digits.manifest, dtype=str)
    rows["split"] = ["train"] * 400 + ["test"] * 200
    rows.to_csv(digits.folder / "splits.csv", index=False)
    workspace = Workspace(tmp_path / "split")
    import_dataset(workspace, digits.folder / "splits.csv", "digits")
    run = train(workspace, config(epochs=1))
    assert run.size == 400
    assert run.facts["validation"] == {"validation": 200, "truth": 200}
    for validation, words in (("train", "beside the one trained on"), ("dev", "no split 'dev'")):
        with pytest.raises(MimicError, match=words):
            train(workspace, config(validation=validation))


def test_what_cannot_be_learnt_from_is_counted(digits: Digits, tmp_path: Path, config: Configured) -> None:
    rows = pd.read_csv(digits.manifest, dtype=str).assign(root=0).drop(columns="root")
    (digits.folder / "images/cut.png").write_bytes((digits.folder / "images/0.png").read_bytes()[:100])
    rows.loc[3, "path"], rows["id"] = "images/cut.png", [str(i) for i in range(len(rows))]
    rows.loc[5, "label"] = None
    rows.to_csv(digits.folder / "faults.csv", index=False)
    workspace = Workspace(tmp_path / "faults")
    import_dataset(workspace, digits.folder / "faults.csv", "digits")
    run = train(workspace, config(validation="none", epochs=1))
    assert run.counts == {"scored": JUDGED - 2, "not_scored": 2}
    reasons = table(run, "failures").set_index("sample")["reason"].to_dict()
    assert reasons[5] == "has no label"
    assert "broken" in reasons[3]
    assert table(run, "scores").set_index("sample").loc[[3, 5]].isna().all(axis=None)


def test_pixels_that_do_not_fit_are_decoded_anew(
    workspace: Workspace, config: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = train(workspace, config())
    expected = table(kept, "visits")
    shutil.rmtree(kept.folder)
    monkeypatch.setattr("mimic.runs.train.batches.MEMORY", 0)
    pd.testing.assert_frame_equal(table(train(workspace, config()), "visits"), expected, check_exact=True)


def test_an_exhausted_reference_can_end_the_training(
    workspace: Workspace, digits: Digits, config: Configured, tmp_path: Path
) -> None:
    """A reference on the other side of the start: no sample says to go there."""
    here, there = (load_checkpoint(path).tensors for path in (digits.start, digits.reference))
    away = str(tmp_path / "away.safetensors")
    save_checkpoint(away, {name: 2 * here[name] - there[name] for name in here})
    ended = train(workspace, config(reference=away, on_exhausted="stop", compare="uniform"))
    step = ended.facts["exhausted"]["step"]
    assert step == 9
    assert ended.facts["exhausted"]["mean"] <= 0
    visits = table(ended, "visits")
    assert visits["step"].max() == step
    curves = read_curves(ended)
    assert curves.groupby("arm")["step"].max().to_dict() == {"grad_mimic": 9, "uniform": 22}
    on = train(workspace, config(reference=away, on_exhausted="uniform"))
    later = table(on, "visits").query("step > 9")
    np.testing.assert_allclose(later["weight"], 1 / later["batch_size"], rtol=1e-6)


def test_a_linear_probe_leaves_everything_else_alone(workspace: Workspace, digits: Digits, config: Configured) -> None:
    run = train(workspace, config(trainable="last", lr=1e-2))
    start = load_checkpoint(digits.start).tensors
    moved = {name for name, tensor in weights(run).items() if not torch.equal(tensor, start[name])}
    assert moved == {"head.weight", "head.bias"}


def test_the_cosine_variant_is_recorded(workspace: Workspace, config: Configured) -> None:
    run = train(workspace, config(variant="cosine", temperature=0.1, epochs=1))
    assert table(run, "visits")["score"].abs().max() <= 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"loss": "hinge"}, "no --loss 'hinge'"),
        ({"batch_size": 10_000}, "540 samples to train on"),
        ({"scope": "re:nothing"}, "no parameters in scope"),
        ({"trainable": "last", "scope": "re:body.1"}, "nothing in scope"),
        ({"lr": 1e30, "epochs": 1}, "use a lower --lr"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(
    workspace: Workspace, config: Configured, settings: dict[str, object], words: str
) -> None:
    with pytest.raises(MimicError, match=words):
        train(workspace, config(**settings))
    assert all(run.state == "failed" for run in workspace.runs())


def test_images_that_moved_are_said(workspace: Workspace, digits: Digits, tmp_path: Path, config: Configured) -> None:
    away, there = tmp_path / "away", digits.folder / "images"
    there.rename(away)
    try:
        with pytest.raises(MimicError, match="mimic relocate digits --root"):
            train(workspace, config())
    finally:
        away.rename(there)
    assert train(workspace, config()).state == "published"
