"""Central differences: the slope of a loss along a line from two evaluations, where a model forbids forward mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

# Steps tried, relative to the weights' norm over the scope, each half of the one before: too long a step bends, too
# short a one drowns in rounding, and where the best lies depends on the model and its precision.
LONGEST, SHORTEST = 2.0**-4, 2.0**-20
# The search ends after so many halvings in a row that were no better than the best before.
PATIENCE = 3


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
    """The step whose slope changes least when it is halved.

    Args:
        losses_at: signed distance along the line → losses (B,) of a first batch.
        scale: the norm of the weights that are moved.

    Returns:
        The step. Its error is 2 ‖s(h) − s(h/2)‖ / ‖s(h/2)‖ over the batch: for smooth models the error falls fourfold
        with each halving, but the kinks of ReLU have it fall by √2 only, so the change shows less than half of it.
    """
    length = LONGEST * (scale or 1.0)
    slope = central_difference(losses_at, length)
    best, worse = Step(length, float("inf")), 0
    while worse < PATIENCE and length > SHORTEST * (scale or 1.0):
        halved = central_difference(losses_at, length / 2)
        known = slope.isfinite() & halved.isfinite()
        change = (slope - halved)[known].norm() / halved[known].norm().clamp_min(1e-30)
        step = Step(length, 2 * float(change) if known.any() else float("inf"))
        best, worse = (step, 0) if step.error < best.error else (best, worse + 1)
        slope, length = halved, length / 2
    return best
