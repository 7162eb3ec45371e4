"""What a line keeps: kept ⇔ score ≥ line. Counts are exact; the bins only say where to look.

Stages: the cumulative bins find the one bin that a rank or line falls into → that bin's rows are counted or sorted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mimic.errors import MimicError
from mimic.workspace.queries.connection import Published, Tables, float32_at_least, tables


@dataclass(frozen=True)
class Line:
    """A threshold on a signal and what it does.

    Attributes:
        score: the lowest score that is kept, so that moving the line within a gap changes nothing; just above the
            highest score where nothing is kept.
        kept, dropped, not_scored: samples; a sample without this signal abstains.
    """

    score: float
    kept: int
    dropped: int
    not_scored: int

    @property
    def scored(self) -> int:
        return self.kept + self.dropped

    @property
    def share(self) -> float:
        """Kept among scored samples, 0 … 1."""
        return self.kept / self.scored


def line_keeping(published: Published, signal: str, count: int) -> Line:
    """The highest line that keeps at least `count` scored samples; more only where ties meet it.

    Args:
        count: clipped to 0 … scored samples.

    Raises:
        MimicError: no sample has the signal, or the run does not know it.
    """
    with tables(published) as t:
        scored = _scored(t, published, signal)
        count = min(max(count, 0), scored)
        if count == 0:
            return _nothing(t, published, signal, scored)
        score = _at_rank(t, published, signal, count)
        kept = _count_from(t, published, signal, score)
    return Line(score, kept, scored - kept, published.size - scored)


def line_at(published: Published, signal: str, score: float) -> Line:
    """The line that keeps what scores at least `score`, moved up to the lowest score that it keeps.

    Raises:
        MimicError: no sample has the signal, or the run does not know it.
    """
    with tables(published) as t:
        scored = _scored(t, published, signal)
        s = published.column(signal)
        kept, lowest = t.rows(
            f"SELECT count(*), min({s}) FROM {t.scores} WHERE {s} >= ?::FLOAT", [float32_at_least(score)]
        )[0]
        if not kept:
            return _nothing(t, published, signal, scored)
    return Line(float(lowest), kept, scored - kept, published.size - scored)


def score_at_rank(published: Published, signal: str, rank: int) -> float:
    """The rank-th highest score, 1 ≤ rank ≤ scored samples.

    Raises:
        MimicError: no sample has the signal, or the run does not know it.
    """
    with tables(published) as t:
        return _at_rank(t, published, signal, rank)


def class_balance(published: Published, signal: str, score: float) -> pd.DataFrame:
    """Kept and dropped samples of each class at a line.

    Returns:
        Columns label (the class's name; None where a sample has none), kept, dropped, share (kept among the class's
        scored samples), the least kept first. One row a class with a scored sample.
    """
    s, line = published.column(signal), float32_at_least(score)
    with tables(published) as t:
        # Whole bins on either side come from the bins table; only the bin that the line cuts is joined with the labels.
        cut, upper = _bin_at(t, signal, score)
        whole = t.frame(
            f"SELECT label AS code, sum(n)::BIGINT AS n, coalesce(sum(n) FILTER (bin > ?), 0)::BIGINT AS kept"
            f" FROM {t.bins} WHERE signal = ? GROUP BY label",
            [cut, signal],
        )
        part = t.frame(
            f"SELECT s.label_code AS code, count(*) AS kept FROM {t.scores} c JOIN {t.samples} s ON s.rowid = c.sample"
            f" WHERE c.{s} >= ?::FLOAT AND c.{s} < ?::FLOAT GROUP BY s.label_code",
            [line, upper],
        )
    # a sample without a label has the code −1 from here on, so that it can be looked up
    whole, part = whole.fillna({"code": -1}), part.fillna({"code": -1})
    kept = whole["kept"] + whole["code"].map(part.set_index("code")["kept"]).fillna(0).astype(int)
    names = [published.classes[int(code)] if code >= 0 else None for code in whole["code"]]
    label = pd.Series(names, dtype=object)  # pandas' own text type would turn None into NaN
    balance = pd.DataFrame({"label": label, "kept": kept, "dropped": whole["n"] - kept, "share": kept / whole["n"]})
    return balance.sort_values(["share", "label"], ignore_index=True)


@dataclass(frozen=True)
class TruthAtLine:
    """What a line does to right and wrong labels, among scored samples whose truth is known."""

    wrong_dropped: int
    wrong_kept: int
    right_dropped: int
    right_kept: int

    @property
    def precision(self) -> float:
        """The share of wrong labels among dropped samples; NaN where nothing is dropped."""
        dropped = self.wrong_dropped + self.right_dropped
        return self.wrong_dropped / dropped if dropped else float("nan")

    @property
    def recall(self) -> float:
        """The share of wrong labels that are dropped; NaN where none is wrong."""
        wrong = self.wrong_dropped + self.wrong_kept
        return self.wrong_dropped / wrong if wrong else float("nan")


def truth_at(published: Published, signal: str, score: float) -> TruthAtLine:
    """Right and wrong labels on each side of a line."""
    s = published.column(signal)
    with tables(published) as t:
        counts = t.rows(
            f"SELECT count(*) FILTER (wrong AND low), count(*) FILTER (wrong AND NOT low),"
            f" count(*) FILTER (NOT wrong AND low), count(*) FILTER (NOT wrong AND NOT low)"
            f" FROM (SELECT s.label <> s.truth AS wrong, c.{s} < ?::FLOAT AS low"
            f"   FROM {t.scores} c JOIN {t.samples} s ON s.rowid = c.sample"
            f"   WHERE s.truth IS NOT NULL AND c.{s} IS NOT NULL)",
            [float32_at_least(score)],
        )[0]
    return TruthAtLine(*counts)


def _scored(t: Tables, published: Published, signal: str) -> int:
    published.column(signal)
    scored = t.rows(f"SELECT coalesce(sum(n), 0)::BIGINT FROM {t.bins} WHERE signal = ?", [signal])[0][0]
    if not scored:
        raise MimicError(f"no sample of run {published.run} has the signal {signal!r}, so no line separates anything")
    return int(scored)


def _nothing(t: Tables, published: Published, signal: str, scored: int) -> Line:
    highest = t.rows(f"SELECT max({published.column(signal)}) FROM {t.scores}")[0][0]
    above = float(np.nextafter(np.float32(highest), np.float32(np.inf)))
    return Line(above, 0, scored, published.size - scored)


def _bins(t: Tables, signal: str) -> list[tuple[int, float, float, int, int]]:
    """(bin, low, high, samples in lower bins, samples in it) of each bin that holds any, upwards; [low, high)."""
    rows = t.rows(
        f"SELECT bin, any_value(low), any_value(high), any_value(below), sum(n)::BIGINT"
        f" FROM {t.bins} WHERE signal = ? GROUP BY bin ORDER BY bin",
        [signal],
    )
    last = rows[-1]
    return [*rows[:-1], (last[0], last[1], math.inf, last[3], last[4])]  # the last bin includes its upper edge


def _bin_at(t: Tables, signal: str, score: float) -> tuple[int, float]:
    """The bin in which a line cuts, and that bin's upper end; (−1, −inf) below them all."""
    cut = (-1, -math.inf)
    for bin_, low, high, _, _ in _bins(t, signal):
        if low <= score:
            cut = (bin_, float32_at_least(high))
    return cut


def _at_rank(t: Tables, published: Published, signal: str, rank: int) -> float:
    s = published.column(signal)
    from_below = _scored(t, published, signal) - rank  # how many samples rank lower
    low, high, below = next(
        (low, high, below) for _, low, high, below, n in _bins(t, signal) if below <= from_below < below + n
    )
    found = t.rows(
        f"SELECT {s} FROM {t.scores} WHERE {s} >= ?::FLOAT AND {s} < ?::FLOAT ORDER BY {s} LIMIT 1 OFFSET ?",
        [float32_at_least(low), float32_at_least(high), from_below - below],
    )
    return float(found[0][0])


def _count_from(t: Tables, published: Published, signal: str, score: float) -> int:
    s = published.column(signal)
    return int(t.rows(f"SELECT count(*) FROM {t.scores} WHERE {s} >= ?::FLOAT", [float32_at_least(score)])[0][0])
