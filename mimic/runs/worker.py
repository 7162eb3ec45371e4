"""From a shard to its part: read what samples were given, decode, score, write. Never reads a truth.

Reading and writing are done where the workspace is, scoring may be done elsewhere: what goes there is a `Task`, and
what comes back a `Part`. Batches never cross the end of a shard, so a shard's numbers do not depend on which shards
were done before it, or by whom.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from mimic.data import Shard
from mimic.runs.embeddings import Towers, write_piece
from mimic.runs.loading import Decoded, Loader, Piece
from mimic.runs.prepare import Prepared
from mimic.workspace.layout import Run
from mimic.workspace.publish import RANKS, part_schema, write_part
from mimic.workspace.samples import Inputs, read_inputs

_READ = 20_000  # samples whose paths and labels are read at a time


@dataclass(frozen=True)
class Step:
    """What a worker has just done: `samples` more, of which `unreadable` had no pixels to score."""

    samples: int
    unreadable: int


@dataclass(frozen=True)
class Task:
    """A shard, with all that scoring it needs to know of its samples."""

    shard: Shard
    inputs: Inputs


@dataclass(frozen=True)
class Part:
    """A shard's results.

    Attributes:
        shard: the shard.
        table: as `mimic.workspace.publish.part_schema` says.
        seconds: how long it took, less what others did at the same time.
        towers: of captions, the reference's embeddings; None of labels, or where nothing could be embedded.
    """

    shard: Shard
    table: pa.Table
    seconds: float
    towers: Towers | None = None


class Worker(ABC):
    """Scores shards of a run, one after the other.

    Attributes:
        prepared: the run's ingredients.
        run: where the parts go.
        loader: decodes images ahead.
        beside: how many workers share the run at the same time, this one included: a shard took its share of the time.
    """

    beside = 1

    def __init__(self, prepared: Prepared, run: Run, threads: int | None = None) -> None:
        """
        Args:
            prepared: the run's ingredients.
            run: where the parts go.
            threads: how many decode; by default as many as there are cores.
        """
        self.prepared = prepared
        self.run = run
        self.loader = Loader(prepared.images, threads, pin=prepared.device.type == "cuda")

    def __call__(self, shards: Iterable[Shard]) -> Iterator[Step]:
        """Score the shards and write their parts, with a report after every batch."""
        for told in self.score(self.read(shards)):
            if isinstance(told, Part):
                self.write(told)
            else:
                yield told

    @abstractmethod
    def read(self, shards: Iterable[Shard]) -> Iterator[Task]:
        """What the data set says of the shards' samples."""

    @abstractmethod
    def score(self, tasks: Iterable[Task]) -> Iterator[Step | Part]:
        """Score, with a report after every batch and a part for every shard. Needs no workspace."""

    def write(self, part: Part) -> None:
        """Put a shard's results on the disk."""
        if part.towers is not None:
            write_piece(self.run, part.shard, part.towers)
        write_part(self.run, part.shard, part.table, part.seconds)

    def abroad(self) -> Worker:
        """A copy that can only `score`: without the numbers of all samples, which may be many."""
        mine = copy(self)
        mine.prepared = replace(self.prepared, numbers=self.prepared.numbers[:0])
        return mine


class LabelWorker(Worker):
    """Scores images with labels, decoding ahead across the shards' borders."""

    def read(self, shards: Iterable[Shard]) -> Iterator[Task]:
        # Opening the table costs more than reading some thousand rows of it.
        at_once = max(_READ // int(self.run.facts["shards"]["size"]), 1)
        waiting = iter(shards)
        while group := list(islice(waiting, at_once)):
            numbers = np.concatenate([self.prepared.numbers[shard.first : shard.last] for shard in group])
            inputs, begin = read_inputs(self.prepared.dataset, numbers), 0
            for shard in group:
                yield Task(shard, inputs.rows(begin, begin + len(shard)))
                begin += len(shard)

    def score(self, tasks: Iterable[Task]) -> Iterator[Step | Part]:
        rows: list[Rows] = []
        began = time.monotonic()
        for decoded in self.loader(self._pieces(tasks)):
            rows.append(self._score(decoded))
            if decoded.piece.ends:
                now = time.monotonic()
                yield Part(decoded.piece.shard, part_table(rows, self.run.signals), (now - began) / self.beside)
                rows, began = [], now
            yield Step(len(decoded.piece.keys), len(decoded.reasons))

    def _pieces(self, tasks: Iterable[Task]) -> Iterator[Piece]:
        batch = self.prepared.config.batch_size
        for task in tasks:
            inputs, count = task.inputs, len(task.shard)
            keys, labels = self.prepared.images.keys(inputs), self.prepared.classes.labels(inputs.codes)
            for first in range(0, count, batch):
                some = slice(first, min(first + batch, count))
                yield Piece(task.shard, some.stop == count, inputs.numbers[some], keys[some], labels[some])

    def _score(self, decoded: Decoded) -> Rows:
        piece, device = decoded.piece, self.prepared.device
        rows = Rows.unscored(piece.numbers, self.run.signals, decoded.reasons)
        readable = np.array([row not in decoded.reasons for row in range(len(piece.keys))])
        if not readable.any():
            return rows
        images = decoded.images if readable.all() else decoded.images[torch.from_numpy(readable)]
        labels = piece.labels[readable]
        scored = self.prepared.scorer(
            images.to(device, non_blocking=True), torch.from_numpy(labels).to(device, non_blocking=True)
        )
        for name in self.run.signals:
            rows.signals[name][readable] = scored.signals[name].cpu().numpy()
        rows.codes[readable] = scored.codes.cpu().numpy()
        rows.logprobs[readable] = scored.logprobs.cpu().numpy()
        rows.reference_agrees[readable] = scored.reference_agrees.cpu().numpy()
        rows.start_agrees[readable] = scored.start_agrees.cpu().numpy()
        for row, reason in zip(np.flatnonzero(readable), scored.reasons, strict=True):
            rows.reasons[row] = reason
        return rows


@dataclass
class Rows:
    """A batch's results, B rows: what `mimic.workspace.publish.part_schema` asks for."""

    numbers: NDArray[np.int32]
    signals: dict[str, NDArray[np.float32]]
    codes: NDArray[np.int32]  # (B, 3), −1 where there is none
    logprobs: NDArray[np.float32]  # (B, 3)
    reference_agrees: NDArray[np.bool_]
    start_agrees: NDArray[np.bool_]
    reasons: list[str | None] = field(default_factory=list)

    @classmethod
    def unscored(cls, numbers: NDArray[np.int32], signals: Iterable[str], reasons: dict[int, str]) -> Rows:
        """Rows of a batch of which nothing is known yet but why some images could not be read."""
        count = len(numbers)
        return cls(
            numbers=numbers,
            signals={name: np.full(count, np.nan, np.float32) for name in signals},
            codes=np.full((count, len(RANKS)), -1, np.int32),
            logprobs=np.full((count, len(RANKS)), np.nan, np.float32),
            reference_agrees=np.zeros(count, np.bool_),
            start_agrees=np.zeros(count, np.bool_),
            reasons=[reasons.get(row) for row in range(count)],
        )


def part_table(rows: list[Rows], signals: list[str]) -> pa.Table:
    """Batches one after the other, as a part holds them."""
    codes = np.concatenate([each.codes for each in rows])
    logprobs = np.concatenate([each.logprobs for each in rows])
    columns = [
        np.concatenate([each.numbers for each in rows]),
        *(np.concatenate([each.signals[name] for each in rows]) for name in signals),
        *(pa.array(codes[:, rank], mask=codes[:, rank] < 0) for rank in range(len(RANKS))),
        *(logprobs[:, rank] for rank in range(len(RANKS))),
        np.concatenate([each.reference_agrees for each in rows]),
        np.concatenate([each.start_agrees for each in rows]),
        pa.array([reason for each in rows for reason in each.reasons], pa.string()),
    ]
    return pa.table(columns, schema=part_schema(signals))
