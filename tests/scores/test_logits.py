"""Signals of logits: on numbers worked out by hand, and against a float64 loop of backward()."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.scores.logits import BATCH_SIGNALS, alignment, error_norm, gradient_norm, logprob, margin, rho

LOGITS = torch.tensor([[0.0, math.log(3.0)], [5.0, 5.0]])


@dataclass
class Given:
    """The passes of a batch."""

    start: Tensor
    reference: Tensor
    features: Tensor | None
    head: tuple[Tensor, Tensor | None]


def test_logprob():
    got = logprob(LOGITS, torch.tensor([1, 0]))
    torch.testing.assert_close(got, torch.tensor([0.75, 0.5]).log())


def test_margin_is_positive_exactly_where_the_model_agrees():
    logits = torch.tensor([[1.0, 4.0, 2.0], [1.0, 4.0, 2.0]])
    torch.testing.assert_close(margin(logits, torch.tensor([1, 2])), torch.tensor([2.0, -2.0]))
    assert margin(LOGITS[1:], torch.tensor([0])).item() == 0


def test_rho_is_the_loss_that_the_reference_saves():
    start, reference, labels = torch.randn(6, 4), torch.randn(6, 4), torch.randint(4, (6,))
    saved = F.cross_entropy(start, labels, reduction="none") - F.cross_entropy(reference, labels, reduction="none")
    torch.testing.assert_close(rho(start, reference, labels), saved)


def test_el2n():
    torch.testing.assert_close(error_norm(LOGITS, torch.tensor([1, 0])), torch.tensor([0.25, 0.5]) * math.sqrt(2))


@pytest.mark.parametrize("bias", [True, False])
def test_gradient_norm_and_alignment_equal_a_loop_of_backward(bias: bool):
    torch.manual_seed(0)
    layer = nn.Linear(5, 4, bias=bias).double()
    features, labels = torch.randn(6, 5, dtype=torch.float64), torch.randint(4, (6,))
    parameters = list(layer.parameters())
    own = torch.cat([each.detach().flatten() for each in parameters])
    norms, cosines = [], []
    for row, label in zip(features, labels, strict=True):
        gradients = torch.autograd.grad(F.cross_entropy(layer(row), label), parameters)
        g = torch.cat([each.flatten() for each in gradients])
        norms.append(g.norm())
        cosines.append(F.cosine_similarity(-g, own, dim=0))
    with torch.no_grad():
        logits = layer(features)
    torch.testing.assert_close(gradient_norm(logits, features, labels, bias), torch.stack(norms))
    torch.testing.assert_close(alignment(logits, features, labels, layer.weight, layer.bias), torch.stack(cosines))


def test_every_signal_is_higher_for_the_label_that_both_models_see():
    layer = nn.Linear(3, 3).requires_grad_(False)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    features = torch.eye(3)[:1] * 3
    start = layer(features)
    given = Given(start, 2 * start, features, (layer.weight, layer.bias))
    for name, signal in BATCH_SIGNALS.items():
        assert signal(given, torch.tensor([0])) > signal(given, torch.tensor([1])), name


@pytest.mark.parametrize("name", ["neg_grad_norm", "alignment_self"])
def test_a_model_without_a_last_layer_is_refused_by_name(name: str):
    given = Given(LOGITS, LOGITS, None, (LOGITS, None))
    with pytest.raises(MimicError, match=name):
        BATCH_SIGNALS[name](given, torch.tensor([0, 1]))
