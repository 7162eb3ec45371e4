"""Policies: from a batch's Mimic Scores to the weights of its samples.

Weights are ≥ 0, sum to 1 over the batch and grow with the score; 1/B is neutral, so a learning rate keeps its meaning
under every policy. They depend on the batch that a sample happens to land in: the score is what is kept.

- ``softmax``: softmax(score / τ), the paper's; a lower τ focuses harder
- ``clamp``: in proportion to the score where it is positive, 0 elsewhere; uniform where no score is positive
- ``top``: the best share of the batch, equally; ties with the last of them come along
- ``uniform``: 1/B, the baseline
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from mimic.errors import MimicError

PolicyName = Literal["softmax", "clamp", "top", "uniform"]

# τ in units of the score (loss per unit of weight distance), or a function of the step that gives it.
Temperature: TypeAlias = float | Callable[[int], float]


@dataclass(frozen=True)
class Policy:
    """How scores become weights.

    Args:
        name: see the module's list.
        temperature: τ > 0 of ``softmax``, constant or by step (counted from 0).
        share: of ``top``, 0 < share ≤ 1; at least one sample is kept.

    Raises:
        MimicError: an unknown name, a temperature that is not positive, a share outside (0, 1].
    """

    name: PolicyName = "softmax"
    temperature: Temperature = 1.0
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.name not in get_args(PolicyName):
            raise MimicError(f"there is no policy {self.name!r}: one of {', '.join(get_args(PolicyName))}")
        if not callable(self.temperature):
            _check_temperature(self.temperature)
        if not 0 < self.share <= 1:
            raise MimicError(f"share is {self.share}: it must be above 0 and at most 1")

    def __call__(self, scores: Tensor, step: int = 0) -> Tensor:
        """The weights of one batch.

        Args:
            scores: (B,) floating point. A NaN or infinity makes the whole batch's weights NaN, as it would make the
                mean loss NaN: gradient scalers rely on seeing it.
            step: how many batches came before, for a temperature that moves.

        Returns:
            (B,) in the scores' dtype.
        """
        if self.name == "softmax":
            return torch.softmax(scores / self.temperature_at(step), dim=0)
        if self.name == "clamp":
            return _clamp(scores)
        return _top(scores, self.share) if self.name == "top" else uniform(scores)

    def temperature_at(self, step: int) -> float:
        """τ at a step."""
        if not callable(self.temperature):
            return self.temperature
        return _check_temperature(self.temperature(step))


def geometric(first: float, last: float, steps: int) -> Callable[[int], float]:
    """A temperature that goes from `first` to `last` by the same factor each step, over `steps` steps, and stays there.

    >>> cooling = geometric(1.0, 0.01, steps=2)
    >>> [round(cooling(step), 3) for step in (0, 1, 2, 3)]
    [1.0, 0.1, 0.01, 0.01]
    """
    _check_temperature(first)
    _check_temperature(last)
    return lambda step: first * (last / first) ** min(step / max(steps, 1), 1.0)


def _check_temperature(temperature: float) -> float:
    if not 0 < temperature < math.inf:
        raise MimicError(f"temperature is {temperature}: it must be a positive number")
    return temperature


def uniform(scores: Tensor) -> Tensor:
    """1/B for each (B,): also what a run falls back to when the reference has nothing left to say."""
    return torch.full_like(scores, 1 / len(scores)) + _nothing(scores)


def _clamp(scores: Tensor) -> Tensor:
    positive = scores.clamp_min(0)
    total = positive.sum()
    return torch.where(total > 0, positive / total + _nothing(scores), uniform(scores))


def _top(scores: Tensor, share: float) -> Tensor:
    count = math.ceil(share * len(scores) - 1e-9)  # 0.7 of 10 is 7.000000000000001 in floating point
    kept = (scores >= scores.topk(count).values[-1]).to(scores.dtype)
    return kept / kept.sum() + _nothing(scores)


def _nothing(scores: Tensor) -> Tensor:
    """0 where every score is finite, else NaN: comparisons would swallow it."""
    return scores.sum() * 0
