"""Training, as people meet it."""

# ruff: noqa: F811 (fixtures are imported by name)

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest
import torch

from mimic.workspace.layout import Workspace
from tests.runs.conftest import MODEL, Digits, digits, workspace  # noqa: F401
from tests.test_cli import Command, mimic  # noqa: F401


def test_train_look_and_train_again(mimic: Command, digits: Digits, workspace: Workspace) -> None:
    torch.set_num_threads(1)
    asked = ["train", "digits", "--model", MODEL, "--start", digits.start, "--reference", digits.reference]
    asked += ["--epochs", "2", "--batch-size", "50", "--lr", "1e-3", "--compare", "uniform", "--variant", "cosine"]
    code, out, err = mimic(*asked)
    (run,) = workspace.runs()
    assert (code, run.state) == (0, "published")
    assert f"run {run.id}: 2,160 visits" in err
    assert "2,160 of 2,160 (100%)" in err
    assert "uniform · epoch 2 of 2 · loss" in err
    assert f"published   {run.id}: 540 scored, 0 not scored" in out
    assert "truth" in out.partition("grad_mimic ")[2]
    assert str(run.folder / "uniform.safetensors") in out
    with duckdb.connect(run.scores_file, read_only=True) as connection:
        ((right, samples),) = connection.sql(
            "SELECT sum(accuracy * samples), sum(samples) FROM curves WHERE arm = 'grad_mimic' AND split = 'train' "
            "AND epoch = 1"
        ).fetchall()
    assert samples == 540
    assert f"grad_mimic  train {right / samples:.1%} (loss" in out
    held = re.search(r"compared    grad_mimic ([\d.]+)% ± ([\d.]+)% against uniform [\d.]+% ± [\d.]+% on 60 held", out)
    share = float(held[1]) / 100
    assert float(held[2]) == pytest.approx(100 * (share * (1 - share) / 60) ** 0.5, abs=0.06)
    assert re.search(r"mean score  (stayed positive: |turned negative in epoch [12])", out)
    code, _, err = mimic(*asked)
    assert (code, "was there already: nothing was computed again" in err) == (0, True)
    code, out, _ = mimic("show", run.id)
    assert (code, "mimic_mean" in out, "model.safetensors" in out) == (0, True, True)
    code, out, _ = mimic("runs")
    assert (code, run.id in out) == (0, True)


def test_what_cannot_work_is_one_sentence(mimic: Command, digits: Digits, workspace: Workspace) -> None:
    asked = ["train", "digits", "--model", MODEL, "--reference", digits.reference]
    for further, words in (
        (["--policy", "hardest"], "the setting policy = 'hardest' does not work"),
        (["--temperature", "0"], "the setting temperature = 0.0 does not work"),
        (["--validation", "dev"], "no split 'dev'"),
        (["--scope", "nothing"], "there is no scope 'nothing'"),
    ):
        code, _, err = mimic(*asked, *further)
        assert (code, err.count("mimic: ")) == (2, 1)
        assert words in err


def test_import_with_noise(mimic: Command, digits: Digits, workspace: Workspace, tmp_path: Path) -> None:
    folder = digits.folder / "manifest.csv"
    code, out, _ = mimic("import", folder, "--dataset", "noisy", "--noise", "symmetric:0.5", "--seed", "3")
    assert (code, "truth known" in out) == (0, True)
    code, _, err = mimic("import", folder, "--dataset", "other", "--noise", "loud")
    assert (code, "--noise 'loud' does not work" in err) == (2, True)
    code, _, err = mimic("import", "torchvision:DTD", "--dataset", "dtd", "--root", tmp_path)
    assert (code, "torchvision:DTD cannot be read" in err) == (2, True)
