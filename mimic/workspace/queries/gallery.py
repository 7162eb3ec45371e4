"""A page of samples in some order under some filter: keyset paging, so the thousandth costs what the first does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from mimic.errors import MimicError
from mimic.workspace.files import quoted
from mimic.workspace.queries import given
from mimic.workspace.queries.bins import count_between, far_end
from mimic.workspace.queries.connection import Published, Tables, float32_at_least, numbered, shuffled, tables

Order = Literal["lowest", "highest", "nearest", "random", "unscored"]
ORDERS: tuple[Order, ...] = ("lowest", "highest", "nearest", "random", "unscored")
LARGEST_PAGE = 96


@dataclass(frozen=True)
class Where:
    """Which samples are asked for; every part that is given must hold.

    Attributes:
        ranges: (signal, low, high): low ≤ score < high; infinite where open.
        labels: given labels, any of them.
        text: letters that the id, the caption or a further column holds, in upper or lower case.
        wrong: True for labels (or captions) known to be wrong, False for those known to be right.
    """

    ranges: tuple[tuple[str, float, float], ...] = ()
    labels: tuple[str, ...] = ()
    text: str = ""
    wrong: bool | None = None

    @property
    def needs_samples(self) -> bool:
        """Whether scores alone cannot answer."""
        return bool(self.labels or self.text or self.wrong is not None)

    def between(self, signal: str) -> tuple[float, float]:
        """The ends that are set to a signal, infinite where open."""
        mine = [(low, high) for name, low, high in self.ranges if name == signal]
        return max((low for low, _ in mine), default=-math.inf), min((high for _, high in mine), default=math.inf)


@dataclass(frozen=True)
class Cursor:
    """A place in an order: the key and the number of the sample that a page starts after (or ends before)."""

    key: float
    sample: int

    def __str__(self) -> str:
        return f"{self.key!r}_{self.sample}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """A cursor from a link.

        Raises:
            MimicError: the text is not one.
        """
        try:
            key, sample = text.split("_")
            return cls(float(key), int(sample))
        except ValueError:
            raise MimicError(f"{text!r} is not a place in the gallery: open it from the first page") from None


@dataclass(frozen=True)
class Page:
    """Some samples, and how to go on from here.

    Attributes:
        rows: the columns of `given.card`, score, key, in order.
        before, after: cursors to pass for the neighbouring pages; None where there is none.
    """

    rows: pd.DataFrame
    before: Cursor | None
    after: Cursor | None


def gallery_page(
    published: Published,
    signal: str,
    order: Order,
    where: Where | None = None,
    *,
    size: int = 48,
    after: Cursor | None = None,
    before: Cursor | None = None,
    near: float = 0.0,
    seed: int = 0,
) -> Page:
    """The page of samples that follows `after`, or that precedes `before`, or the first one.

    Args:
        order: ``lowest`` or ``highest`` score first, ``nearest`` to the score `near`, or ``random`` by `seed`. Ties go
            by sample number; samples without the signal are not in it. ``unscored``: those alone, by sample number.
        size: 1 … 96 samples.
        after, before: a neighbouring page's cursor, of the same order and filter; at most one of them.

    Raises:
        MimicError: the run does not know the signal, or one of the filter's.
    """
    if not 1 <= size <= LARGEST_PAGE:
        raise MimicError(f"a gallery page holds 1 to {LARGEST_PAGE} samples, not {size}")
    where = where or Where()
    key, kind, down = _key(published, signal, order, near, seed)
    anchor, back = (before, True) if before else (after, False)
    descending = down != back  # going back is the opposite order, turned round at the end
    if order in ("lowest", "highest"):
        where = _narrowed(published, signal, where, anchor, size + 1, descending)
    with tables(published) as t:
        source, conditions, parameters = _conditions(t, published, where)
        conditions.append(f"c.{published.column(signal)} IS {'' if order == 'unscored' else 'NOT '}NULL")
        if anchor:
            step = "<" if descending else ">"
            beyond = "<" if back else ">"
            conditions.append(f"({key} {step} ?::{kind} OR {key} = ?::{kind} AND c.sample {beyond} ?)")
            parameters += [anchor.key, anchor.key, anchor.sample]
        directions = ("DESC" if descending else "ASC", "DESC" if back else "ASC")
        frame = t.frame(
            f"WITH page AS (SELECT c.sample, c.{published.column(signal)} AS score, ({key})::DOUBLE AS key"
            f"   FROM {source} WHERE {' AND '.join(conditions)}"
            f"   ORDER BY {key} {directions[0]}, c.sample {directions[1]} LIMIT {size + 1})"
            f" SELECT {given.card(published)}, p.score, p.key FROM page p"
            f" JOIN {t.samples} s ON s.rowid = p.sample ORDER BY p.key {directions[0]}, p.sample {directions[1]}",
            parameters,
        )
    more = len(frame) > size
    frame = frame.head(size)
    if back:
        frame = frame.iloc[::-1].reset_index(drop=True)
    return _page(frame, more, anchor, back)


def rows_of(published: Published, samples: Sequence[int]) -> pd.DataFrame:
    """The columns of `given.card` of some samples of the data set, in the order given."""
    with tables(published) as t:
        t.cursor.register("wanted", numbered(samples))
        return t.frame(
            f"SELECT {given.card(published)} FROM wanted w JOIN {t.samples} s ON s.rowid = w.sample ORDER BY w.place"
        )


def count_matching(published: Published, signal: str, where: Where | None = None, *, scored: bool = True) -> int:
    """How many samples the filter lets through, of those with the signal or without it (not `scored`).

    As many as all gallery pages together; exact.
    """
    where = where or Where()
    if scored and not where.needs_samples and all(name == signal for name, *_ in where.ranges):
        whole = count_between(published, signal, *where.between(signal))
        if whole is not None:
            return whole
    with tables(published) as t:
        source, conditions, parameters = _conditions(t, published, where)
        conditions.append(f"c.{published.column(signal)} IS {'NOT ' if scored else ''}NULL")
        return int(t.rows(f"SELECT count(*) FROM {source} WHERE {' AND '.join(conditions)}", parameters)[0][0])


def _narrowed(
    published: Published, signal: str, where: Where, anchor: Cursor | None, count: int, descending: bool
) -> Where:
    """The same first `count` samples of fewer: the bins say how far a page can reach, so no whole column is sorted."""
    if where.needs_samples or any(name != signal for name, *_ in where.ranges):
        return where  # how many of a bin's samples meet that, no bin knows
    low, high = where.between(signal)
    if descending:
        high = high if anchor is None else min(high, anchor.key)
        ends = max(low, far_end(published, signal, high, count, down=True)), math.inf
    else:
        # what scores as much as the anchor may lie before it
        low = low if anchor is None else max(low, float(np.nextafter(np.float32(anchor.key), np.float32(np.inf))))
        ends = -math.inf, min(high, far_end(published, signal, low, count, down=False))
    return replace(where, ranges=(*where.ranges, (signal, *ends)))


def _page(frame: pd.DataFrame, more: bool, anchor: Cursor | None, back: bool) -> Page:
    if frame.empty:
        return Page(frame, None, None)
    first = Cursor(float(frame["key"].iloc[0]), int(frame["sample"].iloc[0]))
    last = Cursor(float(frame["key"].iloc[-1]), int(frame["sample"].iloc[-1]))
    has_before = more if back else anchor is not None
    has_after = more or back
    return Page(frame, first if has_before else None, last if has_after else None)


def _key(published: Published, signal: str, order: Order, near: float, seed: int) -> tuple[str, str, bool]:
    """The SQL that an order goes by, its type, and whether downwards."""
    s = f"c.{published.column(signal)}"
    if order == "nearest":
        return f"abs({s}::DOUBLE - {float(near)!r})", "DOUBLE", False
    if order == "unscored":
        return "c.sample", "INTEGER", False
    if order == "random":
        # 52 bits, so that the key is exact as a double and a cursor finds its place again
        return f"({shuffled('c.sample', seed)} >> 12)::DOUBLE", "DOUBLE", False
    return s, "FLOAT", order == "highest"


def _conditions(t: Tables, published: Published, where: Where) -> tuple[str, list[str], list[Any]]:
    """FROM, the WHERE conditions and their parameters; `c` is the scores, `s` the samples where they are needed."""
    conditions: list[str] = []
    parameters: list[Any] = []
    for signal, low, high in where.ranges:
        s = published.column(signal)
        if low > -math.inf:
            conditions.append(f"c.{s} >= ?::FLOAT")
            parameters.append(float32_at_least(low))
        if high < math.inf:
            conditions.append(f"c.{s} < ?::FLOAT")
            parameters.append(float32_at_least(high))
    if not where.needs_samples:
        return f"{t.scores} c", conditions, parameters
    if where.labels:
        codes = [published.classes.index(label) for label in where.labels if label in published.classes]
        conditions.append(f"s.label_code IN ({', '.join(str(code) for code in codes) or 'NULL'})")
    if where.text:
        columns = ["s.id", given.caption(published), *(f"s.{quoted(column)}::VARCHAR" for column in published.columns)]
        conditions.append("(" + " OR ".join(f"contains(lower({column}), ?)" for column in columns) + ")")
        parameters += [where.text.lower()] * len(columns)
    if where.wrong is not None:
        conditions.append(f"{given.wrong(published)} = {'true' if where.wrong else 'false'}")
    return f"{t.scores} c JOIN {t.samples} s ON s.rowid = c.sample", conditions, parameters
