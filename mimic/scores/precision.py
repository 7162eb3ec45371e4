"""Half precision, only as far as it ranks like full precision: both on one batch, compared signal by signal.

bfloat16 keeps eight bits of a number. That is enough for most networks' scores and halves their cost, but a reference
very near the start, or a very deep network, can drown in the rounding. So nobody has to believe it: it is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mimic.errors import MimicError

Precision = Literal["fp32", "bf16"]

# Below this rank correlation with fp32 a filter would drop other samples, not the same ones.
LEAST_SPEARMAN = 0.99
# Fewer samples than these have no ranking to speak of: half precision stays unchecked until a batch has as many.
LEAST_SAMPLES = 4


@dataclass(frozen=True)
class Agreement:
    """How a signal in half precision compares with the same in full precision.

    Attributes:
        spearman: rank correlation, −1 … 1; NaN for fewer than two samples.
        relative_error: ‖half − full‖ / ‖full‖.
        samples: how many had a number in both.
    """

    spearman: float
    relative_error: float
    samples: int


def agreement(half: Tensor, full: Tensor) -> Agreement:
    """Compares two columns of scores of the same samples.

    Args:
        half: (B,) floating point, NaN where not scored.
        full: (B,), likewise.

    Returns:
        Their agreement over the samples that both have.
    """
    known = half.isfinite() & full.isfinite()
    a, b = half[known].cpu().double(), full[known].cpu().double()  # on the CPU, because MPS has no float64
    error = float((a - b).norm() / b.norm()) if b.any() else float((a - b).norm())
    return Agreement(_spearman(a, b), error, len(a))


def check_agreement(agreements: Mapping[str, Agreement]) -> None:
    """Refuses half precision where it would rank otherwise.

    Raises:
        MimicError: a signal's rank correlation is below `LEAST_SPEARMAN`.
    """
    name, worst = min(agreements.items(), key=lambda each: each[1].spearman)
    if worst.spearman < LEAST_SPEARMAN:
        raise MimicError(
            f"bf16 ranks {worst.samples} samples by {name} otherwise than fp32 does (Spearman {worst.spearman:.3f}, "
            f"at least {LEAST_SPEARMAN} is needed): use fp32, leave that signal out, or force it"
        )


def _spearman(a: Tensor, b: Tensor) -> float:
    if len(a) < 2:
        return float("nan")
    ranks = torch.stack([_ranks(a), _ranks(b)])
    return float(torch.corrcoef(ranks)[0, 1])


def _ranks(values: Tensor) -> Tensor:
    """Ranks from 0, ties sharing their mean."""
    ordered = values.sort().values
    first, behind = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    return (first + behind - 1).double() / 2
