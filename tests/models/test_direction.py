"""The direction: θ_ref − θ over a scope, and what is no direction."""

from __future__ import annotations

import pytest
import torch

from mimic import Direction
from mimic.errors import MimicError
from mimic.models.small import SMALL


def pair(name="convnet"):
    torch.manual_seed(0)
    return SMALL[name](3), SMALL[name](3)


@pytest.mark.parametrize("scope", ["last", "last-weight", "full"])
def test_is_the_difference_and_its_length(scope):
    start, reference = pair()
    direction = Direction.between(start, reference.state_dict(), scope)
    flat = []
    for name, v in direction.tensors.items():
        torch.testing.assert_close(v, reference.get_parameter(name) - start.get_parameter(name))
        flat.append(v.flatten())
    assert direction.norm == pytest.approx(float(torch.cat(flat).norm()), rel=1e-6)
    assert direction.parameters == sum(each.numel() for each in flat)
    assert direction.scope == scope
    assert direction.head == (None if scope == "full" else "head")


def test_a_prefix_in_the_reference_is_taken_off():
    start, reference = pair()
    state = {f"module.{name}": each for name, each in reference.state_dict().items()}
    assert Direction.between(start, state).norm == Direction.between(start, reference.state_dict()).norm


def test_no_direction():
    start, reference = pair()
    with pytest.raises(MimicError, match=r"equals the start over scope last.*choose another"):
        Direction.between(start, start.state_dict())
    only_head = start.state_dict() | {"head.bias": torch.ones(3)}
    assert Direction.between(start, only_head, "full").norm > 0
    with pytest.raises(MimicError, match="equals the start over scope last-weight"):
        Direction.between(start, only_head, "last-weight")
    state = reference.state_dict() | {"head.bias": torch.tensor([0.0, torch.nan, 0.0])}
    with pytest.raises(MimicError, match=r"NaN or infinity in head\.bias"):
        Direction.between(start, state)
    with pytest.raises(MimicError, match="another architecture"):
        Direction.between(start, SMALL["mlp"](3).state_dict())
    with pytest.raises(MimicError, match="no scope 'all'"):
        Direction.between(start, reference.state_dict(), "all")
