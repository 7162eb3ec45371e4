"""What a line keeps: kept ⇔ score ≥ line. Counts are exact; the bins only say where to look.

Stages: the cumulative bins find the one bin that a rank or line falls into → that bin's rows are counted or sorted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mimic.workspace.queries.bins import Inside, bins_of, far_end, inside, scored_samples
from mimic.workspace.queries.connection import Published, float32_at_least, tables
from mimic.workspace.queries.gallery import rows_of
from mimic.workspace.queries.once import once
from mimic.workspace.queries.rows import judged

_MANY = 1_000_000  # samples of one bin: where so many share a score or nearly, DuckDB finds the first few sooner


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
    scored = scored_samples(published, signal)
    count = min(max(count, 0), scored)
    if count == 0:
        return _nothing(published, signal)
    score, kept = _at_rank(published, signal, count)
    return Line(score, kept, scored - kept, published.size - scored)


def line_at(published: Published, signal: str, score: float) -> Line:
    """The line that keeps what scores at least `score`, moved up to the lowest score that it keeps.

    Raises:
        MimicError: no sample has the signal, or the run does not know it.
    """
    scored = scored_samples(published, signal)
    s = published.column(signal)
    with tables(published) as t:
        kept, lowest = t.rows(
            f"SELECT count(*), min({s}) FROM {t.scores} WHERE {s} >= ?::FLOAT", [float32_at_least(score)]
        )[0]
    return Line(float(lowest), kept, scored - kept, published.size - scored) if kept else _nothing(published, signal)


def score_at_rank(published: Published, signal: str, rank: int) -> float:
    """The rank-th highest score, 1 ≤ rank ≤ scored samples.

    Raises:
        MimicError: no sample has the signal, or the run does not know it.
    """
    return _at_rank(published, signal, rank)[0]


def _at_rank(published: Published, signal: str, rank: int) -> tuple[float, int]:
    """The rank-th highest score, and how many samples score at least that; one look at the bin that it lies in."""
    lower = scored_samples(published, signal) - rank  # how many samples rank below it
    bin_ = next(one for one in bins_of(published, signal) if one.below <= lower < one.below + one.n)
    scores = inside(published, signal, bin_).scores
    score = np.partition(scores, lower - bin_.below)[lower - bin_.below]
    below = bin_.below + int(np.count_nonzero(scores < score))
    return float(score), scored_samples(published, signal) - below


def beside(published: Published, signal: str, score: float, count: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The dropped samples nearest to a line, from it down, and the kept ones, from it up: `count` of each, or all.

    Returns:
        Two tables with the columns of `given.card` and score; of one score, the lower sample number comes first.
    """
    line = float32_at_least(score)
    dropped, kept = (_nearest(published, signal, line, count, down=down) for down in (True, False))
    cards = rows_of(published, [*dropped.samples.tolist(), *kept.samples.tolist()])
    ends = len(dropped.samples)
    return (
        cards[:ends].assign(score=dropped.scores),
        cards[ends:].reset_index(drop=True).assign(score=kept.scores),
    )


def _nearest(published: Published, signal: str, line: float, count: int, *, down: bool) -> Inside:
    """The `count` samples that lie nearest to a line: below it, from it down, or from it up."""
    bins = bins_of(published, signal)
    first = next(
        (one for one in (reversed(bins) if down else bins) if (one.low < line if down else one.high > line)), None
    )
    if first is not None and first.n <= _MANY:  # it is at hand, for the line's count lies in it, mostly
        found = inside(published, signal, first)
        here = np.flatnonzero(found.scores < np.float32(line) if down else found.scores >= np.float32(line))
        if len(here) >= count:
            samples, scores = found.samples[here], found.scores[here]
            nearest = lowest(samples, -scores if down else scores, count)
            return Inside(samples[nearest], scores[nearest])
    s, far = published.column(signal), far_end(published, signal, line, count, down=down)
    low, high = (far, line) if down else (line, far)
    with tables(published) as t:
        rows = t.arrow(
            f"SELECT sample, {s} AS score FROM {t.scores} WHERE {s} >= ?::FLOAT AND {s} < ?::FLOAT"
            f" ORDER BY score {'DESC' if down else 'ASC'}, sample LIMIT {count:d}",
            [low, high],
        )
    return Inside(rows["sample"].to_numpy(), rows["score"].to_numpy())


def lowest(samples: NDArray[Any], keys: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Places of the `count` lowest keys, upwards; of one key, the lower sample number comes first; NaN counts as ∞.

    Sorts no more than it has to: of ten million keys, few.
    """
    keys = np.where(np.isnan(keys), np.inf, keys)
    places = np.arange(len(keys))
    if 0 < count < len(keys):
        last = np.partition(keys, count - 1)[count - 1]
        lower, ties = np.flatnonzero(keys < last), np.flatnonzero(keys == last)
        wanted = count - len(lower)
        if wanted < len(ties):
            ties = ties[np.argpartition(samples[ties], wanted)[:wanted]]
        places = np.concatenate([lower, ties])
    return places[np.lexsort((samples[places], keys[places]))][:count]


def class_balance(published: Published, signal: str, score: float, labels: NDArray[np.int32]) -> pd.DataFrame:
    """Kept and dropped samples of each class at a line.

    Args:
        labels: (size,) class codes by sample number, −1 = none (`Dense.labels`).

    Returns:
        Columns label (the class's name; None where a sample has none), kept, dropped, share (kept among the class's
        scored samples), the least kept first. One row a class with a scored sample.
    """
    line = np.float32(float32_at_least(score))
    # Whole bins on either side come from the bins table; only the bin that the line cuts is looked through.
    below = [one for one in bins_of(published, signal) if one.low <= score]
    binned = _binned_by_class(published, signal)
    upwards = int(np.searchsorted(binned.bins, below[-1].number if below else -1, side="right"))
    # in float64, which holds such counts exactly
    kept_codes, kept_counts = binned.codes[upwards:], binned.counts[upwards:]
    kept = np.bincount(kept_codes, weights=kept_counts, minlength=len(binned.total)).astype(np.int64)
    if below:
        cut = inside(published, signal, below[-1])
        kept += np.bincount(labels[cut.samples[cut.scores >= line]] + 1, minlength=len(binned.total))
    codes = np.flatnonzero(binned.total)
    kept, total = kept[codes], binned.total[codes]
    codes = codes - 1
    names = [published.classes[code] if code >= 0 else None for code in codes]
    label = pd.Series(names, dtype=object)  # pandas' own text type would turn None into NaN
    balance = pd.DataFrame({"label": label, "kept": kept, "dropped": total - kept, "share": kept / total})
    return balance.sort_values(["share", "label"], ignore_index=True)


@dataclass(frozen=True, eq=False)
class _BinnedByClass:
    """A signal's bins by class, upwards: bin, class code + 1, samples, (rows,) each; and samples of each code + 1."""

    bins: NDArray[np.int32]
    codes: NDArray[np.int32]
    counts: NDArray[np.int32]
    total: NDArray[np.int64]


@once(4)  # at most twelve bytes a sample each, where nearly every one is in a bin and class of its own
def _binned_by_class(published: Published, signal: str) -> _BinnedByClass:
    with tables(published) as t:
        found = t.arrow(
            f"SELECT bin::INTEGER AS bin, (coalesce(label, -1) + 1)::INTEGER AS code, n::INTEGER AS n"
            f" FROM {t.bins} WHERE signal = ? ORDER BY bin",
            [signal],
        )
    bins, codes, counts = (found[name].to_numpy() for name in ("bin", "code", "n"))
    total = np.bincount(codes, weights=counts, minlength=len(published.classes) + 1).astype(np.int64)
    return _BinnedByClass(bins, codes, counts, total)


@dataclass(frozen=True)
class TruthAtLine:
    """What a line does to right and wrong labels, among scored samples whose truth is known, or a draw of them.

    Attributes:
        sampled: whether the counts are of a draw; see `rows.judged`.
    """

    wrong_dropped: int
    wrong_kept: int
    right_dropped: int
    right_kept: int
    sampled: bool

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
    """Right and wrong labels on each side of a line.

    Raises:
        MimicError: the data set has no truth, or the run does not know the signal.
    """
    published.column(signal)
    known = judged(published)
    line = np.float32(float32_at_least(score))
    low, high = known.signals[signal] < line, known.signals[signal] >= line
    return TruthAtLine(
        wrong_dropped=int((known.wrong & low).sum()),
        wrong_kept=int((known.wrong & high).sum()),
        right_dropped=int((~known.wrong & low).sum()),
        right_kept=int((~known.wrong & high).sum()),
        sampled=known.sampled,
    )


def _nothing(published: Published, signal: str) -> Line:
    with tables(published) as t:
        highest = t.rows(f"SELECT max({published.column(signal)}) FROM {t.scores}")[0][0]
    above = float(np.nextafter(np.float32(highest), np.float32(np.inf)))
    scored = scored_samples(published, signal)
    return Line(above, 0, scored, published.size - scored)
