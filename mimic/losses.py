"""Per-sample losses (B,): where the label's and the caption's task meet. Unit: nats; lower is better for the model.

A loss takes what the model returns and the target. Losses of labels read logits (B, K). Losses of pairs read what a
two-tower model returns for (images, texts), and couple the batch: each pair is judged against all others in it, so a
pair's score depends on its batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from mimic.errors import MimicError

# (what the model returns, target) → (B,). A loss that reads pairs says so by an attribute `pairs`.
Loss: TypeAlias = Callable[[Any, Any], Tensor]

# The label of a sample that has none: its loss is 0 here, its scores are NaN.
NO_LABEL = -1


@dataclass(frozen=True)
class CrossEntropy:
    """−log softmax(logits) at the given label.

    Attributes:
        label_smoothing: share of the target spread evenly over all classes, 0 … 1.
        class_weights: (K,) factors of the loss by the label's class; None: all 1. As in torch with no reduction, they
            are not normalised.
    """

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """The losses.

        Args:
            logits: (B, K) floating point.
            target: (B,) integers, 0 … K−1 or `NO_LABEL`.

        Returns:
            (B,) in the logits' dtype; 0 where there is no label.

        Raises:
            MimicError: a label has no output, the labels are no integers, or there are not K class weights.
        """
        labels = check_labels(target, logits.shape[1])
        weights = None if self.class_weights is None else logits.new_tensor(self.class_weights)
        if weights is not None and len(weights) != logits.shape[1]:
            raise MimicError(
                f"there are {len(weights)} class weights for {logits.shape[1]} classes: one each is needed"
            )
        return F.cross_entropy(
            logits, labels, weights, ignore_index=NO_LABEL, reduction="none", label_smoothing=self.label_smoothing
        )


@dataclass(frozen=True)
class MultiLabel:
    """Binary cross-entropy of every output on its own, averaged over the K outputs."""

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """The losses.

        Args:
            logits: (B, K) floating point.
            target: (B, K), 1 where the label applies and 0 where not, or anything between.

        Returns:
            (B,) in the logits' dtype.

        Raises:
            MimicError: the target's shape is not the logits', or it leaves 0 … 1.
        """
        if target.shape != logits.shape:
            raise MimicError(f"multi-label targets are {tuple(target.shape)}: {tuple(logits.shape)} is needed, 0 or 1")
        if not ((target >= 0) & (target <= 1)).all():
            raise MimicError("multi-label targets leave 0 … 1: 1 where the label applies, 0 where not")
        return F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction="none").mean(dim=1)


@dataclass(frozen=True)
class Clip:
    """Contrastive loss of CLIP: each image must find its text among the batch's, and each text its image."""

    pairs = True

    def __call__(self, outputs: tuple[Tensor, ...], target: None = None) -> Tensor:
        """The losses: for each pair the mean of its row's and its column's cross-entropy.

        Args:
            outputs: image features (B, D), text features (B, D), both of unit length, and the scale, a number.
            target: unused; the i-th image belongs to the i-th text.

        Returns:
            (B,); their mean is CLIP's training loss.
        """
        images, texts, scale = outputs[:3]
        logits = scale * images @ texts.T  # (B, B)
        return -(logits.log_softmax(dim=1) + logits.log_softmax(dim=0)).diagonal() / 2


@dataclass(frozen=True)
class SigLip:
    """Pairwise sigmoid loss of SigLIP: every image and text of the batch is judged a pair or none on its own."""

    pairs = True

    def __call__(self, outputs: tuple[Tensor, ...], target: None = None) -> Tensor:
        """The losses: for each pair the mean of its row's sum and its column's sum.

        Args:
            outputs: image features (B, D), text features (B, D), both of unit length, the scale and, where the model
                has one, the bias; numbers.
            target: unused; the i-th image belongs to the i-th text.

        Returns:
            (B,); their mean is SigLIP's training loss.
        """
        images, texts, scale, *bias = outputs
        logits = scale * images @ texts.T + (bias[0] if bias else 0)  # (B, B)
        signs = 2 * torch.eye(len(logits), dtype=logits.dtype, device=logits.device) - 1
        losses = -F.logsigmoid(signs * logits)
        return (losses.sum(dim=1) + losses.sum(dim=0)) / 2


cross_entropy = CrossEntropy()

LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "multi_label": MultiLabel(),
    "clip": Clip(),
    "siglip": SigLip(),
}


def get_loss(loss: str | Loss) -> Loss:
    """The loss of that name with its defaults, or the function itself.

    Raises:
        MimicError: there is no loss of that name.
    """
    if not isinstance(loss, str):
        return loss
    if loss not in LOSSES:
        raise MimicError(f"there is no loss {loss!r}: one of {', '.join(LOSSES)}")
    return LOSSES[loss]


def reads_pairs(loss: Loss) -> bool:
    """Whether a loss takes a two-tower model's outputs rather than logits."""
    return bool(getattr(loss, "pairs", False))


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
