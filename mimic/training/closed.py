"""The last layer's slope: its input and the losses' own graph are enough, whatever the loss.

A step ε along v/‖v‖ changes the layer's output by ε (V h + v_b) / ‖v‖, and the losses by what `LossSlope` makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.training.layers import squares_of_products
from mimic.training.slope import UNUSED, LossSlope, gradients_by, gradients_of_each
from mimic.training.target import Aim, Target
from mimic.training.watch import Call, Forward, Watch


def lies_in_head(target: Target) -> bool:
    """Whether the scope is a part of the final linear layer and of nothing else (a tied weight acts elsewhere too)."""
    layer = target.module.get_submodule(target.head) if target.head else None
    if type(layer) is not nn.Linear:
        return False
    own = {id(each) for each in layer.parameters()}
    uses = [name for name, each in target.module.named_parameters(remove_duplicate=False) if id(each) in own]
    return all(name.rpartition(".")[0] == target.head for name in [*uses, *target.parameters])


class HeadSlope:
    """dℓ_i/dε along v for a scope in the final linear layer.

    Args:
        target: see `lies_in_head`.
        coupled: as in `LossSlope`.
        forwards: as in `Watch`.
        lengths: whether `lengths` is wanted.

    Attributes:
        watch: the hook that it needs.
        lengths: (B,), the length of each sample's own gradient over the scope, in the last batch.
    """

    method = "closed"
    gives_gradients = False  # the ordinary backward pass of the weighted loss is as cheap

    def __init__(self, target: Target, coupled: bool | None = None, forwards: int = 1, lengths: bool = False) -> None:
        assert target.head is not None
        self.head: str = target.head
        self.reason = f"closed form, because the scope lies in the final linear layer {self.head!r}"
        self.watch = Watch(target.module, {self.head: ""}, forwards)
        self.loss_slope = LossSlope(coupled)
        self.lengths: Tensor | None = None
        self._wanted = lengths

    def __call__(self, losses: Tensor, passes: list[Forward], aim: Aim, keep_graph: bool = True) -> Tensor:
        """The slopes of a batch, times ‖v‖.

        Args:
            losses: (B,), computed from what the passes gave.
            passes: since the last batch.
            aim: v now.
            keep_graph: the graph is kept in any case.

        Returns:
            (B,) float32, or float64 for a float64 model.

        Raises:
            MimicError: the losses do not depend on the layer.
        """
        calls = [call for each in passes for call in each.calls if call.layer == self.head]
        if not calls:
            raise MimicError(UNUSED)
        changes = [self._change(call, aim) for call in calls]
        slopes = self.loss_slope(losses, [call.output for call in calls], changes)
        if self._wanted:
            self.lengths = self._lengths(losses, calls, aim)
        return slopes

    def state_dict(self) -> dict[str, Any]:
        """Whether the loss couples the batch, once that is known."""
        return {"coupled": self.loss_slope.coupled}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.loss_slope.coupled = state["coupled"]

    def _lengths(self, losses: Tensor, calls: list[Call], aim: Aim) -> Tensor:
        """‖g_i‖ from the layer's inputs x and its outputs' gradients d: g_i = Σ_t d_t x_tᵀ, and Σ_t d_t for the bias.

        Where the loss couples the batch, every row of it adds to a sample's own gradient.
        """
        coupled = bool(self.loss_slope.coupled) and len(losses) > 1
        outputs = [call.output for call in calls]
        found = gradients_of_each(losses, outputs) if coupled else gradients_by(losses, outputs)
        pairs = [(call, each) for call, each in zip(calls, found, strict=True) if each is not None]
        dtype, count = torch.promote_types(losses.dtype, torch.float32), len(losses)
        d = torch.cat([each.to(dtype).reshape(count, -1, each.shape[-1]) for _, each in pairs], dim=1)
        inputs = [call.given.to(dtype).reshape(1 if coupled else count, -1, call.given.shape[-1]) for call, _ in pairs]
        x = torch.cat(inputs, dim=1).expand(count, -1, -1)
        parts = []
        if f"{self.head}.weight" in aim.tensors:
            parts.append(squares_of_products(d, x))
        if f"{self.head}.bias" in aim.tensors:
            parts.append(d.sum(dim=1).square().sum(dim=1))
        return torch.stack(parts).sum(dim=0).sqrt()

    def _change(self, call: Call, aim: Aim) -> Tensor:
        weight = aim.tensors.get(f"{self.head}.weight")
        bias = aim.tensors.get(f"{self.head}.bias")
        if weight is None:
            assert bias is not None
            return bias.expand(call.output.value.shape)
        return F.linear(call.given.to(weight.dtype), weight, bias)
