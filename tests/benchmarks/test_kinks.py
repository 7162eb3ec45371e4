"""A ReLU input that float32 puts on the other side of 0: the error is the branch's, not the arithmetic's."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.kinks import on_its_branches
from benchmarks.speed import forward, ours, torch_jvp
from benchmarks.speed_cases import Case
from mimic.scores.precision import agreement


def case_at_a_kink() -> Case:
    """Sample 0's first hidden unit is 2⁻⁴⁰ in float64 and 0 in float32, because 1 + 2⁻⁴⁰ rounds to 1 there."""
    torch.manual_seed(0)
    start = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    images = torch.randn(20, 2).double()
    with torch.no_grad():
        start[0].weight[0], start[0].bias[0] = torch.tensor([1.0, 1.0]), -1.0
        images[0] = torch.tensor([1.0, 2.0**-40])
    reference = {name: each + 0.1 * torch.randn_like(each) for name, each in start.state_dict().items()}
    return Case("kink", start, reference, images, torch.randint(3, (20,)))


def test_the_error_at_a_kink_is_the_branch():
    exact = case_at_a_kink()
    single = exact.to(torch.float32)
    method = ours(single, "full")
    method()  # the first call also compares halves with the whole
    scores = method()
    along, differ = on_its_branches(method, forward(exact), torch_jvp(exact))
    assert differ == 1
    assert agreement(scores, torch_jvp(exact)()).relative_error > 1e-3
    assert agreement(scores, along).relative_error < 1e-6


def test_the_same_branches_change_nothing():
    exact = case_at_a_kink()
    along, differ = on_its_branches(forward(exact), forward(exact), torch_jvp(exact))
    assert differ == 0
    assert torch.equal(along, torch_jvp(exact)())
    smooth = Case("smooth", nn.Linear(2, 3).double(), {}, exact.inputs, exact.labels)
    smooth.reference.update({name: each + 1 for name, each in smooth.start.state_dict().items()})
    assert on_its_branches(forward(smooth), forward(smooth), torch_jvp(smooth))[1] == 0
