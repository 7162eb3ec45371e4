"""Signals that a batch of images and captions gives: one small function each, all of the same passes. Higher is better.

All but the cosines judge a pair among the others of its batch, so they depend on which those are. Units: nats for
log-probabilities, cosines otherwise; docs/signals.md has the sources.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from mimic.losses import Clip, Loss
from mimic.scores.differentiate import Change, Ends

# Image features (B, D), text features (B, D), scale and perhaps bias.
Towers = tuple[Tensor, ...]


@dataclass(frozen=True)
class Embedded:
    """What the towers gave for some pairs, before a loss couples them: rows may be put together to other batches.

    Attributes:
        start, reference: both towers at θ and at the reference.
        ends: both towers at θ with a scope's parameters replaced by the reference's, one a scope; empty where no signal
            needs them.
        changes: of the start's towers along each direction; likewise.
    """

    start: Towers
    reference: Towers
    ends: tuple[Towers, ...]
    changes: tuple[Change, ...]

    def __len__(self) -> int:
        return len(self.start[0])

    def rows(self, index: Tensor) -> Embedded:
        """Some of the pairs, (B′,) int64, in this order."""
        return _combined([self], lambda tensors: tensors[0][index.to(tensors[0].device)])

    @staticmethod
    def joined(pieces: Sequence[Embedded]) -> Embedded:
        """All the pairs of several pieces, which one scorer embedded."""
        return _combined(pieces, torch.cat)


def _combined(pieces: Sequence[Embedded], rows: Callable[[list[Tensor]], Tensor]) -> Embedded:
    """One piece of several, by what joins tensors that have a row a pair; numbers are the first one's."""

    def towers(several: Sequence[Towers]) -> Towers:
        return tuple(rows(list(each)) if i < 2 else each[0] for i, each in enumerate(zip(*several, strict=True)))

    def change(several: Sequence[Change]) -> Change:
        if isinstance(several[0], Ends):
            ends = cast(Sequence[Ends], several)
            plus, minus = (towers([cast(Towers, getattr(each, side)) for each in ends]) for side in ("plus", "minus"))
            return Ends(plus, minus, several[0].step)
        return towers(cast(Sequence[Towers], several))

    return Embedded(
        towers([each.start for each in pieces]),
        towers([each.reference for each in pieces]),
        tuple(towers(each) for each in zip(*(piece.ends for piece in pieces), strict=True)),
        tuple(change(each) for each in zip(*(piece.changes for piece in pieces), strict=True)),
    )


def finds_its_own(towers: Towers) -> Tensor:
    """(B,) bool: whether an image's caption is the nearest of the batch's."""
    best = (towers[0] @ towers[1].T).argmax(dim=1)
    return best == torch.arange(len(best), device=best.device)


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


# name → (what the towers gave, loss of pairs) → (B,); what each means is in `mimic.scores.PAIR_SIGNALS`.
BATCH_PAIR_SIGNALS: dict[str, Callable[[Embedded, Loss], Tensor]] = {
    "clip": lambda outputs, loss: cosine(outputs.reference),
    "clip_start": lambda outputs, loss: cosine(outputs.start),
    "neg_clip_loss": lambda outputs, loss: neg_clip_loss(outputs.reference),
    "ref_logprob": lambda outputs, loss: -loss(outputs.reference, None),
    "logprob": lambda outputs, loss: -loss(outputs.start, None),
    "rho": lambda outputs, loss: loss(outputs.start, None) - loss(outputs.reference, None),
}
