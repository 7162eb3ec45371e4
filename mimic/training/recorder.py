"""Recording visits without holding up the training: a step only keeps references; a thread of its own writes them.

What is kept is handed over every `ROWS` rows or `SECONDS` seconds, and written as a Parquet part that appears whole. A
kill loses what was not handed over yet, which a run resumed from its checkpoint makes again, bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from mimic.errors import MimicError
from mimic.training.visits import forget_from, parts_of, visits_schema, write_part
from mimic.workspace.files import make_folder, write_json

ROWS = 200_000
SECONDS = 10.0


class Visit(NamedTuple):
    """One batch's visits: (B,) each; `margins` None without labels, `epoch` None where none was given."""

    step: int
    epoch: int | None
    ids: Any
    scores: Tensor
    weights: Tensor
    losses: Tensor
    margins: Tensor | None


class Recorder:
    """Writes visits to a folder.

    Args:
        folder: made if need be; it must not hold visits, unless `resume` is called first.
        facts: what visits.json shall say about them.
        rank: of this process among `processes` that record into the same folder.

    Raises:
        MimicError: the folder cannot be written to.
    """

    def __init__(self, folder: Path | str, facts: dict[str, Any], rank: int = 0, processes: int = 1) -> None:
        self.folder = make_folder(Path(folder))
        self.facts = {"format": 1, **facts}
        self._rank, self._processes = rank, processes
        self._waiting: list[Visit] = []
        self._rows = 0
        self._since = time.monotonic()
        self._number: int | None = None  # of the next part; unknown until the folder has been looked at
        self._writing: Future[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mimic-visits")

    def add(self, visit: Visit) -> None:
        """Keeps a batch's visits; never waits for the disk.

        Raises:
            MimicError: there are no ids, not one a sample, or the folder holds another run's visits.
        """
        if self._number is None:
            if self._own_parts():
                raise MimicError(
                    f"{self.folder} holds the visits of an earlier run: go on with load_state_dict, or record elsewhere"
                )
            self._begin(0)
        if visit.ids is None or len(visit.ids) != len(visit.scores):
            count = "no ids" if visit.ids is None else f"{len(visit.ids)} ids"
            raise MimicError(f"{count} for {len(visit.scores)} samples: recording needs ids=, one a sample")
        ids = visit.ids.detach().clone() if isinstance(visit.ids, Tensor) else visit.ids
        self._waiting.append(visit._replace(ids=ids))
        self._rows += len(visit.scores)
        if self._rows >= ROWS or time.monotonic() - self._since >= SECONDS:
            self._hand_over()

    def note(self, **facts: Any) -> None:
        """Adds to visits.json."""
        self.facts |= facts
        if self._rank == 0:
            write_json(self.folder / "visits.json", self.facts)

    def flush(self) -> None:
        """Returns when everything added so far is on the disk.

        Raises:
            Exception: whatever kept the thread from writing.
        """
        if self._writing is not None:
            self._writing.result()
        for number, visits in self._take():
            _write(self.folder, number, visits)  # here, not in the thread: none starts any more when Python is ending

    def resume(self, step: int) -> None:
        """Forgets the rows of this step and of later ones: the training goes on from there."""
        self._waiting.clear()
        self._rows = 0
        kept = [part for part in self._own_parts() if forget_from(part, step)]
        self._begin(1 + max((int(part.stem) // self._processes for part in kept), default=-1))

    def close(self) -> None:
        """Flushes and ends the thread."""
        self.flush()
        self._thread.shutdown()

    def _begin(self, number: int) -> None:
        self._number = number
        self.note()

    def _own_parts(self) -> list[Path]:
        return [part for part in parts_of(self.folder) if int(part.stem) % self._processes == self._rank]

    def _hand_over(self) -> None:
        if self._writing is not None:
            self._writing.result()  # done long ago, or the disk cannot keep up; a full one is said here, not swallowed
        for number, visits in self._take():
            self._writing = self._thread.submit(_write, self.folder, number, visits)

    def _take(self) -> list[tuple[int, list[Visit]]]:
        """What waits, with the number of its part; nothing if nothing does."""
        self._since = time.monotonic()
        if not self._waiting or self._number is None:
            return []
        number = self._number * self._processes + self._rank
        taken, self._waiting = self._waiting, []
        self._rows = 0
        self._number += 1
        return [(number, taken)]


def _write(folder: Path, number: int, visits: Sequence[Visit]) -> None:
    sizes = np.array([len(each.scores) for each in visits])
    measures = [
        _together([each.scores for each in visits]),
        _together([each.weights for each in visits]),
        _together([each.losses for each in visits]),
        pa.concat_arrays([_margins(each) for each in visits]),
    ]
    steps = np.repeat([each.step for each in visits], sizes)
    epochs = pa.array([each.epoch for each in visits], pa.int32()).take(np.repeat(np.arange(len(visits)), sizes))
    key, ids = _ids(visits)
    schema = visits_schema(pa.field(key, ids.type))
    columns = [ids, pa.array(steps, pa.int32()), epochs, pa.array(np.repeat(sizes, sizes), pa.int32()), *measures]
    write_part(folder, number, pa.table(columns, schema=schema))


def _together(tensors: Sequence[Tensor]) -> pa.Array:
    return pa.array(torch.cat([each.detach().float() for each in tensors]).cpu().numpy())


def _margins(visit: Visit) -> pa.Array:
    return pa.nulls(len(visit.scores), pa.float32()) if visit.margins is None else _together([visit.margins])


def _ids(visits: Sequence[Visit]) -> tuple[str, pa.Array]:
    """The key column and its name: numbers are `sample`, everything else is `id`, written as text."""
    ids = [each.ids.cpu().numpy() if isinstance(each.ids, Tensor) else np.asarray(each.ids) for each in visits]
    if all(np.issubdtype(each.dtype, np.integer) for each in ids):
        return "sample", pa.array(np.concatenate(ids).astype(np.int64))
    return "id", pa.array([str(each) for batch in ids for each in batch.tolist()], pa.string())
