"""The weights' cosine on networks whose kinship is known."""

import copy

import pytest
import torch
from torch import nn

from mimic.models.build import build_model
from mimic.models.related import weights_cosine


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return build_model("small:convnet", 10).module


def changed(module: nn.Module, change) -> dict[str, torch.Tensor]:
    return {name: change(name, tensor) for name, tensor in copy.deepcopy(module.state_dict()).items()}


def test_it_is_the_cosine_of_everything_but_the_head_and_vectors() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 3))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    state = {name: torch.full_like(tensor, 7.0) for name, tensor in module.state_dict().items()}
    state["0.weight"] = torch.tensor([[4.0, 0.0], [0.0, 3.0]])
    assert weights_cosine(module, state) == pytest.approx(24 / 25)
    state["2.weight"] = module[2].weight.detach() * -1
    assert weights_cosine(module, state) == pytest.approx(24 / 25)
    assert weights_cosine(module, state, has_head=False) != pytest.approx(24 / 25)


def test_other_initialisations_are_unrelated_and_low_rank_changes_are_not() -> None:
    module = network(0)
    other = weights_cosine(module, network(1).state_dict())
    assert other is not None
    assert abs(other) < 0.1

    def adapted(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim != 2:
            return tensor
        product = torch.randn(len(tensor), 2) @ torch.randn(2, tensor.shape[1])
        return tensor + 0.2 * tensor.norm() * product / product.norm()

    hidden = nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 4))
    found = weights_cosine(hidden, changed(hidden, adapted))
    assert found == pytest.approx(1 / (1 + 0.2**2) ** 0.5, abs=0.05)


def test_nothing_to_compare_is_none() -> None:
    module = network(0)
    head = weights_cosine(module, changed(module, lambda name, t: t + 1 if name.startswith("head") else t))
    assert head is None  # the head was trained alone
    assert (
        weights_cosine(nn.Sequential(nn.Linear(3, 2)), nn.Sequential(nn.Linear(3, 2)).state_dict()) is None
    )  # a head alone
    assert weights_cosine(module, changed(module, lambda name, t: torch.zeros_like(t))) is None
