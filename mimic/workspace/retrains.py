"""Retrainings: what models learn from what filters keep. A folder each, beside the runs, for they score nothing.

W/retrains/<id>/   retrain.json  lock  parts/00000.parquet …   a part a job, a row a fit; all parts there = finished

A row: arm (kept, weights, random, everything, oracle), filter, budget (share kept), seed, kept (samples trained on, or
their weights' sum), accuracy (on the test split; of pairs their recall), correct (a bit a test sample, in order,
packed; of pairs two, first all from images to captions).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mimic.data import EVERYTHING
from mimic.files import make_folder, replacing, write_json
from mimic.workspace.layout import FORMAT, Dataset, Workspace, check_name, is_locked, read_facts

# What makes a retraining possible where no split is left untouched.
NEEDED = "import the data with a column split, or from a folder with train/ and test/ in it, and score one split only"

FITS = pa.schema(
    [
        pa.field("arm", pa.string()),
        pa.field("filter", pa.string()),
        pa.field("budget", pa.float64()),
        pa.field("seed", pa.int32()),
        pa.field("kept", pa.float64()),
        pa.field("accuracy", pa.float64()),
        pa.field("correct", pa.binary()),
    ]
)


@dataclass(frozen=True)
class Retrain:
    """A retraining: its folder and the facts of its retrain.json."""

    folder: Path
    facts: dict[str, Any]

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def dataset(self) -> str:
        return str(self.facts["dataset"])

    @property
    def jobs(self) -> int:
        """How many parts it has when it is finished."""
        return int(self.facts["jobs"])

    def part(self, job: int) -> Path:
        """The Parquet file of a job; it exists if and only if the job is done."""
        return self.folder / "parts" / f"{job:05}.parquet"

    @property
    def missing(self) -> list[int]:
        """Jobs that are not done. Looks at the disk each time."""
        return [job for job in range(self.jobs) if not self.part(job).exists()]

    @property
    def state(self) -> str:
        """finished, running (somebody holds its lock) or interrupted."""
        if not self.missing:
            return "finished"
        return "running" if is_locked(self.folder / "lock") else "interrupted"

    def fits(self) -> pd.DataFrame:
        """Every fit that is done; `correct` is (T,) bool, or of pairs, which are asked both ways, 0, ½ or 1."""
        done = [pq.read_table(self.part(job)) for job in range(self.jobs) if self.part(job).exists()]
        frame: pd.DataFrame = pa.concat_tables([FITS.empty_table(), *done]).to_pandas()
        size, ways = int(self.facts["test"]), int(self.facts.get("ways", 1))
        bits = [np.unpackbits(np.frombuffer(each, np.uint8), count=size * ways) for each in frame["correct"]]
        correct = [each.astype(bool) if ways == 1 else each.reshape(ways, size).mean(axis=0) for each in bits]
        return frame.assign(correct=pd.Series(correct, index=frame.index, dtype=object))

    @property
    def outcome(self) -> str:
        """What a fit's accuracy is."""
        return str(self.facts.get("outcome", "accuracy"))


def begin_retrain(workspace: Workspace, id: str, facts: dict[str, Any]) -> Retrain:
    """The retraining of that id, as it was left, or new."""
    folder = make_folder(workspace.path / "retrains" / check_name("retraining", id))
    make_folder(folder / "parts")
    if not (folder / "retrain.json").exists():
        write_json(folder / "retrain.json", {"format": FORMAT, **facts})
    return Retrain(folder, read_facts(folder / "retrain.json"))


def retrains(workspace: Workspace, dataset: str | None = None) -> list[Retrain]:
    """Every retraining, or those of one data set, the newest first."""
    paths = (workspace.path / "retrains").glob("[!.]*/retrain.json")
    found = [Retrain(path.parent, read_facts(path)) for path in sorted(paths)]
    chosen = [one for one in found if dataset is None or one.dataset == dataset]
    return sorted(chosen, key=lambda one: (one.facts["created"], one.id), reverse=True)


def untouched(workspace: Workspace, dataset: Dataset) -> list[str]:
    """The splits that no run has scored, test first: on these alone a model can be tested fairly."""
    scored = {run.facts.get("split") for run in workspace.runs(dataset.name)}
    free = [] if EVERYTHING in scored else [split for split in dataset.splits if split not in scored]
    return sorted(free, key=lambda split: split != "test")


def write_fits(retrain: Retrain, job: int, rows: list[dict[str, Any]]) -> None:
    """Put a job's fits on the disk: written last, so a part's existence means that the job is done."""
    packed = [{**row, "correct": pack(row["correct"])} for row in rows]
    path = retrain.part(job)
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist(packed, schema=FITS), temporary)


def pack(correct: NDArray[np.bool_]) -> bytes:
    """(T,) bool as a bit each."""
    return np.packbits(correct).tobytes()
