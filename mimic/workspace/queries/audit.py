"""Random draws from a span of scores, in an order that only grows, and what they need to be judged."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mimic.workspace.queries.connection import Published, float32_at_least, numbered, shuffled, tables


def draw(published: Published, signal: str, low: float, high: float, count: int, seed: int) -> list[int]:
    """`count` samples with low ≤ score < high, drawn at random; a longer draw begins with the shorter one."""
    s = published.column(signal)
    with tables(published) as t:
        rows = t.rows(
            f"SELECT sample FROM {t.scores} WHERE {s} >= ?::FLOAT AND {s} < ?::FLOAT"
            f" ORDER BY {shuffled('sample', seed)}, sample LIMIT ?",
            [float32_at_least(low), float32_at_least(high), count],
        )
    return [int(row[0]) for row in rows]


def counts_between(published: Published, signal: str, edges: Sequence[float]) -> list[int]:
    """How many samples score in each [edges[i], edges[i + 1]); the edges ascend and may be infinite."""
    s = published.column(signal)
    spans = list(pairwise(edges))
    columns = ", ".join(f"count(*) FILTER ({s} >= ?::FLOAT AND {s} < ?::FLOAT)" for _ in spans)
    with tables(published) as t:
        row = t.rows(
            f"SELECT {columns} FROM {t.scores} WHERE {s} IS NOT NULL",
            [float32_at_least(edge) for span in spans for edge in span],
        )[0]
    return [int(count) for count in row]


def scores_of(published: Published, signal: str, samples: Sequence[int]) -> NDArray[np.float32]:
    """The scores of some samples, in their order; NaN where a sample has none or is not in the run."""
    s = published.column(signal)
    with tables(published) as t:
        t.cursor.register("wanted", numbered(samples))
        table = t.arrow(f"SELECT c.{s} AS score FROM wanted w LEFT JOIN {t.scores} c USING (sample) ORDER BY w.place")
    return np.asarray(table["score"].cast(pa.float32()).to_numpy(), dtype=np.float32)
