"""When the reference has nothing left to say: the mean score over a window is not positive any more.

Then the model has caught up with the reference, v points nowhere useful, and the scores' ranking turns useless or
inverted. Scores are averaged over windows of steps, one after the other, so that a step waits for nothing but its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from mimic.errors import MimicError
from mimic.training.together import processes, total

OnExhausted = Literal["continue", "uniform", "stop"]


class ReferenceExhausted(MimicError):
    """The mean score is not positive any more, and `on_exhausted="stop"` was asked for."""


@dataclass(frozen=True)
class Exhaustion:
    """The window in which the mean score was first not positive: its last step (counted from 0) and the mean."""

    step: int
    mean: float

    @property
    def sentence(self) -> str:
        """What a user should read."""
        return (
            f"the mean Mimic Score was {self.mean:.3g} over the steps up to {self.step}: "
            "the model has caught up with the reference, and scores rank badly from here on"
        )


class Gauge:
    """Averages the scores of each window of steps, and remembers the first window whose mean is not positive.

    Where torch.distributed has several processes the mean is over all of them, so that they decide alike.

    Args:
        window: how many steps, at least 1.

    Raises:
        MimicError: the window is empty.
    """

    def __init__(self, window: int) -> None:
        if window < 1:
            raise MimicError(f"window is {window}: it must be at least one step")
        self.window = window
        self.exhausted: Exhaustion | None = None
        self._sum: Tensor | float = 0.0
        self._count = 0

    def see(self, scores: Tensor, step: int) -> bool:
        """Takes in a batch's scores (B,); true in the one step in which the reference turns out to be exhausted."""
        if self.exhausted is not None:
            return False
        self._sum = self._sum + scores.mean()
        self._count += 1
        if self._count < self.window:
            return False
        mean = torch.as_tensor(self._sum / self._count)
        self._sum, self._count = 0.0, 0
        mean = total(mean) / processes()
        if not float(mean) <= 0:  # NaN says nothing
            return False
        self.exhausted = Exhaustion(step, float(mean))
        return True

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to decide as the uninterrupted one would."""
        exhausted = asdict(self.exhausted) if self.exhausted else None
        return {"sum": torch.as_tensor(self._sum).detach().cpu().clone(), "count": self._count, "exhausted": exhausted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        self._sum, self._count = state["sum"], state["count"]
        self.exhausted = Exhaustion(**state["exhausted"]) if state["exhausted"] else None


def check_reaction(on_exhausted: str) -> None:
    """Refuses a reaction that there is not."""
    if on_exhausted not in get_args(OnExhausted):
        raise MimicError(f"there is no on_exhausted={on_exhausted!r}: one of {', '.join(get_args(OnExhausted))}")
