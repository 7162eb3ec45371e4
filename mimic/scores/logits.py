"""Signals that a batch's forward passes give: one small function each, all of the same passes. Higher is better.

Units: nats for log-probabilities, logits for margins; what each is good for, with its source, is in docs/signals.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from mimic.errors import MimicError


class Outputs(Protocol):
    """What a batch's passes gave. The reference's is computed when first asked for."""

    @property
    def start(self) -> Tensor:
        """(B, K) logits of the model being scored."""

    @property
    def reference(self) -> Tensor:
        """(B, K) logits of the reference."""

    @property
    def features(self) -> Tensor | None:
        """(B, D), what the start's final linear layer reads; None where the start does not end in one."""

    @property
    def head(self) -> tuple[Tensor, Tensor | None]:
        """Weight (K, D) and bias (K,) of that layer; asked for only where there are features."""


def logprob(logits: Tensor, labels: Tensor) -> Tensor:
    """log softmax(logits) at the given label, in nats; at most 0.

    Args:
        logits: (B, K).
        labels: (B,) int64, 0 … K−1.

    Returns:
        (B,).
    """
    return F.log_softmax(logits, dim=1).gather(1, labels[:, None]).squeeze(1)


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The given label's logit minus the highest other one; positive when the model's prediction is the given label.

    Args:
        logits: (B, K), K ≥ 2.
        labels: (B,) int64, 0 … K−1.

    Returns:
        (B,).
    """
    own = logits.gather(1, labels[:, None]).squeeze(1)
    return own - logits.scatter(1, labels[:, None], float("-inf")).amax(dim=1)


def rho(start: Tensor, reference: Tensor, labels: Tensor) -> Tensor:
    """Reducible loss ℓ(start) − ℓ(reference) in nats: what the reference can explain of the label and the start cannot.

    Args:
        start, reference: (B, K) logits.
        labels: (B,) int64, 0 … K−1.

    Returns:
        (B,).
    """
    return logprob(reference, labels) - logprob(start, labels)


def error_norm(logits: Tensor, labels: Tensor) -> Tensor:
    """EL2N, ‖softmax(logits) − onehot(label)‖₂: the length of the cross-entropy's gradient by the logits, 0 … √2.

    Args:
        logits: (B, K).
        labels: (B,) int64, 0 … K−1.

    Returns:
        (B,).
    """
    length: Tensor = torch.linalg.vector_norm(_error(logits, labels), dim=1)
    return length


def gradient_norm(logits: Tensor, features: Tensor, labels: Tensor, bias: bool) -> Tensor:
    """Length of the cross-entropy's gradient by the last layer: ‖p − onehot‖ · √(‖h‖² + 1), without the 1 if no bias.

    The gradient by the weights is the outer product of p − onehot and the features h, so its norm is the product.

    Args:
        logits: (B, K).
        features: (B, D), what the last layer reads.
        labels: (B,) int64, 0 … K−1.
        bias: whether the layer has one.

    Returns:
        (B,).
    """
    return error_norm(logits, labels) * (features.square().sum(dim=1) + float(bias)).sqrt()


def alignment(logits: Tensor, features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Cosine of −gradient and the last layer's own parameters: whether the sample pulls where the model already went.

    ⟨−g, (W, c)⟩ = Σ_k (onehot − p)_k z_k, since Wh + c are the logits z.

    Args:
        logits: (B, K).
        features: (B, D), what the last layer reads.
        labels: (B,) int64, 0 … K−1.
        weight: (K, D); bias: (K,) or None.

    Returns:
        (B,), −1 … 1; NaN where the gradient is zero or the layer is.
    """
    inner = -(_error(logits, labels) * logits).sum(dim=1)
    own = weight.square().sum() + (0 if bias is None else bias.square().sum())
    return inner / (gradient_norm(logits, features, labels, bias is not None) * own.sqrt())


def _error(logits: Tensor, labels: Tensor) -> Tensor:
    """softmax(logits) − onehot(label), (B, K)."""
    return logits.softmax(dim=1).scatter_add(1, labels[:, None], -torch.ones_like(logits[:, :1]))


def _neg_grad_norm(outputs: Outputs, labels: Tensor) -> Tensor:
    features = _features(outputs, "neg_grad_norm")
    return -gradient_norm(outputs.start, features, labels, outputs.head[1] is not None)


def _alignment_self(outputs: Outputs, labels: Tensor) -> Tensor:
    features = _features(outputs, "alignment_self")
    weight, bias = (None if each is None else each.to(outputs.start) for each in outputs.head)
    assert weight is not None
    return alignment(outputs.start, features, labels, weight, bias)


def _features(outputs: Outputs, signal: str) -> Tensor:
    if outputs.features is None:
        raise MimicError(f"{signal} needs a model that ends in a linear layer, and this one does not: leave it out")
    return outputs.features.to(outputs.start)


# name → (outputs, labels (B,) int64) → (B,); what each means is in `mimic.scores.SIGNALS`.
BATCH_SIGNALS: dict[str, Callable[[Outputs, Tensor], Tensor]] = {
    "ref_logprob": lambda outputs, labels: logprob(outputs.reference, labels),
    "ref_margin": lambda outputs, labels: margin(outputs.reference, labels),
    "rho": lambda outputs, labels: rho(outputs.start, outputs.reference, labels),
    "logprob": lambda outputs, labels: logprob(outputs.start, labels),
    "margin": lambda outputs, labels: margin(outputs.start, labels),
    "neg_el2n": lambda outputs, labels: -error_norm(outputs.start, labels),
    "neg_grad_norm": _neg_grad_norm,
    "alignment_self": _alignment_self,
}
