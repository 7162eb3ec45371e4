"""From the change of a model's outputs to the change of its losses, with nothing but the losses' own graph.

Where no sample's loss depends on another's row (cross-entropy), one gradient of their sum by the outputs is enough.
Where one does (a contrastive loss), the losses' Jacobian-vector product is taken by differentiating the backward pass
again: Jᵀu is linear in u, and its derivative along the change is J·change. Both walk the loss alone, never the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mimic.errors import MimicError
from mimic.training.watch import Output

UNUSED = (
    "the losses do not come from the model's last forward pass: compute them from its output in the same step, "
    "with gradients enabled, and give forwards=2 where two passes make one batch"
)


class LossSlope:
    """dℓ_i/dε (B,) for outputs that change by a known amount per ε.

    Args:
        coupled: whether a sample's loss depends on other samples; None has the first batch of two or more tell.
    """

    def __init__(self, coupled: bool | None = None) -> None:
        self.coupled = coupled

    def __call__(self, losses: Tensor, outputs: Sequence[Output], changes: Sequence[Tensor]) -> Tensor:
        """The losses' slope.

        Args:
            losses: (B,), with a graph that leads to the outputs; the graph is kept.
            outputs: tensors that the losses were computed from.
            changes: the change of each, in its shape.

        Returns:
            (B,) float32, or float64 for float64 losses.

        Raises:
            MimicError: the losses do not depend on the outputs, or they couple the batch and cannot be differentiated
                twice.
        """
        if self.coupled is None and len(losses) > 1:
            self.coupled = couples(losses, outputs)
        if self.coupled and len(losses) > 1:
            return _by_double_backward(losses, outputs, changes)
        return _by_rows(losses, outputs, changes)


def couples(losses: Tensor, outputs: Sequence[Output]) -> bool:
    """Whether the first loss depends on any row of the outputs but the first."""
    gradients = [each for each in gradients_by(losses[0], outputs) if each is not None]
    by_row = all(each.ndim > 0 and len(each) == len(losses) for each in gradients)
    return not by_row or any(bool(each[1:].any()) for each in gradients)


def _by_rows(losses: Tensor, outputs: Sequence[Output], changes: Sequence[Tensor]) -> Tensor:
    dtype = torch.promote_types(losses.dtype, torch.float32)
    slope = torch.zeros(len(losses), dtype=dtype, device=losses.device)
    for gradient, change in zip(gradients_by(losses, outputs), changes, strict=True):
        if gradient is not None:
            slope = slope + (gradient.to(dtype) * change.to(dtype)).reshape(len(losses), -1).sum(dim=1)
    return slope


def _by_double_backward(losses: Tensor, outputs: Sequence[Output], changes: Sequence[Tensor]) -> Tensor:
    u = torch.zeros_like(losses, requires_grad=True)
    try:
        gradients = gradients_by(losses, outputs, u)
        changed = [(each, change) for each, change in zip(gradients, changes, strict=True) if each is not None]
        slope = torch.autograd.grad(
            [each for each, _ in changed], u, grad_outputs=[change.to(each) for each, change in changed]
        )[0]
    except RuntimeError as error:
        reason = str(error).partition("\n")[0][:120]
        raise MimicError(
            f"this loss couples the samples of a batch and cannot be differentiated twice ({reason}): "
            "write it in plain torch operations, or give coupled=False if each loss depends on its own sample alone"
        ) from error
    return slope.to(torch.promote_types(losses.dtype, torch.float32))


def gradients_by(
    losses: Tensor, outputs: Sequence[Output], weights: Tensor | None = None, keep_graph: bool = True
) -> tuple[Tensor | None, ...]:
    """Σ_i u_i ∂ℓ_i by each output; None for an output that no loss depends on.

    Args:
        losses: (B,) with their graph.
        outputs: where to stop.
        weights: u (B,); the gradients are differentiable by it. 1 where none are given.
        keep_graph: whether somebody will go backward again.

    Raises:
        MimicError: the losses depend on none of the outputs.
    """
    if not losses.requires_grad:
        raise MimicError(UNUSED)
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
        losses,
        [each.edge for each in outputs],
        grad_outputs=torch.ones_like(losses) if weights is None else weights,
        retain_graph=keep_graph,
        create_graph=weights is not None,
        allow_unused=True,
    )
    if all(each is None for each in gradients):
        raise MimicError(UNUSED)
    return gradients


def gradients_of_each(losses: Tensor, outputs: Sequence[Output]) -> tuple[Tensor | None, ...]:
    """Every ∂ℓ_i by each output whole, (B, *its shape); None where no loss depends on it. The graph is kept."""
    if not losses.requires_grad:
        raise MimicError(UNUSED)
    one_each = torch.eye(len(losses), dtype=losses.dtype, device=losses.device)
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
        losses,
        [each.edge for each in outputs],
        grad_outputs=one_each,
        retain_graph=True,
        allow_unused=True,
        is_grads_batched=True,
    )
    return gradients
