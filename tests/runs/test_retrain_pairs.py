"""Retraining on pairs: what is found, against the plain way; arms trained together are those trained alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mimic.errors import MimicError
from mimic.evaluation.retraining import best, curves
from mimic.models.checkpoint import load_checkpoint
from mimic.runs import manager
from mimic.runs.config import ScoreConfig
from mimic.runs.importing import import_dataset
from mimic.runs.retrain import Asked, retrain
from mimic.runs.retrain_fits import Fit, load_bench, save_bench
from mimic.runs.retrain_pairs import NEAREST, OUTCOME, PairBench, fit_pairs, found
from mimic.workspace.layout import Workspace
from tests.models.tiny_towers import open_clip_weights
from tests.runs import captioned


def bench(seed: int = 0, count: int = 300, wrong: float = 0.3) -> PairBench:
    """Pairs that share eight hidden numbers; of the first ones a share has moved on by one."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(count + 100, 8))
    images, texts = ((hidden @ rng.normal(size=(8, d))).astype(np.float32) for d in (20, 12))
    images, texts = (each + 0.3 * rng.normal(size=each.shape).astype(np.float32) for each in (images, texts))
    right = np.arange(count) >= wrong * count
    texts[:count][~right] = np.roll(texts[:count][~right], 1, axis=0)
    return PairBench(
        np.arange(count, dtype=np.int32), images[:count], texts[:count], right, images[count:], texts[count:],
        np.arange(100), 20,
    )  # fmt: skip


def test_found_is_the_rank_worked_out_one_by_one():
    rng = np.random.default_rng(1)
    a, b = (F.normalize(torch.from_numpy(rng.normal(size=(40, 6))), dim=1) for _ in range(2))
    groups = torch.from_numpy(np.arange(40) // 2)
    plain = []
    for i in range(40):
        cosines = (b @ a[i]).tolist()
        others = [cosines[j] for j in range(40) if groups[j] != groups[i]]
        plain.append(sum(each > cosines[i] for each in others) < NEAREST)
    assert found(a, b, groups).tolist() == plain
    assert 0 < sum(plain) < 40


def test_true_pairs_teach_more_than_all_pairs():
    made = bench()
    assert made.right is not None
    rows = fit_pairs(made, [
        Fit("everything", "", 1.0, 0, np.ones(300, np.float32)),
        Fit("oracle", "", 0.7, 0, made.right.astype(np.float32)),
        Fit("kept", "", 0.3, 0, (~made.right).astype(np.float32)),
    ])  # fmt: skip
    everything, oracle, worst = (row["accuracy"] for row in rows)
    assert worst < 0.3 < everything < oracle
    assert [len(row["correct"]) for row in rows] == [200] * 3


def test_arms_trained_together_are_those_trained_alone():
    made = bench()
    fits = [Fit("kept", "", 0.5, 3, (np.arange(300) % 2 == side).astype(np.float32)) for side in (0, 1)]
    together = fit_pairs(made, fits)
    for fit, row in zip(fits, together, strict=True):
        np.testing.assert_array_equal(fit_pairs(made, [fit])[0]["correct"], row["correct"])


def test_a_budget_that_leaves_one_pair_is_refused():
    one = np.zeros(300, np.float32)
    one[4] = 1
    with pytest.raises(MimicError, match="fewer than two pairs"):
        fit_pairs(bench(), [Fit("kept", "", 0.01, 0, one)])


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return captioned.split_and_scored(tmp_path_factory.mktemp("pairs"))


@pytest.mark.parametrize("processes", [1, 2])
def test_captions_are_retrained_resumed_and_judged_by_recall(workspace: Workspace, processes: int):
    asked = Asked(names=("clip", "mimic"), budgets=(0.8,), seeds=2, epochs=2)
    done = retrain(workspace, workspace.dataset("pairs"), asked, processes)
    fits = done.fits()
    assert (done.state, done.outcome, done.facts["test"], done.facts["samples"]) == (
        "finished",
        OUTCOME,
        15,
        captioned.TRAINED,
    )
    assert fits.groupby("arm").size().to_dict() == {"everything": 2, "oracle": 2, "kept": 4, "random": 2}
    assert set(np.concatenate(fits["correct"].tolist())) <= {0, 0.5, 1}
    np.testing.assert_allclose(fits["accuracy"], [each.mean() for each in fits["correct"]])
    assert fits.loc[fits["arm"] == "oracle", "budget"].tolist() == pytest.approx(
        [1 - captioned.SWAPPED / captioned.TRAINED] * 2
    )
    assert best(curves(fits)) is not None
    done.part(1).unlink()
    again = retrain(workspace, workspace.dataset("pairs"), asked, processes)
    pd.testing.assert_frame_equal(again.fits(), fits)


def test_the_runs_own_model_is_refused(workspace: Workspace):
    with pytest.raises(MimicError, match="leave --model out"):
        retrain(workspace, workspace.dataset("pairs"), Asked(model=True))


def test_a_bench_comes_back_from_its_file(tmp_path: Path):
    made = replace(bench(count=10), right=None)
    back = load_bench(PairBench, *save_bench(tmp_path, made))
    assert (back.right, back.epochs) == (None, made.epochs)
    np.testing.assert_array_equal(back.test_texts, made.test_texts)


def test_a_model_that_reads_images_gives_what_its_start_makes_of_them(tmp_path: Path):
    open_clip = open_clip_weights(tmp_path, "tiny-retrained")
    place = Workspace(tmp_path / "workspace")
    rows = [{"path": f"{i}.png", "caption": f"thing {i}", "split": "test" if i > 11 else "train"} for i in range(20)]
    for i, row in enumerate(rows):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (32, 32, 3), np.uint8)).save(tmp_path / row["path"])
    (tmp_path / "3.png").write_bytes(b"broken")
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    dataset = import_dataset(place, tmp_path / "m.csv", "pairs")[0]
    files = {name: str(tmp_path / f"{name}.safetensors") for name in ("start", "reference")}
    asked = {"dataset": "pairs", "model": "open_clip:tiny-retrained", "loss": "clip", "batch_size": 4, "draws": 2}
    manager.score(place, ScoreConfig.checked(**asked, **files))
    done = retrain(place, dataset, Asked(names=("clip",), budgets=(0.8,), seeds=1, epochs=1))
    assert (done.facts["samples"], done.facts["test"]) == (11, 8)  # one picture is broken
    kept = sorted((place.path / "cache/features").glob("*.npz"))
    assert len(kept) == 2
    start, _, transform = open_clip.create_model_and_transforms("tiny-retrained")
    start.load_state_dict(load_checkpoint(files["start"]).tensors)
    images = torch.stack([transform(Image.open(tmp_path / f"{i}.png")) for i in range(12, 20)])
    with torch.no_grad():
        image, text, _ = start.eval()(
            images, open_clip.get_tokenizer("tiny-retrained")([f"thing {i}" for i in range(12, 20)])
        )
    found = next(each for each in map(np.load, kept) if len(each["usable"]) == 8)
    np.testing.assert_allclose(found["images"], image, atol=1e-5)
    np.testing.assert_allclose(found["texts"], text, atol=1e-5)
