"""Rules: a score and a line become votes. Kept ⇔ score ≥ threshold, so ties are never split; no score, no vote.

A rule is small, frozen and written as JSON, so that the same file gives the same votes next year. `RULES`
names the kinds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mimic.data import ABSTAIN, DROP, KEEP, Votes
from mimic.errors import MimicError


class ThresholdRule(BaseModel):
    """Keep what scores at least `threshold` on one signal of one run.

    Attributes:
        run: id of the published run.
        signal: name of the signal, e.g. ``"mimic"``.
        threshold: in the signal's own unit; the lowest score that is kept.
        drop_unscored: drop samples without a score too; by default they abstain and are exported as kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["threshold"] = "threshold"
    run: str = Field(min_length=1)
    signal: str = Field(min_length=1)
    threshold: float = Field(allow_inf_nan=False)
    drop_unscored: bool = False

    def votes(self, scores: NDArray[np.float32]) -> Votes:
        """The rule's votes on (N,) scores, NaN = not scored."""
        # in float64: NumPy would round the line to float32 first, and a sample just below it would slip through
        votes = np.where(scores.astype(np.float64) >= self.threshold, KEEP, DROP)
        votes[np.isnan(scores)] = DROP if self.drop_unscored else ABSTAIN
        return Votes(votes.astype(np.int8), self.reason)

    @property
    def reason(self) -> str:
        """What a drop means, in one line."""
        unscored = " or not scored" if self.drop_unscored else ""
        return f"{self.signal} < {self.threshold:.6g}{unscored}"


RULES: dict[str, type[ThresholdRule]] = {"threshold": ThresholdRule}


def read_rule(written: Mapping[str, Any]) -> ThresholdRule:
    """The rule that a filter's JSON holds.

    Raises:
        MimicError: an unknown kind, or a field that is missing, unknown or of the wrong type; the sentence names it.
    """
    kind = written.get("kind")
    if kind not in RULES:
        raise MimicError(f"The filter's rule has the kind {kind!r}; known kinds: {', '.join(RULES)}.")
    try:
        return RULES[kind].model_validate(dict(written))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "rule"
        raise MimicError(f"The filter's rule does not fit its kind {kind!r}: {where}: {first['msg']}.") from None


def threshold_keeping(scores: NDArray[np.float32], count: int) -> float:
    """The highest line that keeps at least `count` scored samples (more only where ties meet the line).

    Args:
        scores: (N,) higher is better, NaN = not scored.
        count: 0 … number of scored samples; beyond it everything is kept.

    Returns:
        The count-th highest score; for 0 the next float32 above the highest one.

    Raises:
        MimicError: no sample has a score.
    """
    scored = np.sort(scores[~np.isnan(scores)])
    if not scored.size:
        raise MimicError("No sample has a score, so no threshold separates anything.")
    if count <= 0:
        return float(np.nextafter(scored[-1], np.float32(np.inf)))
    return float(scored[max(scored.size - count, 0)])
