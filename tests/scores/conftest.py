"""The dumb version that every score is measured against, and small networks to measure it on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimic.models.calling import logits_of
from mimic.models.small import SMALL

torch.set_num_threads(1)  # tiny matrices: a second thread only waits for the first, above all beside other tests


@dataclass
class Case:
    """A start, a reference of the same architecture near it, and a labelled batch."""

    start: nn.Module
    reference: nn.Module
    images: Tensor
    labels: Tensor


@pytest.fixture
def make_case() -> Callable[..., Case]:
    return _make_case


@pytest.fixture
def backward_scores() -> Callable[..., Tensor]:
    return _backward_scores


def _make_case(name: str, seed: int, batch: int = 5, classes: int = 7, head_only: bool = False) -> Case:
    torch.manual_seed(seed)
    start = SMALL[name](classes, channels=1, size=12)
    images = torch.randn(batch, 1, 12, 12)
    start.train()
    start(torch.randn(16, 1, 12, 12))  # running statistics that are neither 0 nor 1
    reference = copy.deepcopy(start)
    with torch.no_grad():
        for parameter in (reference.head if head_only else reference).parameters():
            parameter += 0.3 * parameter.std(correction=0).clamp_min(0.1) * torch.randn_like(parameter)
    return Case(start.eval(), reference.eval(), images, torch.randint(classes, (batch,)))


def _backward_scores(
    start: nn.Module,
    reference: nn.Module,
    images: Tensor,
    labels: Tensor,
    names: list[str],
    loss: Callable[[Tensor, Tensor], Tensor] = lambda logits, label: F.cross_entropy(logits, label, reduction="none"),
) -> Tensor:
    """⟨−∇ℓ_i, v⟩ / ‖v‖ in float64, one sample and one backward() at a time, over the named parameters."""
    start, reference = copy.deepcopy(start).double().eval(), copy.deepcopy(reference).double().eval()
    there = dict(reference.named_parameters())
    here = {name: each.requires_grad_() for name, each in start.named_parameters()}
    v = {name: (there[name] - here[name]).detach() for name in names}
    norm = torch.sqrt(sum(each.square().sum() for each in v.values()))
    scores = []
    for image, label in zip(images.double(), labels, strict=True):
        start.zero_grad()
        loss(logits_of(start(image[None]), 1), label[None]).sum().backward()
        scores.append(-sum((here[name].grad * v[name]).sum() for name in names) / norm)
    return torch.stack(scores)
