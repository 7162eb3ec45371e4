"""Which parameters a scope holds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mimic.errors import MimicError
from mimic.models.scope import blocks, check_scope, scope_parameters
from mimic.models.small import SMALL


def test_scopes_of_a_network_with_statistics():
    model = SMALL["convnet"](3)
    assert scope_parameters(model, "last", "head") == ["head.weight", "head.bias"]
    assert scope_parameters(model, "last-weight", "head") == ["head.weight"]
    full = scope_parameters(model, "full")
    assert full == [name for name, _ in model.named_parameters()]
    assert not any("running" in name for name in full)


def test_the_last_blocks_and_what_lies_behind_them():
    model = SMALL["attention"](3)
    assert blocks(model) == ["blocks.0", "blocks.1"]
    everything = [name for name, _ in model.named_parameters()]
    assert scope_parameters(model, "last:1") == [
        name for name in everything if name.startswith(("blocks.1.", "norm.", "head."))
    ]
    assert scope_parameters(model, "last:2") == [
        name for name in everything if name.startswith(("blocks.", "norm.", "head."))
    ]
    assert blocks(SMALL["resnet20"](3)) == [f"body.{i}" for i in range(9)]


def test_a_pattern_finds_names():
    model = SMALL["attention"](3)
    assert scope_parameters(model, r"re:^blocks\.[01]\.qkv\.weight$") == ["blocks.0.qkv.weight", "blocks.1.qkv.weight"]


class Towers(nn.Module):
    """Shaped like open_clip's: a `visual` tower, and text in `text` or in `transformer`."""

    def __init__(self, text):
        super().__init__()
        self.visual = nn.Sequential(nn.ModuleDict({"mlp": nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))}))
        setattr(self, text, nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2)))


@pytest.mark.parametrize("text", ["text", "transformer"])
def test_towers(text):
    assert scope_parameters(Towers(text), "image-last") == ["visual.0.mlp.1.weight", "visual.0.mlp.1.bias"]
    assert scope_parameters(Towers(text), "text-last") == [f"{text}.1.weight", f"{text}.1.bias"]
    with pytest.raises(MimicError, match="two towers, so last:1 is unclear"):
        scope_parameters(Towers(text), "last:1")


def test_frozen_parameters_belong_and_integers_do_not():
    model = nn.Linear(2, 2, bias=False)
    model.weight.requires_grad_(False)
    model.register_parameter("table", nn.Parameter(torch.ones(2, dtype=torch.int32), requires_grad=False))
    assert scope_parameters(model, "full") == ["weight"]


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ("middle", "no scope 'middle': one of last, last-weight, last:K, full"),
        ("last:0", "does not say how many blocks"),
        ("last:two", "does not say how many blocks"),
        ("last:", "does not say how many blocks"),
        ("re:(", r"is no regular expression \(missing \)"),
    ],
)
def test_scopes_that_no_model_has(scope, message):
    with pytest.raises(MimicError, match=message):
        check_scope(scope)


def test_scopes_that_this_model_does_not_have():
    with pytest.raises(MimicError, match="ReLU has no parameters in scope full: they are called nothing"):
        scope_parameters(nn.ReLU(), "full")
    with pytest.raises(MimicError, match=r"MLP has no blocks, so there is no scope last:2: use re:PATTERN"):
        scope_parameters(SMALL["mlp"](3), "last:2")
    with pytest.raises(MimicError, match=r"has 9 blocks, so there is no scope last:10"):
        scope_parameters(SMALL["resnet20"](3), "last:10")
    with pytest.raises(MimicError, match=r"no parameters in scope re:layer4: they are called body\.1\.weight"):
        scope_parameters(SMALL["mlp"](3), "re:layer4")
    with pytest.raises(MimicError, match="MLP is no two-tower model"):
        scope_parameters(SMALL["mlp"](3), "image-last")
