"""Whole columns of a run, or a draw of them: for detection and rank correlation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mimic.errors import MimicError
from mimic.workspace.queries.connection import Published, shuffled, tables


@dataclass(frozen=True)
class Judged:
    """Scores of samples whose truth is known.

    Attributes:
        signals: signal → (N,) float32, NaN = not scored.
        wrong: (N,) True where the given label is not the true one.
        known: samples of the run whose truth is known; more than N if these are a draw of them.
    """

    signals: dict[str, NDArray[np.float32]]
    wrong: NDArray[np.bool_]
    known: int

    @property
    def sampled(self) -> bool:
        return self.known > self.wrong.size


@lru_cache(maxsize=4)
def judged(published: Published, limit: int = 1_000_000) -> Judged:
    """Scores and whether the label is wrong, of all samples with a known truth, or of a fixed draw of `limit` of them.

    Do not write into the arrays: they are remembered.

    Raises:
        MimicError: the data set has no truth.
    """
    if not published.has_truth:
        raise MimicError(f"data set {published.dataset} has no column `truth`, so nothing can be judged against it")
    signals = ", ".join(f"c.{published.column(signal)}" for signal in published.signals)
    known = "s.truth IS NOT NULL AND s.label IS NOT NULL"
    with tables(published) as t:
        source = f"{t.scores} c JOIN {t.samples} s ON s.rowid = c.sample WHERE {known}"
        total = int(t.rows(f"SELECT count(*) FROM {source}")[0][0])
        table = t.arrow(
            f"SELECT s.label <> s.truth AS wrong, {signals} FROM {source}"
            f" ORDER BY {shuffled('c.sample', 0)}, c.sample LIMIT ?",
            [limit],
        )
    columns = {
        signal: np.asarray(table[signal].cast(pa.float32()).to_numpy(), dtype=np.float32)
        for signal in published.signals
    }
    return Judged(columns, np.asarray(table["wrong"].to_numpy(), dtype=np.bool_), total)
