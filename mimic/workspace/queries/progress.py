"""A run that is still going, told from its files alone: nothing is asked of the process that writes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from mimic.files import read_json
from mimic.workspace.layout import Run, State


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        state: as the run says it.
        done, size: samples; of a training run, visits.
        rate: of these a second, from the first to the newest part of this stretch; None until two parts are there.
        remaining: seconds; None where there is no rate.
        note: what else a training run says of where it is.
    """

    state: State
    done: int
    size: int
    rate: float | None
    remaining: float | None
    note: str = ""

    @property
    def share(self) -> float:
        return self.done / self.size if self.size else 1.0


# A longer pause between two parts is an interruption, and says nothing about the speed.
_PAUSE = 600.0


def progress(run: Run) -> Progress:
    """How far a run is. Looks at the disk each time; costs a directory listing."""
    if run.facts.get("kind") == "train":
        return _training(run)
    lengths = {shard.index: len(shard) for shard in run.shards}
    finished = sorted((part.stat().st_mtime, lengths[int(part.stem)]) for part in run.parts)
    done = sum(samples for _, samples in finished)
    times = np.array([time for time, _ in finished])
    pauses = np.flatnonzero(np.diff(times) > _PAUSE)
    stretch = finished[int(pauses[-1]) + 1 if pauses.size else 0 :]
    rate = None
    if len(stretch) > 1 and stretch[-1][0] > stretch[0][0]:
        rate = sum(samples for _, samples in stretch[1:]) / (stretch[-1][0] - stretch[0][0])
    return Progress(run.state, done, run.size, rate, (run.size - done) / rate if rate else None)


def running_histogram(run: Run, signal: str, bars: int = 60, samples: int = 500_000) -> pd.DataFrame:
    """Bars of a signal over the newest parts, about so many samples, in the form of `histogram`; empty without any."""
    column = "score" if run.facts.get("kind") == "train" else signal  # a training run's parts hold visits
    newest = run.parts[-max(samples // run.shards[0].last, 1) :]
    values = [pq.read_table(part, columns=[column])[column].to_numpy() for part in newest]
    scores = np.concatenate([np.empty(0, np.float32), *values])
    scores = scores[~np.isnan(scores)].astype(np.float64)
    if not scores.size:
        return pd.DataFrame(columns=["bar", "left", "right", "low", "high", "group", "n"])
    low, high = np.quantile(scores, [0.001, 0.999])
    edges = np.linspace(low, high, bars + 1) if high > low else np.array([low - 0.5, low + 0.5])
    counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
    frame = pd.DataFrame({"bar": range(len(counts)), "left": edges[:-1], "right": edges[1:]})
    frame["low"] = np.where(frame["bar"] == 0, -np.inf, frame["left"])
    frame["high"] = np.where(frame["bar"] == len(counts) - 1, np.inf, frame["right"])
    return frame.assign(group="all", n=counts).query("n > 0").reset_index(drop=True)


def _training(run: Run) -> Progress:
    """As the training said itself; once it has stopped, what its checkpoint kept."""
    state, size = run.state, int(run.facts["visits"])
    try:
        told = read_json(run.folder / "progress.json")
    except FileNotFoundError:
        return Progress(state, size if state == "published" else 0, size, None, None)
    if state != "running":
        return Progress(state, size if state == "published" else int(told["kept"]), size, None, None, told["note"])
    done, rate = int(told["done"]), told["rate"]
    return Progress(state, done, size, rate, (size - done) / rate if rate else None, told["note"])
