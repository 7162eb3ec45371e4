"""Calling a model: modes are restored, wrappers are looked behind, replaced weights are used."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mimic.models.calling import call, evaluating, plain_module


def test_modes_come_back_even_after_an_error():
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.ReLU()))
    model[1][0].eval()
    modes = [each.training for each in model.modules()]

    def fail_inside():
        with evaluating(model):
            assert not any(each.training for each in model.modules())
            assert not torch.is_grad_enabled()
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert [each.training for each in model.modules()] == modes


def test_replaced_weights_are_used_and_forgotten():
    model = nn.Linear(2, 3)
    images = torch.randn(4, 2)
    zeros = call(model, images, {"weight": torch.zeros(3, 2), "bias": torch.arange(3.0)})
    assert torch.equal(zeros, torch.arange(3.0).expand(4, 3))
    assert torch.equal(call(model, images), model(images))


def test_the_module_behind():
    model = nn.Linear(2, 3)
    assert plain_module(model) is model
    assert plain_module(torch.compile(nn.DataParallel(model))) is model
