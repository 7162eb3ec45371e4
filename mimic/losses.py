"""Per-sample losses (B,): where the label's and the caption's task meet. Unit: nats; lower is better for the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch.nn.functional as F
from torch import Tensor

from mimic.errors import MimicError

# A loss takes the model's logits (B, K) and the target, and gives one number a sample, (B,).
Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """−log softmax(logits) at the given label.

    Args:
        logits: (B, K) floating point.
        target: (B,) int64, 0 … K−1.

    Returns:
        (B,) in the logits' dtype.
    """
    return F.cross_entropy(logits, target, reduction="none")


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy}


def get_loss(loss: str | Loss) -> Loss:
    """The loss of that name, or the function itself.

    Raises:
        MimicError: there is no loss of that name.
    """
    if not isinstance(loss, str):
        return loss
    if loss not in LOSSES:
        raise MimicError(f"there is no loss {loss!r}: one of {', '.join(LOSSES)}")
    return LOSSES[loss]
