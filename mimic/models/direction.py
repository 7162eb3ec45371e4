"""The direction v = θ_ref − θ over a scope: where a pretrained reference says that training ought to end up.

It belongs to the θ that it was made for: a model that has moved since needs a new one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.models.calling import plain_module
from mimic.models.checkpoint import match_state
from mimic.models.head import find_head, guess_head
from mimic.models.scope import check_scope, needs_head, scope_parameters


@dataclass(frozen=True)
class Direction:
    """v over a scope, and its length.

    Attributes:
        tensors: parameter name → v there, not normalised, float32 (float64 for a float64 model), on the model's device.
        norm: ‖v‖ over all of them, in units of weight distance; positive.
        scope: the scope's name.
        head: the name of the final linear layer, where the scope is about it.
    """

    tensors: dict[str, Tensor]
    norm: float
    scope: str
    head: str | None = None

    @property
    def parameters(self) -> int:
        """How many numbers v has."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    @classmethod
    def between(
        cls,
        model: nn.Module,
        reference_state: Mapping[str, Tensor],
        scope: str = "last",
        example: Tensor | None = None,
    ) -> Direction:
        """The direction from a model's present weights to a reference's.

        Args:
            model: the model being scored, at θ.
            reference_state: a state dict of the same architecture, in any floating-point dtype.
            scope: see `mimic.models.scope`, e.g. ``"last"``, ``"last:2"`` or ``"full"``.
            example: (B, …), an input to find the last layer with; without it the last registered linear layer is taken,
                and scoring checks that the model's output is that layer's.

        Returns:
            The direction.

        Raises:
            MimicError: the scope is unknown, the architectures differ, the reference holds NaN or infinity, or it
                equals the model over the scope.

        Example:
            >>> model = nn.Linear(2, 3)
            >>> reference = {name: tensor + 1 for name, tensor in model.state_dict().items()}
            >>> direction = Direction.between(model, reference)
            >>> direction.parameters, round(direction.norm, 3), direction.scope  # nine numbers, each one further
            (9, 3.0, 'last')
        """
        model = plain_module(model)
        check_scope(scope)
        state = match_state(model, reference_state)
        head = (guess_head(model) if example is None else find_head(model, example))[0] if needs_head(scope) else None
        parameters = dict(model.named_parameters())
        tensors: dict[str, Tensor] = {}
        squares = 0.0
        for name in scope_parameters(model, scope, head):
            exact = _difference(state[name], parameters[name])
            squares += float(exact.square().sum())
            tensors[name] = exact.to(parameters[name].device, _wide(parameters[name]))
        norm = math.sqrt(squares)
        if not math.isfinite(norm):
            bad = next(name for name, v in tensors.items() if not v.isfinite().all())
            raise MimicError(f"the reference or the start holds NaN or infinity in {bad}: save it again")
        if norm == 0:
            raise MimicError(
                f"the reference equals the start over scope {scope}, so there is no direction to score by: "
                "choose another start, reference or scope"
            )
        return cls(tensors, norm, scope, head)


def _difference(reference: Tensor, parameter: Tensor) -> Tensor:
    """θ_ref − θ in float64: the two are close, and half precision has few digits to lose. On the CPU: MPS has none."""
    return reference.detach().cpu().double() - parameter.detach().cpu().double()


def _wide(parameter: Tensor) -> torch.dtype:
    return torch.promote_types(parameter.dtype, torch.float32)
