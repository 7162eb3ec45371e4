"""Signals that a batch of images and captions gives: one small function each, all of the same passes. Higher is better.

All but the cosines judge a pair among the others of its batch, so they depend on which those are. Units: nats for
log-probabilities, cosines otherwise; docs/signals.md has the sources.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from mimic.losses import Clip, Loss

# Image features (B, D), text features (B, D), scale and perhaps bias.
Towers = tuple[Tensor, ...]


class PairOutputs(Protocol):
    """What a batch's passes gave. The reference's is computed when first asked for."""

    @property
    def start(self) -> Towers:
        """Both towers of the model being scored."""

    @property
    def reference(self) -> Towers:
        """Both towers of the reference."""


def cosine(towers: Towers) -> Tensor:
    """Cosine of each image and its own caption, −1 … 1: CLIP score."""
    return F.cosine_similarity(towers[0], towers[1], dim=1)


def neg_clip_loss(towers: Towers) -> Tensor:
    """Minus CLIP's loss of each pair, in units of its cosine: CLIP score less what the batch's others come to.

    cos_i − (τ/2) [log Σ_j exp(cos_ij/τ) + log Σ_j exp(cos_ji/τ)] with τ = 1/scale.

    Returns:
        (B,), at most 0.
    """
    return -Clip()(towers[:3]) / towers[2]


# name → (outputs, loss of pairs) → (B,); what each means is in `mimic.scores.PAIR_SIGNALS`.
BATCH_PAIR_SIGNALS: dict[str, Callable[[PairOutputs, Loss], Tensor]] = {
    "clip": lambda outputs, loss: cosine(outputs.reference),
    "clip_start": lambda outputs, loss: cosine(outputs.start),
    "neg_clip_loss": lambda outputs, loss: neg_clip_loss(outputs.reference),
    "ref_logprob": lambda outputs, loss: -loss(outputs.reference, None),
    "logprob": lambda outputs, loss: -loss(outputs.start, None),
    "rho": lambda outputs, loss: loss(outputs.start, None) - loss(outputs.reference, None),
}
