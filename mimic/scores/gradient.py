"""The mean gradient ḡ over a set of samples: how steep the start's loss is, and whether the reference lies downhill.

cos(−ḡ, v) = (mean Mimic Score) / ‖ḡ‖ lies in −1 … 1; it says how much of the steepest descent leads to the reference.

The samples stand for a larger set, and the mean of a few gradients is longer than the mean of all: their differences do
not cancel. So ‖ḡ‖² is estimated from products of different batches only, Σ_{a≠b} ⟨G_a, G_b⟩ / Σ_{a≠b} n_a n_b with G
the sum over a batch and n its size, which has no such bias.
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
        norm: ‖ḡ‖ of the set that the samples stand for, loss per unit of weight distance; of the samples themselves
            where there is one batch; 0 where it drowns in their differences.
        cosine: of −ḡ and v, −1 … 1; NaN where the norm is 0.
        samples: how many labelled samples were used.
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
        batches: (images, labels) on the model's device, drawn at random; several of them, see above. Samples without a
            label are left out of the mean.
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
    # Plain tensors in place of the other parameters: what lies before the scope then keeps nothing for a backward.
    state = {name: point[name] if name in point else each.detach() for name, each in parameters.items()}
    total = {name: torch.zeros_like(each, dtype=torch.float64, device="cpu") for name, each in point.items()}
    samples, own_squares, own_pairs = 0, 0.0, 0
    for images, labels in batches:
        with evaluating(model), torch.enable_grad():
            losses = function(widened(outputs_for(function, model, images, state)), labels)
            gradients = torch.autograd.grad(losses.sum(), list(point.values()), materialize_grads=True)
        for name, gradient in zip(point, gradients, strict=True):
            wide = gradient.cpu().double()  # on the CPU, because MPS has no float64
            total[name] += wide
            own_squares += float(wide.square().sum())
        without = int((labels == NO_LABEL).sum()) if labels is not None and labels.ndim == 1 else 0
        samples += len(losses) - without
        own_pairs += (len(losses) - without) ** 2
    if samples == 0:
        raise MimicError("there are no labelled samples to take the mean gradient of")
    square = sum(float(each.square().sum()) for each in total.values())
    if own_pairs == samples**2:  # one batch: there are no products of different ones
        own_squares = own_pairs = 0
    norm = math.sqrt(max(square - own_squares, 0.0) / (samples**2 - own_pairs))
    along = sum(float((total[name] * v.cpu()).sum()) for name, v in direction.tensors.items()) / samples
    cosine = -along / (norm * direction.norm) if norm else math.nan
    return MeanGradient(norm, max(-1.0, min(1.0, cosine)) if norm else math.nan, samples)
