"""A state comes back as it was, to the bit, without a pickle."""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimic.errors import MimicError
from mimic.runs.train.checkpoint import load_state, save_state

scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=5)
keys = st.text(max_size=5) | st.integers(0, 9)
states = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(keys, inner, max_size=3),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(state=states)
def test_any_nested_state_comes_back(tmp_path: Path, state: object) -> None:
    save_state(tmp_path / "state.safetensors", state)
    assert load_state(tmp_path / "state.safetensors") == state


def test_an_optimizer_and_random_numbers_come_back(tmp_path: Path) -> None:
    module = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters(), 1e-3)
    module(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    state = {"optimizer": optimizer.state_dict(), "random": [torch.get_rng_state()], "sums": torch.ones(2).double() / 3}
    save_state(tmp_path / "state.safetensors", state)
    found = load_state(tmp_path / "state.safetensors")
    again = torch.optim.AdamW(module.parameters(), 1.0)
    again.load_state_dict(found["optimizer"])
    assert again.state_dict()["param_groups"] == optimizer.state_dict()["param_groups"]
    for place, moments in optimizer.state_dict()["state"].items():
        for name, tensor in moments.items():
            assert torch.equal(again.state_dict()["state"][place][name], tensor)
    assert torch.equal(found["random"][0], state["random"][0])
    assert torch.equal(found["sums"], state["sums"])
    assert found["sums"].dtype == torch.float64


def test_a_broken_one_is_said(tmp_path: Path) -> None:
    (tmp_path / "state.safetensors").write_bytes(b"no")
    with pytest.raises(MimicError, match="broken"):
        load_state(tmp_path / "state.safetensors")
