"""Central differences: the slope of a loss along a line from two evaluations, where a model forbids forward mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

# Steps tried, relative to the weights' norm over the scope: too long a one bends, too short a one drowns in rounding,
# and where the best lies depends on the model and its precision.
RELATIVE_STEPS = tuple(2.0**-power for power in range(3, 13))


@dataclass(frozen=True)
class Step:
    """A step length along v/‖v‖, in units of weight distance, and the relative error expected of it."""

    length: float
    error: float


def central_difference(losses_at: Callable[[float], Tensor], length: float) -> Tensor:
    """(ℓ(+h) − ℓ(−h)) / 2h, with an error of order h².

    Args:
        losses_at: signed distance along the line → losses (B,).
        length: h, positive.

    Returns:
        (B,).
    """
    return (losses_at(length) - losses_at(-length)) / (2 * length)


def choose_step(losses_at: Callable[[float], Tensor], scale: float) -> Step:
    """The step whose slope changes least when it is halved, among `RELATIVE_STEPS` times `scale`.

    Args:
        losses_at: signed distance along the line → losses (B,) of a first batch.
        scale: the norm of the weights that are moved.

    Returns:
        The step; its error is ‖s(h) − s(h/2)‖ / ‖s(h/2)‖ over the batch, an estimate that rounding can make too small.
    """
    lengths = [relative * (scale or 1.0) for relative in RELATIVE_STEPS]
    slopes = [central_difference(losses_at, length) for length in lengths]
    steps = []
    for length, slope, halved in zip(lengths, slopes, slopes[1:], strict=False):
        known = slope.isfinite() & halved.isfinite()
        change = (slope - halved)[known].norm() / halved[known].norm().clamp_min(1e-30)
        steps.append(Step(length, float(change)))
    return min(steps, key=lambda step: step.error)
