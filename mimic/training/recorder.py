"""Recording visits without holding up the training: a step only keeps references; a thread of its own does the rest.

The thread gets what is kept before it grows large, works out margins and moves it to the CPU, and every `ROWS` rows or
`SECONDS` seconds writes a Parquet part that appears whole. A kill loses what was not written yet, which a run resumed
from its checkpoint makes again, bit for bit.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from mimic.errors import MimicError
from mimic.files import make_folder, write_json
from mimic.training.visits import forget_from, parts_of, visits_schema, write_part

ROWS = 200_000
SECONDS = 10.0
HELD = 2**22  # numbers kept by reference, logits for the most part, before the thread gets them
BEHIND = 64  # tasks that the thread may be behind before a step waits for it


class Visit(NamedTuple):
    """One batch's visits.

    Attributes:
        step: the batch's number.
        epoch: None where none was given.
        ids: one a sample.
        scores, weights, losses: (B,) each.
        logits, labels: (B, K) and (B,), for the margin; None where there is none.
        together: how many samples were weighed as one batch, those of other processes included; None: these B.
    """

    step: int
    epoch: int | None
    ids: Any
    scores: Tensor
    weights: Tensor
    losses: Tensor
    logits: Tensor | None = None
    labels: Tensor | None = None
    together: int | None = None


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
        self._held = 0
        self._since = time.monotonic()
        self._begun = False
        self._number = 0  # of the next part
        self._digested: list[pa.Table] = []  # the thread's own, as is the number; others wait for it first
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mimic-visits")
        self._tasks: deque[Future[None]] = deque()

    def add(self, visit: Visit) -> None:
        """Keeps a batch's visits; never waits for the disk.

        Raises:
            MimicError: there are no ids, not one a sample, or the folder holds another run's visits.
        """
        if not self._begun:
            if self._own_parts():
                raise MimicError(
                    f"{self.folder} holds the visits of an earlier run: go on with load_state_dict, or record elsewhere"
                )
            self._begin(0)
        if visit.ids is None or len(visit.ids) != len(visit.scores):
            count = "no ids" if visit.ids is None else f"{len(visit.ids)} ids"
            raise MimicError(f"{count} for {len(visit.scores)} samples: recording needs ids=, one a sample")
        self._waiting.append(visit)
        self._held += 4 * len(visit.scores) + (0 if visit.logits is None else visit.logits.numel())
        due = time.monotonic() - self._since >= SECONDS
        if due or self._held >= min(HELD, 4 * ROWS):
            self._hand_over(due)

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
        while self._tasks:
            self._tasks.popleft().result()
        self._digest(self._take(), write=True)  # here, not in the thread: none starts when Python is ending

    def resume(self, step: int) -> None:
        """Forgets the rows of this step and of later ones: the training goes on from there."""
        self.flush()
        kept = [part for part in self._own_parts() if forget_from(part, step)]
        self._begin(1 + max((int(part.stem) // self._processes for part in kept), default=-1))

    def close(self) -> None:
        """Flushes and ends the thread."""
        self.flush()
        self._thread.shutdown()

    def _begin(self, number: int) -> None:
        self._begun, self._number = True, number
        self.note()

    def _own_parts(self) -> list[Path]:
        return [part for part in parts_of(self.folder) if int(part.stem) % self._processes == self._rank]

    def _hand_over(self, write: bool) -> None:
        while self._tasks and (self._tasks[0].done() or len(self._tasks) >= BEHIND):
            self._tasks.popleft().result()  # a full disk is said here, not swallowed
        self._tasks.append(self._thread.submit(self._digest, self._take(), write))

    def _take(self) -> list[Visit]:
        self._since = time.monotonic()
        taken, self._waiting, self._held = self._waiting, [], 0
        return taken

    def _digest(self, visits: list[Visit], write: bool) -> None:
        """The thread's work; a part holds whole steps in their order."""
        if visits:
            self._digested.append(_table(visits))
        rows = sum(table.num_rows for table in self._digested)
        if rows and (write or rows >= ROWS):
            write_part(self.folder, self._number * self._processes + self._rank, pa.concat_tables(self._digested))
            self._number += 1
            self._digested = []


def _table(visits: Sequence[Visit]) -> pa.Table:
    sizes = np.array([len(each.scores) for each in visits])
    measures = [
        _together([each.scores for each in visits]),
        _together([each.weights for each in visits]),
        _together([each.losses for each in visits]),
        pa.concat_arrays([_margins(each) for each in visits]),
    ]
    together = np.repeat([each.together or len(each.scores) for each in visits], sizes)
    steps = np.repeat([each.step for each in visits], sizes)
    epochs = pa.array([each.epoch for each in visits], pa.int32()).take(np.repeat(np.arange(len(visits)), sizes))
    key, ids = _ids(visits)
    schema = visits_schema(pa.field(key, ids.type))
    columns = [ids, pa.array(steps, pa.int32()), epochs, pa.array(together, pa.int32()), *measures]
    return pa.table(columns, schema=schema)


def _together(tensors: Sequence[Tensor]) -> pa.Array:
    return pa.array(torch.cat([each.detach().float() for each in tensors]).cpu().numpy())


def _margins(visit: Visit) -> pa.Array:
    """The label's logit minus the highest other one; null without logits or labels."""
    if visit.logits is None or visit.labels is None:
        return pa.nulls(len(visit.scores), pa.float32())
    logits, given = visit.logits.detach().float(), visit.labels.detach().unsqueeze(1)
    others = logits.scatter(1, given, -torch.inf).amax(dim=1)
    return _together([logits.gather(1, given).squeeze(1) - others])


def _ids(visits: Sequence[Visit]) -> tuple[str, pa.Array]:
    """The key column and its name: numbers are `sample`, everything else is `id`, written as text."""
    ids = [each.ids.cpu().numpy() if isinstance(each.ids, Tensor) else np.asarray(each.ids) for each in visits]
    if all(np.issubdtype(each.dtype, np.integer) for each in ids):
        return "sample", pa.array(np.concatenate(ids).astype(np.int64))
    return "id", pa.array([str(each) for batch in ids for each in batch.tolist()], pa.string())
