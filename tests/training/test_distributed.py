"""Grad-Mimic under what wraps models and losses: DistributedDataParallel, accelerate, gradient scalers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mimic import GradMimic
from mimic.training.visits import read_visits

from .conftest import gradients_of, make_case


def rank_step(rank: int, folder: str) -> None:
    """One process of two: a step on its own half of the batch; the first keeps the gradients."""
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    case = make_case("mlp", seed=1)
    model = nn.parallel.DistributedDataParallel(case.model)
    reweight = GradMimic(model, case.state, window=1, record=f"{folder}/record")
    half = slice(3 * rank, 3 * rank + 3)
    losses = F.cross_entropy(model(case.images[half]), case.labels[half], reduction="none")
    reweight(losses, ids=torch.arange(6)[half]).backward()
    torch.save((gradients_of(case.model), reweight.scores, reweight.exhausted is None), f"{folder}/{rank}.pt")
    reweight.close()
    torch.distributed.destroy_process_group()


def test_two_processes_average_their_weighted_gradients(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(rank_step, (str(tmp_path),), nprocs=2)
    case = make_case("mlp", seed=1)
    alone = []
    for rank in range(2):
        half = slice(3 * rank, 3 * rank + 3)
        reweight = GradMimic(case.model, case.state)
        losses = F.cross_entropy(case.model(case.images[half]), case.labels[half], reduction="none")
        (reweight(losses) / 2).backward()
        alone.append(reweight.scores)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for name, gradient in gradients_of(case.model).items():
        torch.testing.assert_close(ranks[0][0][name], gradient)
        torch.testing.assert_close(ranks[1][0][name], gradient)
    torch.testing.assert_close([scores for _, scores, _ in ranks], alone)
    assert ranks[0][2] == ranks[1][2] == (float(torch.cat(alone).mean()) > 0)  # both decide by the mean over both
    visits = read_visits(tmp_path / "record")
    assert visits.samples.tolist() == [*range(6)]
    np.testing.assert_allclose(visits.values[:, 0], torch.cat(alone).numpy(), rtol=1e-6)


def test_accelerate(tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    case = make_case("mlp", seed=2)
    model, images = case.model.float(), case.images.float()
    plain = GradMimic(model, case.state)
    plain(F.cross_entropy(model(images), case.labels, reduction="none")).backward()
    expected, scores = gradients_of(model), plain.scores
    plain.close()
    model.zero_grad()
    accelerator = accelerate.Accelerator(cpu=True)
    wrapped, optimiser = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.0))
    reweight = GradMimic(wrapped, case.state)
    accelerator.backward(reweight(F.cross_entropy(wrapped(images), case.labels, reduction="none")))
    optimiser.step()
    torch.testing.assert_close(reweight.scores, scores)
    for name, gradient in gradients_of(model).items():
        torch.testing.assert_close(gradient, expected[name])


def test_a_gradient_scaler_scales_and_unscales() -> None:
    case = make_case("mlp", seed=3)
    model, images = case.model.float(), case.images.float()
    reweight = GradMimic(model, case.state)
    reweight(F.cross_entropy(model(images), case.labels, reduction="none")).backward()
    expected, scores = gradients_of(model), reweight.scores
    model.zero_grad()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0)
    with torch.autocast("cpu", torch.float16):
        loss = reweight(F.cross_entropy(model(images), case.labels, reduction="none"))
    scaler.scale(loss).backward()
    scaler.unscale_(optimiser)
    assert (reweight.scores - scores).norm() / scores.norm() < 0.01
    for name, gradient in gradients_of(model).items():
        assert (gradient - expected[name]).norm() <= 0.02 * expected[name].norm() + 1e-6
