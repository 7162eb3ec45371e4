"""Learning curves of a training run: a line a point while it trains, a table once it is published.

curves.jsonl           appended as it trains; what comes after the last checkpoint is forgotten when it is resumed
scores.duckdb, curves  arm      "grad_mimic", or "uniform" for the arm with equal weights that it is compared with
                       epoch, step   the epoch the point lies in, from 0; steps done
                       split    "train": means since the point before; "validation": the held samples at their given
                                labels; "truth": the same at their true ones, where known
                       samples  that it is the mean of
                       loss     nats;  accuracy 0 … 1
                       mean_score, ess, distance   of the re-weighted arm's training: the mean Mimic Score, the weights'
                                effective sample size as a share of the batch, and ‖v‖, how far the reference is
                       lr       learning rate
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from mimic.files import replacing
from mimic.workspace.files import reading
from mimic.workspace.layout import Run

_COLUMNS = pa.schema(
    [
        pa.field("arm", pa.string()),
        pa.field("epoch", pa.int32()),
        pa.field("step", pa.int32()),
        pa.field("split", pa.string()),
        pa.field("samples", pa.int32()),
        *(pa.field(name, pa.float64()) for name in ("loss", "accuracy", "mean_score", "ess", "distance", "lr")),
    ]
)


def append_point(run: Run, point: Mapping[str, Any]) -> None:
    """Adds a point; it is in the file when this returns."""
    with _file(run).open("a", encoding="utf-8") as file:
        file.write(json.dumps(point) + "\n")


def forget_points(run: Run, kept: Callable[[Mapping[str, Any]], bool]) -> None:
    """Drops points that a resumed training is going to make again."""
    points = [point for point in _points(run) if kept(point)]
    with replacing(_file(run)) as temporary:
        temporary.write_text("".join(json.dumps(point) + "\n" for point in points), encoding="utf-8")


def read_curves(run: Run) -> pd.DataFrame:
    """Every point so far, in order, with the columns that the module's list names; empty before the first."""
    if run.scores_file is None:
        found: pd.DataFrame = _table(run).to_pandas()
        return found
    with reading(run.scores_file) as connection:
        return pd.DataFrame(connection.sql("SELECT * FROM curves ORDER BY rowid").df())


def standing(points: pd.DataFrame) -> pd.DataFrame:
    """Where each arm stands at the last point: one row an arm and split, with the columns of `read_curves`.

    Held splits are as they were measured last. Of training, `samples`, `loss`, `accuracy` and `mean_score` are over all
    samples of the arm's last epoch, for one point of it may be of a few samples only.
    """
    last = points.groupby(["arm", "split"], sort=False).last().reset_index()
    for place, row in last[last["split"] == "train"].iterrows():
        epoch = by_epoch(points, row["arm"]).loc[row["epoch"]]
        last.loc[place, epoch.index] = epoch
    return last.astype({"samples": int})


def by_epoch(points: pd.DataFrame, arm: str) -> pd.DataFrame:
    """An arm's training by epoch (the index, from 0): samples, and means over them of loss, accuracy and mean score."""
    mine = points[(points["arm"] == arm) & (points["split"] == "train")]
    names = ["loss", "accuracy", "mean_score"]
    sums = (
        mine[names].mul(mine["samples"], axis=0).assign(samples=mine["samples"]).groupby(mine["epoch"]).sum(min_count=1)
    )
    return pd.DataFrame(sums[["samples"]]).join(sums[names].div(sums["samples"], axis=0))


def curves_table(connection: duckdb.DuckDBPyConnection, run: Run) -> None:
    """Makes the table ``curves`` in an open database."""
    connection.register("points", _table(run))
    connection.execute("CREATE TABLE curves AS SELECT * FROM points")
    connection.unregister("points")


def _file(run: Run) -> Path:
    return run.folder / "curves.jsonl"


def _points(run: Run) -> list[dict[str, Any]]:
    """Whole lines: a killed process may have left the last one cut off."""
    try:
        text = _file(run).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _table(run: Run) -> pa.Table:
    return pa.Table.from_pylist(_points(run), schema=_COLUMNS)
