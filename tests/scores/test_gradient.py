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
    batches = zip(case.images.split(4), case.labels.split(4), strict=True)
    got = mean_gradient(case.start, batches, direction)
    assert all(each.grad is None for each in case.start.parameters())
    case.start.body[0].weight.requires_grad_(True)
    F.cross_entropy(case.start(case.images), case.labels).backward()
    gradient = torch.cat([case.start.get_parameter(name).grad.flatten() for name in direction.tensors])
    assert got.norm == pytest.approx(float(gradient.norm()), rel=1e-4)
    scores = mimic_scores(case.start, case.images, case.labels, direction)
    assert got.cosine == pytest.approx(float(scores.mean()) / got.norm, rel=1e-3)
    assert got.samples == 9


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
