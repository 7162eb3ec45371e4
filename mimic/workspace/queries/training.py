"""What a training run tells: how far it is, and how its scores and weights went from epoch to epoch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from mimic.workspace.files import reading
from mimic.workspace.layout import Dataset
from mimic.workspace.queries.connection import Published, tables

EPOCHS = 24  # strips that a figure holds
CELLS = 60
_TAIL = 0.002


def true_codes(dataset: Dataset, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
    """(N,) class codes of the true labels of some samples, ascending numbers; −1 where nobody knows them."""
    with reading(dataset.samples_file) as connection:
        connection.register("wanted", pa.table({"number": numbers}))
        table = connection.sql(
            "SELECT coalesce(c.code, -1) AS code FROM samples s JOIN wanted w ON s.rowid = w.number"
            " LEFT JOIN classes c ON c.name = s.truth ORDER BY s.rowid"
        ).to_arrow_table()
    codes: NDArray[np.int32] = table["code"].to_numpy().astype(np.int32)
    return codes


def score_strips(published: Published, epochs: int = EPOCHS, cells: int = CELLS) -> pd.DataFrame:
    """How the visits' scores are spread, epoch by epoch: at most `epochs` of them, evenly chosen, with both ends.

    Returns:
        Columns epoch, cell, low, high (the cell's edges; the outermost cells hold what lies beyond), n, and of the
        epoch: mean, positive (share above 0) and visits. Rows where n > 0. Empty where no score is a number.
    """
    with tables(published) as t:
        known = [row[0] for row in t.rows(f"SELECT DISTINCT epoch FROM {t.visits} ORDER BY epoch")]
        shown = sorted({known[place] for place in np.linspace(0, len(known) - 1, epochs).round().astype(int)})
        low, high = t.rows(f"SELECT quantile_cont(score, {_TAIL}), quantile_cont(score, {1 - _TAIL}) FROM {t.visits}")[
            0
        ]
        if low is None:
            return pd.DataFrame(columns=["epoch", "cell", "low", "high", "n", "mean", "positive", "visits"])
        width = (high - low) / cells or 1.0
        first, step = f"{low!r}::DOUBLE", f"{width!r}::DOUBLE"  # DuckDB reads a number with a point as a DECIMAL
        cell = f"least(greatest(floor((score - {first}) / {step}), 0), {cells - 1})::INTEGER"
        return t.frame(
            f"SELECT epoch, cell, {first} + cell * {step} AS low, {first} + (cell + 1) * {step} AS high, n,"
            " mean, positive, visits"
            f" FROM (SELECT epoch, {cell} AS cell, count(*) AS n FROM {t.visits} WHERE score IS NOT NULL GROUP BY ALL)"
            " JOIN (SELECT epoch, avg(score) AS mean, avg((score > 0)::INTEGER) AS positive, count(score) AS visits"
            f" FROM {t.visits} GROUP BY epoch) USING (epoch) WHERE list_contains(?, epoch) ORDER BY epoch, cell",
            [shown],
        )


def visit_history(published: Published, sample: int) -> pd.DataFrame:
    """What a training run recorded of one sample: visit, epoch, score, weight (1 = its batch's mean), loss, margin.

    In the order of the visits; empty where the run recorded none.
    """
    with tables(published) as t:
        if "visits" not in {row[0] for row in t.rows(_TABLES, [t.scores.partition(".")[0]])}:
            return pd.DataFrame(columns=["visit", "epoch", "score", "weight", "loss", "margin"])
        return t.frame(
            f"SELECT visit, epoch, score, weight * batch_size AS weight, loss, margin FROM {t.visits}"
            " WHERE sample = ? ORDER BY visit",
            [sample],
        )


_TABLES = "SELECT table_name FROM duckdb_tables() WHERE database_name = ?"
