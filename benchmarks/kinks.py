"""Float32 against float64 where the derivative jumps: a ReLU whose input rounds across 0 takes another branch.

A sample with such an input has two one-sided derivatives, a rounding error apart, and every float32 method takes one of
them by chance. So an error against float64 is given twice: as it is, and with float64 on the branches that the method
took, which is what the method's own arithmetic loses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.autograd.forward_ad as fwad
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

RELUS = (F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)


class _Recorded(TorchFunctionMode):
    """Keeps which inputs of every ReLU are positive."""

    def __init__(self) -> None:
        super().__init__()
        self.positive: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in RELUS:
            self.positive.append(fwad.unpack_dual(args[0]).primal > 0)
        return func(*args, **(kwargs or {}))


class _Replayed(TorchFunctionMode):
    """Has every ReLU let pass what it is told to, in order."""

    def __init__(self, positive: list[Tensor]) -> None:
        super().__init__()
        self._positive = iter(positive)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in RELUS:
            return args[0] * next(self._positive)
        return func(*args, **(kwargs or {}))


def on_its_branches(
    method: Callable[[], object], plain: Callable[[], object], exact: Callable[[], Tensor]
) -> tuple[Tensor, int]:
    """What the exact call gives on the branches that a method took, and how many samples have one of the other kind.

    Args:
        method: runs a model over a batch by `F.relu` or `torch.relu`, in one or more pieces one after the other, with
            plain or dual tensors.
        plain: the exact model's forward over the whole batch.
        exact: gives (B,) by one pass over the whole batch.

    Returns:
        (B,), and the number of samples.
    """
    recorded = []
    for call in (plain, method):
        with _Recorded() as seen:
            call()
        recorded.append(seen.positive)
    own, taken = recorded
    if not own:  # nothing that jumps
        return exact(), 0
    layers = [torch.cat(taken[i :: len(own)]) for i in range(len(own))]
    differ = [(a != b).flatten(1).any(dim=1) for a, b in zip(own, layers, strict=True)]
    with _Replayed(layers):
        return exact(), int(torch.stack(differ).any(dim=0).sum())
