"""Per-sample losses (B,): where the label's and the caption's task meet. Unit: nats; lower is better for the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from mimic.errors import MimicError

# A loss takes the model's logits (B, K) and the target, and gives one number a sample, (B,).
Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]

# The label of a sample that has none: its loss is 0 here, its scores are NaN.
NO_LABEL = -1


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """−log softmax(logits) at the given label.

    Args:
        logits: (B, K) floating point.
        target: (B,) integers, 0 … K−1 or `NO_LABEL`.

    Returns:
        (B,) in the logits' dtype; 0 where there is no label.

    Raises:
        MimicError: a label has no output, or the labels are no integers.
    """
    return F.cross_entropy(logits, check_labels(target, logits.shape[1]), ignore_index=NO_LABEL, reduction="none")


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


def check_labels(labels: Tensor, classes: int) -> Tensor:
    """The labels as int64, once every one of them is known to have an output.

    Args:
        labels: (B,) integers of any width.
        classes: K, the number of outputs.

    Returns:
        (B,) int64.

    Raises:
        MimicError: a label is neither in 0 … K−1 nor `NO_LABEL`, or the labels are no (B,) integers.
    """
    if labels.ndim != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
        raise MimicError(f"labels are {labels.dtype} {tuple(labels.shape)}: (batch,) integers are needed")
    labels = labels.long()
    outside = (labels >= classes) | (labels < NO_LABEL)
    if outside.any():
        label = int(labels[outside][0])
        raise MimicError(f"label {label} has no output: the model has {classes}, for labels 0 to {classes - 1}")
    return labels
