"""The reference as a moving model sees it: v = θ_ref − θ over a scope, taken anew at every step.

Only parameters that are being trained count: no step can move the others. Where the others equal the reference's, as a
frozen backbone's do, v is 0 there and nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.models.calling import plain_module
from mimic.models.checkpoint import match_state
from mimic.models.direction import Direction


@dataclass(frozen=True)
class Aim:
    """v at one step: parameter name → tensor, not normalised; ‖v‖, a scalar tensor, so that no step waits for it."""

    tensors: dict[str, Tensor]
    norm: Tensor


class Target:
    """The reference's weights over a scope, beside the parameters that move towards them.

    Args:
        model: the model in training, bare, compiled or inside DistributedDataParallel.
        reference_state: a state dict of the same architecture.
        scope: as in `mimic.models.scope`.
        example: (B, …), an input to find the last layer with.

    Attributes:
        module: the plain module behind any wrapper.
        parameters: the scope's trainable parameters, by name.
        head: the name of the final linear layer, where the scope is about it.

    Raises:
        MimicError: as `Direction.between`, or nothing in the scope is being trained.
    """

    def __init__(
        self, model: nn.Module, reference_state: Mapping[str, Tensor], scope: str, example: Tensor | None = None
    ) -> None:
        self.module = plain_module(model)
        direction = Direction.between(self.module, reference_state, scope, example)
        self.scope = scope
        self.head = direction.head
        named = dict(self.module.named_parameters())
        self.parameters = {name: named[name] for name in direction.tensors if named[name].requires_grad}
        if not self.parameters:
            raise MimicError(
                f"nothing in scope {scope} is being trained: set requires_grad on it, or choose another scope"
            )
        state = match_state(self.module, reference_state)
        self._reference = {
            name: state[name].to(each.device, torch.promote_types(each.dtype, torch.float32), copy=True)
            for name, each in self.parameters.items()
        }

    @torch.no_grad()
    def aim(self) -> Aim:
        """v and ‖v‖ at the model's present weights."""
        here = [
            each.detach().to(reference.dtype)
            for each, reference in zip(self.parameters.values(), self._reference.values(), strict=True)
        ]
        differences = torch._foreach_sub(list(self._reference.values()), here)
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(differences)))
        return Aim(dict(zip(self.parameters, differences, strict=True)), norm)
