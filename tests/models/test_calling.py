"""Calling a model: modes are restored, wrappers are looked behind, replaced weights are used."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mimic.errors import MimicError
from mimic.models.calling import call, evaluating, pairs_of, plain_module, run


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


def test_pairs_of_two_towers():
    images, texts, scale, bias = torch.ones(3, 2), torch.ones(3, 2), torch.tensor(5.0), torch.tensor(-1.0)
    assert pairs_of((images, texts, scale), 3) == (images, texts, scale)
    assert pairs_of((images, texts, scale, None), 3) == (images, texts, scale)
    named = {"image_features": images, "text_features": texts, "logit_scale": scale, "logit_bias": bias}
    assert pairs_of(named, 3) == (images, texts, scale, bias)
    for wrong in [images, (images, texts), (images, texts[:2], scale), (images, texts, images), {"logits": images}]:
        with pytest.raises(MimicError, match=r"\(3, D\) text features and a scale are needed"):
            pairs_of(wrong, 3)


class Caching(nn.Module):
    """Keeps a tensor made of its weights, as LeViT does in eval mode."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 3))
        self.attention_bias_cache = {}

    def forward(self, images):
        if self.training:
            return images @ self.weight
        return images @ self.attention_bias_cache.setdefault("cpu", 1 * self.weight)


def test_what_a_model_keeps_of_its_weights_is_set_aside():
    model, images = Caching().train(), torch.randn(4, 3)
    with evaluating(model):
        assert torch.equal(call(model, images), images.sum(dim=1, keepdim=True).expand(4, 3))
        assert torch.equal(call(model, images, {"weight": torch.zeros(3, 3)}), torch.zeros(4, 3))
        assert torch.equal(call(model, images), images.sum(dim=1, keepdim=True).expand(4, 3))
    with torch.no_grad():
        model.weight.zero_()  # a training step
    with evaluating(model):
        assert not call(model, images).any()
    assert model.attention_bias_cache == {}


def test_a_layer_under_two_names_keeps_its_parameters() -> None:
    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
            self.head = self.body[2]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x)

    module = Twice()
    before = dict(module.named_parameters(remove_duplicate=False))
    run(module, torch.ones(1, 4), {name: torch.zeros_like(each) for name, each in module.named_parameters()})
    after = dict(module.named_parameters(remove_duplicate=False))
    assert all(after[name] is parameter for name, parameter in before.items())
