"""Retraining on real digits: what each arm sees, resuming, the test split that no score has seen."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from mimic.errors import MimicError
from mimic.evaluation.retraining import best, curves
from mimic.runs import manager
from mimic.runs.importing import import_dataset
from mimic.runs.retrain import Asked, keeping, ramp, retrain
from mimic.scores.heads import Frozen, heads, standardised, weighted_heads
from mimic.workspace.filters import save_filter
from mimic.workspace.layout import Workspace
from mimic.workspace.retrains import Retrain, retrains
from tests.runs.conftest import Digits

QUICK = Asked(names=("mimic",), budgets=(0.8, 0.6), seeds=2, epochs=3)


@pytest.fixture(scope="module")
def made(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The judged digits, and 200 others with clean labels as split test; scored."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("split")
    shutil.copytree(digits.folder, folder / "data")
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))[1000:1200]
    rows = pd.read_csv(digits.manifest, dtype=str).assign(split="train")
    tests = []
    for place in order:
        name = f"images/t{place}.png"
        Image.fromarray((data.images[place] * 16).clip(0, 255).astype(np.uint8)).resize((28, 28)).save(
            folder / "data" / name
        )
        tests.append({"path": name, "label": data.target[place], "truth": data.target[place], "split": "test"})
    pd.concat([rows, pd.DataFrame(tests)]).to_csv(folder / "data/manifest.csv", index=False)
    workspace = Workspace(folder / "workspace")
    import_dataset(workspace, folder / "data/manifest.csv", "digits")
    manager.score(workspace, digits.config())
    return workspace


def run(workspace: Workspace, asked: Asked = QUICK, processes: int = 1) -> Retrain:
    return retrain(workspace, workspace.dataset("digits"), asked, processes)


def test_every_arm_is_there_and_sees_what_it_should(made: Workspace):
    done = run(made)
    assert done.state == "finished"
    fits = done.fits()
    assert fits.groupby("arm").size().to_dict() == {"everything": 2, "oracle": 2, "kept": 4, "random": 4}
    kept = fits[fits["arm"] == "kept"].set_index("budget")["kept"]
    assert (kept.loc[0.8] == 480).all()
    assert (kept.loc[0.6] == 360).all()
    assert (fits[fits["arm"] == "random"]["kept"] == fits[fits["arm"] == "random"]["budget"] * 600).all()
    assert all(len(correct) == 200 for correct in fits["correct"])
    assert fits["accuracy"].tolist() == [correct.mean() for correct in fits["correct"]]
    table = curves(fits).set_index("arm")
    assert table.loc["oracle", "accuracy"] >= table.loc["everything", "accuracy"] > 0.8
    assert best(curves(fits)) is not None


def test_an_interrupted_retraining_goes_on(made: Workspace, tmp_path: Path):
    first = run(made).fits()
    copied = Workspace(tmp_path / "copy")
    shutil.copytree(made.path, copied.path)
    cut = retrains(copied, "digits")[0]
    cut.part(1).unlink()
    assert cut.state == "interrupted"
    told = []
    done = retrain(copied, copied.dataset("digits"), QUICK, on_progress=told.append)
    assert (told[0].done, told[0].resumed, told[-1].done, told[-1].total) == (6, 6, 12, 12)
    pd.testing.assert_frame_equal(done.fits(), first)


@pytest.mark.slow
def test_two_processes_give_the_same(made: Workspace, tmp_path: Path):
    first = run(made).fits()
    copied = Workspace(tmp_path / "copy")
    shutil.copytree(made.path, copied.path)
    shutil.rmtree(retrains(copied, "digits")[0].folder)
    pd.testing.assert_frame_equal(run(copied, processes=2).fits(), first)


def test_the_same_again_does_nothing_and_another_budget_is_another_one(made: Workspace):
    one = run(made)
    times = [one.part(job).stat().st_mtime_ns for job in range(one.jobs)]
    again = run(made)
    assert (again.id, [again.part(job).stat().st_mtime_ns for job in range(again.jobs)]) == (one.id, times)
    assert run(made, Asked(names=("mimic",), budgets=(0.5,), seeds=1, epochs=1)).id != one.id


def test_a_named_filter_keeps_what_it_keeps_and_weights_are_tried_too(made: Workspace):
    scored = made.runs("digits")[0]
    rule = {"kind": "threshold", "run": scored.id, "signal": "ref_logprob", "threshold": -1.0}
    save_filter(made, "strict", "digits", rule, {"kept": 0, "dropped": 0, "not_scored": 0}, replace=True)
    fits = run(made, Asked(names=("strict", "mimic"), budgets=(0.7,), seeds=1, epochs=1, weights=True)).fits()
    own = fits[fits["filter"] == "strict"].iloc[0]
    assert own["kept"] == pytest.approx(own["budget"] * 600)
    assert set(fits["arm"]) == {"everything", "oracle", "kept", "weights", "random"}
    soft = fits[fits["arm"] == "weights"].iloc[0]
    assert soft["kept"] == pytest.approx(0.7 * 600, abs=1)


def test_the_users_model_itself(made: Workspace):
    done = run(made, Asked(names=("mimic",), budgets=(0.7,), seeds=1, epochs=2, model=True))
    fits = done.fits().set_index("arm")
    assert done.jobs == len(fits) == 4
    assert fits.loc["everything", "accuracy"] > 0.25
    assert done.facts["path"] == "model"


def test_what_cannot_be_done_is_said(made: Workspace, digits: Digits, tmp_path: Path):
    with pytest.raises(MimicError, match="a budget is a share to keep"):
        run(made, Asked(budgets=(1.5,)))
    with pytest.raises(MimicError, match="no signal or filter"):
        run(made, Asked(names=("nothing",)))
    with pytest.raises(MimicError, match="other than the one scored"):
        run(made, Asked(test="train"))
    alone = Workspace(tmp_path / "alone")
    import_dataset(alone, digits.manifest, "digits")
    with pytest.raises(MimicError, match="no published run of `mimic score`"):
        run(alone)
    manager.score(alone, digits.config())
    with pytest.raises(MimicError, match="no split that scoring has left untouched"):
        run(alone)


def test_heads_trained_together_are_those_trained_alone():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(300, 8)).astype(np.float32), rng.integers(0, 3, 300)
    frozen = Frozen(features, labels, 3, epochs=2)
    weights = np.stack([np.ones(300), rng.random(300) < 0.5], axis=1).astype(np.float32)
    together = weighted_heads(standardised(features), frozen, weights)
    *_, alone = heads(frozen)
    torch.testing.assert_close(together[0].weight, alone.weight)
    half = weighted_heads(standardised(features), frozen, weights[:, 1:])[0]
    torch.testing.assert_close(together[1].weight, half.weight)


@given(
    st.lists(st.one_of(st.integers(0, 9).map(float), st.just(float("nan"))), min_size=1, max_size=40),
    st.floats(0.05, 0.95),
)
def test_a_budget_keeps_the_best_and_the_unscored(values, budget):
    scores = np.array(values, np.float32)
    kept, known = keeping(scores, budget).astype(bool), ~np.isnan(scores)
    assert kept[~known].all()
    if known.any():
        assert scores[known & kept].min(initial=np.inf) > scores[known & ~kept].max(initial=-np.inf)
        assert (known & kept).sum() >= budget * known.sum() - 1e-6
    soft = ramp(scores, budget)
    assert ((soft >= 0) & (soft <= 1)).all()
