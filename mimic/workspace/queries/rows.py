"""Whole columns of a run, or a draw of them: for detection and rank correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mimic.errors import MimicError
from mimic.workspace.queries import given
from mimic.workspace.queries.connection import Published, drawn, tables
from mimic.workspace.queries.once import once

JUDGED = 200_000


@dataclass(frozen=True)
class Judged:
    """Scores of samples whose truth is known.

    Attributes:
        signals: signal → (N,) float32, NaN = not scored.
        wrong: (N,) True where the given label (or caption) is wrong.
        drawn_from: how many samples the run has, where these are a draw; None where they are all whose truth is known.
    """

    signals: dict[str, NDArray[np.float32]]
    wrong: NDArray[np.bool_]
    drawn_from: int | None

    @property
    def sampled(self) -> bool:
        return self.drawn_from is not None


@once(4)
def judged(published: Published, limit: int = JUDGED) -> Judged:
    """Scores, and whether the label (or caption) is wrong: of all samples where that is known, or of a fixed draw.

    Args:
        limit: about how many samples are drawn of a run that has more.

    Everything that is said against the truth comes from here, so that it is quick at any size and of the same samples.
    Do not write into the arrays: they are remembered.

    Raises:
        MimicError: the data set has no truth.
    """
    if not published.has_truth:
        column = "fault" if published.task == "captions" else "truth"
        raise MimicError(f"data set {published.dataset} has no column `{column}`, so nothing can be judged against it")
    signals = ", ".join(f"c.{published.column(signal)}" for signal in published.signals)
    share, wrong = limit / max(published.size, 1), given.wrong(published)
    with tables(published) as t:
        table = t.arrow(
            f"SELECT {wrong} AS wrong, {signals} FROM {t.scores} c JOIN {t.samples} s ON s.rowid = c.sample"
            f" WHERE {drawn('c.sample', share)} AND {drawn('s.sample', share)}"
            f" AND {wrong} IS NOT NULL ORDER BY c.sample"
        )
    columns = {
        signal: np.asarray(table[signal].cast(pa.float32()).to_numpy(), dtype=np.float32)
        for signal in published.signals
    }
    found = np.asarray(table["wrong"].to_numpy(), dtype=np.bool_)
    return Judged(columns, found, published.size if share < 1 else None)
