"""How a model's outputs change along v: the last forward pass once more, with dual numbers or at moved weights.

For models and losses that couple the batch, or whose layers the book-keeping does not know. The pass is run as it was:
same arguments, train or eval mode, precision and random numbers (so dropout drops the same units); running statistics
are copies, so the model does not see it twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._pytree import tree_leaves

from mimic.models.substitute import call_with
from mimic.scores.difference import central_difference, choose_step
from mimic.scores.forward_mode import forward_mode
from mimic.training.target import Aim
from mimic.training.watch import Forward


class Replay:
    """Runs recorded passes of a model again.

    Attributes:
        step: the length of the difference along v/‖v‖, in units of weight distance, chosen on the first batch.
        error: the relative error expected of it.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.step: float | None = None
        self.error: float | None = None

    def forward_mode(self, passed: Forward, aim: Aim) -> list[Tensor]:
        """The change of every output that has a gradient, along v; exact.

        Raises:
            RuntimeError, NotImplementedError: an operation of the model has no forward-mode derivative.
        """
        parameters = dict(self._module.named_parameters())
        with forward_mode(), torch.no_grad(), forward_ad.dual_level():
            point = {name: _dual(parameters[name].detach(), v.to(parameters[name])) for name, v in aim.tensors.items()}
            outputs = self.run(passed, point)
            return [_tangent(each) for each in outputs]

    @torch.no_grad()
    def difference(self, passed: Forward, aim: Aim) -> list[Tensor]:
        """The same by central differences, with an error of order step²; two plain passes."""
        parameters = dict(self._module.named_parameters())
        norm = float(aim.norm)

        def outputs_at(distance: float) -> Tensor:
            moved = {
                name: parameters[name].detach() + (distance / norm) * v.to(parameters[name])
                for name, v in aim.tensors.items()
            }
            return torch.cat([each.flatten() for each in self.run(passed, moved)])

        if self.step is None:
            scale = math.sqrt(sum(float(parameters[name].detach().square().sum()) for name in aim.tensors))
            chosen = choose_step(outputs_at, scale)
            self.step, self.error = chosen.length, chosen.error
        change = central_difference(outputs_at, self.step) * norm
        shapes = [each.value.shape for each in passed.outputs if each is not None]
        pieces = torch.split(change, [shape.numel() for shape in shapes])
        return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]

    def run(self, passed: Forward, point: Mapping[str, Tensor]) -> list[Tensor]:
        """The pass again with some parameters replaced: every output that had a gradient then."""
        buffers = {name: each.clone() for name, each in self._module.named_buffers()}
        with as_it_was(passed):
            returned: Any = call_with(self._module, {**buffers, **point}, passed.args, passed.kwargs)
        leaves = [each for each in tree_leaves(returned) if isinstance(each, Tensor)]
        return [leaf for leaf, output in zip(leaves, passed.outputs, strict=True) if output is not None]


def _dual(value: Tensor, tangent: Tensor) -> Tensor:
    dual: Tensor = forward_ad.make_dual(value, tangent)  # type: ignore[no-untyped-call]
    return dual


def _tangent(dual: Tensor) -> Tensor:
    """The tangent; 0 where nothing that moves reached it."""
    tangent: Tensor | None = forward_ad.unpack_dual(dual).tangent  # type: ignore[no-untyped-call]
    return torch.zeros_like(dual) if tangent is None else tangent


@contextmanager
def as_it_was(passed: Forward) -> Iterator[None]:
    """The precision and the random numbers of a recorded pass; the present ones are restored after."""
    device, enabled, dtype = passed.autocast
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.autocast(device.type, dtype, enabled):
        if passed.random:
            torch.set_rng_state(passed.random[0])
            if devices:
                torch.cuda.set_rng_state(passed.random[1], device)
        yield
