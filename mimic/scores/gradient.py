"""The mean gradient ḡ over a set of samples: how steep the start's loss is, and whether the reference lies downhill.

cos(−ḡ, v) = (mean Mimic Score) / ‖ḡ‖ lies in −1 … 1; it says how much of the steepest descent leads to the reference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.losses import NO_LABEL, Loss, get_loss
from mimic.models.calling import Inputs, evaluating, plain_module
from mimic.models.direction import Direction
from mimic.scores.differentiate import outputs_for, widened


@dataclass(frozen=True)
class MeanGradient:
    """ḡ over a direction's scope.

    Attributes:
        norm: ‖ḡ‖, loss per unit of weight distance.
        cosine: of −ḡ and v, −1 … 1; NaN where ḡ is zero.
        samples: how many labelled samples it is the mean of.
    """

    norm: float
    cosine: float
    samples: int


def mean_gradient(
    model: nn.Module,
    batches: Iterable[tuple[Inputs, Tensor | None]],
    direction: Direction,
    loss: str | Loss = "cross_entropy",
) -> MeanGradient:
    """The mean of the per-sample gradients over a scope, by one ordinary backward a batch, in eval mode.

    Args:
        model: the model at θ; neither its parameters nor their gradients are touched.
        batches: (images, labels) on the model's device; samples without a label are left out of the mean.
        direction: v; its scope is the gradient's.
        loss: a name in `mimic.losses.LOSSES`, or a function.

    Returns:
        ‖ḡ‖, its cosine with v and the number of samples.

    Raises:
        MimicError: no batch holds a labelled sample, or a label has no output.
    """
    model, function = plain_module(model), get_loss(loss)
    parameters = dict(model.named_parameters())
    point = {name: parameters[name].detach().requires_grad_() for name in direction.tensors}
    total = {name: torch.zeros_like(each, dtype=torch.float64, device="cpu") for name, each in point.items()}
    samples = 0
    for images, labels in batches:
        with evaluating(model), torch.enable_grad():
            losses = function(widened(outputs_for(function, model, images, point)), labels)
            gradients = torch.autograd.grad(losses.sum(), list(point.values()), materialize_grads=True)
        for name, gradient in zip(point, gradients, strict=True):
            total[name] += gradient.cpu()  # float64 sums, which MPS has not
        without = int((labels == NO_LABEL).sum()) if labels is not None and labels.ndim == 1 else 0
        samples += len(losses) - without
    if samples == 0:
        raise MimicError("there are no labelled samples to take the mean gradient of")
    norm = math.sqrt(sum(float(each.square().sum()) for each in total.values()))
    along = sum(float((total[name] * v.cpu()).sum()) for name, v in direction.tensors.items())
    return MeanGradient(norm / samples, -along / (norm * direction.norm) if norm else math.nan, samples)
