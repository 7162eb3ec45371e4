"""Calling a model with other tensors in place of some of its parameters and buffers, and leaving it as it was.

`torch.func.functional_call` does this, but where one layer is registered under two names (``self.head = self.body[3]``)
it puts a tensor of the caller's back in place of the parameter (seen with torch 2.14): so it is told every place once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


def call_with(
    module: nn.Module,
    state: Mapping[str, Tensor],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """What the model returns with some of its tensors replaced.

    Args:
        module: any model.
        state: parameter or buffer name → tensor to use instead, wherever the model uses that one.
        args: what the model is called with.
        kwargs: by name.

    Returns:
        The model's own output.
    """
    return functional_call(module, _by_place(module, state), args, dict(kwargs or {}), tie_weights=False)


def _by_place(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors for every place that holds one of the named, each place under one name only."""
    held = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }
    wanted = {id(held[name]): tensor for name, tensor in state.items()}
    places = {}
    for name, each in held.items():
        if id(each) in wanted:
            owner, _, local = name.rpartition(".")
            places[id(module.get_submodule(owner)), local] = name, wanted[id(each)]
    return dict(places.values())
