"""Which parameters a scope holds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mimic.errors import MimicError
from mimic.models.scope import scope_parameters
from mimic.models.small import SMALL


def test_scopes_of_a_network_with_statistics():
    model = SMALL["convnet"](3)
    assert scope_parameters(model, "last", "head") == ["head.weight", "head.bias"]
    assert scope_parameters(model, "last-weight", "head") == ["head.weight"]
    full = scope_parameters(model, "full")
    assert full == [name for name, _ in model.named_parameters()]
    assert not any("running" in name for name in full)


def test_frozen_parameters_belong_and_integers_do_not():
    model = nn.Linear(2, 2, bias=False)
    model.weight.requires_grad_(False)
    model.register_parameter("table", nn.Parameter(torch.ones(2, dtype=torch.int32), requires_grad=False))
    assert scope_parameters(model, "full") == ["weight"]


def test_refusals():
    with pytest.raises(MimicError, match="no scope 'middle': one of last, last-weight, full"):
        scope_parameters(nn.Linear(2, 2), "middle")
    with pytest.raises(MimicError, match="ReLU has no parameters in scope full"):
        scope_parameters(nn.ReLU(), "full")
