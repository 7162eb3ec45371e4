"""The dumb version of a Grad-Mimic step: one backward() a sample, in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimic.models.small import SMALL

torch.set_num_threads(1)  # tiny matrices: a second thread only waits for the first, above all beside other tests


@dataclass
class Case:
    """A model in training (eval mode, float64), a reference near it, and a labelled batch."""

    model: nn.Module
    reference: nn.Module
    images: Tensor
    labels: Tensor

    @property
    def state(self) -> dict[str, Tensor]:
        return self.reference.state_dict()

    def losses(self) -> Tensor:
        return F.cross_entropy(self.model(self.images), self.labels, reduction="none")


@dataclass
class Step:
    """What a step must give: scores (B,), per-sample gradients by name."""

    scores: Tensor
    gradients: list[dict[str, Tensor]]

    def weighted(self, weights: Tensor) -> dict[str, Tensor]:
        return {
            name: sum(w * gradient[name] for w, gradient in zip(weights, self.gradients, strict=True))
            for name in self.gradients[0]
        }


def make_case(name: str, seed: int = 0, batch: int = 6, classes: int = 5) -> Case:
    torch.manual_seed(seed)
    model = SMALL[name](classes, channels=1, size=12).double()
    model.train()
    model(torch.randn(16, 1, 12, 12, dtype=torch.double))  # running statistics that are neither 0 nor 1
    return Case(model.eval(), nearby(model), torch.randn(batch, 1, 12, 12).double(), torch.randint(classes, (batch,)))


def nearby(model: nn.Module) -> nn.Module:
    """A copy whose every parameter has moved."""
    reference = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter += 0.3 * parameter.std(correction=0).clamp_min(0.1) * torch.randn_like(parameter)
    return reference


def brute_force(
    model: nn.Module, reference: nn.Module, names: list[str], losses: Callable[[nn.Module], Tensor]
) -> Step:
    """Every sample's own gradient, one backward() each, and its product with v over the named parameters."""
    here, there = dict(model.named_parameters()), dict(reference.named_parameters())
    v = {name: (there[name] - here[name]).detach() for name in names}
    norm = torch.sqrt(sum(each.square().sum() for each in v.values()))
    gradients, scores = [], []
    for i in range(len(losses(model))):
        found = torch.autograd.grad(losses(model)[i], list(here.values()), allow_unused=True)
        gradient = {
            name: torch.zeros_like(each) if g is None else g
            for (name, each), g in zip(here.items(), found, strict=True)
        }
        gradients.append(gradient)
        scores.append(-sum((gradient[name] * v[name]).sum() for name in names) / norm)
    return Step(torch.stack(scores), gradients)


def gradients_of(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: torch.zeros_like(each) if each.grad is None else each.grad.clone()
        for name, each in model.named_parameters()
    }


@pytest.fixture
def case() -> Case:
    return make_case("mlp")
