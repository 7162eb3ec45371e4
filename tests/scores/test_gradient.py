"""The mean gradient against one backward() of the mean loss, and its cosine against the mean score."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mimic import Direction, mimic_scores
from mimic.errors import MimicError
from mimic.scores.gradient import mean_gradient


@pytest.mark.parametrize("scope", ["last", "full"])
def test_equals_the_gradient_of_the_mean_loss(make_case, scope):
    case = make_case("convnet", seed=1, batch=9)
    direction = Direction.between(case.start, case.reference.state_dict(), scope)
    case.start.body[0].weight.requires_grad_(False)  # frozen, yet in the scope
    got = mean_gradient(case.start, [(case.images, case.labels)], direction)
    assert all(each.grad is None for each in case.start.parameters())
    case.start.body[0].weight.requires_grad_(True)
    F.cross_entropy(case.start(case.images), case.labels).backward()
    gradient = torch.cat([case.start.get_parameter(name).grad.flatten() for name in direction.tensors])
    assert got.norm == pytest.approx(float(gradient.norm()), rel=1e-4)
    scores = mimic_scores(case.start, case.images, case.labels, direction)
    assert got.cosine == pytest.approx(float(scores.mean()) / got.norm, rel=1e-3)
    assert got.samples == 9


def test_the_norm_is_of_the_set_that_the_samples_stand_for(make_case):
    """Its square is the mean product of gradients of different batches, with nothing of their own."""
    case = make_case("mlp", seed=3, batch=6)
    direction = Direction.between(case.start, case.reference.state_dict(), "full")
    gradients = []
    for i in range(6):
        case.start.zero_grad()
        F.cross_entropy(case.start(case.images[i : i + 1]), case.labels[i : i + 1]).backward()
        gradients.append(torch.cat([each.grad.flatten() for each in case.start.parameters()]).double())
    products = torch.stack(gradients) @ torch.stack(gradients).T
    for size in (1, 2, 3):
        batches = list(zip(case.images.split(size), case.labels.split(size), strict=True))
        owner = torch.arange(6) // size
        between = owner[:, None] != owner[None, :]
        expected = products[between].mean().clamp_min(0).sqrt()
        assert mean_gradient(case.start, batches, direction).norm == pytest.approx(float(expected), rel=1e-4)


def test_samples_without_a_label_are_left_out(make_case):
    case = make_case("mlp", seed=2)
    direction = Direction.between(case.start, case.reference.state_dict())
    labels = torch.tensor([-1, *case.labels[1:].tolist()])
    with_gap = mean_gradient(case.start, [(case.images, labels)], direction)
    without = mean_gradient(case.start, [(case.images[1:], case.labels[1:])], direction)
    assert with_gap.samples == 4
    assert with_gap.norm == pytest.approx(without.norm, rel=1e-5)
    with pytest.raises(MimicError, match="no labelled samples"):
        mean_gradient(case.start, [(case.images, torch.full((5,), -1))], direction)
