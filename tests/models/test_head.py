"""Finding the linear layer whose output is the model's output."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mimic.errors import MimicError
from mimic.models.head import find_head, guess_head


class Auxiliary(nn.Module):
    """Its head is registered before an auxiliary classifier that evaluation does not use."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 5)
        self.fc = nn.Linear(5, 3)
        self.auxiliary = nn.Linear(5, 3)

    def forward(self, images):
        hidden = self.body(images).relu()
        logits = self.fc(hidden)
        return (logits, self.auxiliary(hidden)) if self.training else logits


def test_is_found_by_what_it_gives_not_by_where_it_stands():
    model = Auxiliary().train()
    assert find_head(model, torch.zeros(2, 4)) == ("fc", model.fc)
    assert model.training
    assert guess_head(model)[0] == "auxiliary"  # which is why an example is better than a guess


def test_models_without_one():
    for model in [nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()), nn.Sequential(nn.Flatten(), nn.ReLU())]:
        with pytest.raises(MimicError, match=r"does not end in a linear layer.*use scope full"):
            find_head(model, torch.zeros(2, 4))
    with pytest.raises(MimicError, match="has no linear layer"):
        guess_head(nn.Conv2d(1, 1, 1))


def test_a_layer_called_twice_is_no_head():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, images):
            return self.layer(self.layer(images))

    with pytest.raises(MimicError, match="does not end in a linear layer"):
        find_head(Twice(), torch.zeros(2, 4))
