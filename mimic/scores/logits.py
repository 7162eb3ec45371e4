"""Signals that one forward pass gives: what a model says of the given label. Nats or logits; higher is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor


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


@dataclass(frozen=True)
class LogitSignal:
    """A signal of one model's logits: whose, and how."""

    of: Literal["start", "reference"]
    function: Callable[[Tensor, Tensor], Tensor]


# name → signal; what each means is in `mimic.scores.SIGNALS`.
LOGIT_SIGNALS: dict[str, LogitSignal] = {
    "ref_logprob": LogitSignal("reference", logprob),
    "logprob": LogitSignal("start", logprob),
    "margin": LogitSignal("start", margin),
}
