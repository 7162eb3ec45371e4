"""From a shard to its part: read what samples were given, decode, score, write. Never reads a truth.

Batches never cross the end of a shard, so a shard's numbers do not depend on which shards were done before it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from mimic.data import Shard
from mimic.runs.loading import Decoded, Loader, Piece
from mimic.runs.prepare import Prepared
from mimic.workspace.datasets import read_inputs
from mimic.workspace.layout import Run
from mimic.workspace.publish import RANKS, part_schema, write_part

_READ = 20_000  # samples whose paths and labels are read at a time


@dataclass(frozen=True)
class Step:
    """What a worker has just done: `samples` more, of which `unreadable` had no pixels to score."""

    samples: int
    unreadable: int


class Worker(ABC):
    """Scores shards of a run, one after the other.

    Attributes:
        beside: how many workers share the run at the same time, this one included: a shard took its share of the time.
    """

    beside = 1

    @abstractmethod
    def __call__(self, shards: Iterable[Shard]) -> Iterator[Step]:
        """Score the shards and write their parts, with a report after every batch."""


class LabelWorker(Worker):
    """Scores images with labels, decoding ahead across the shards' borders."""

    def __init__(self, prepared: Prepared, run: Run, threads: int | None = None) -> None:
        """
        Args:
            prepared: the run's ingredients.
            run: where the parts go.
            threads: how many decode; by default as many as there are cores.
        """
        self.prepared = prepared
        self.run = run
        self._batch = prepared.config.batch_size
        # Opening the table costs more than reading some thousand rows of it.
        self._at_once = max(_READ // int(run.facts["shards"]["size"]), 1)
        self.loader = Loader(prepared.images, threads, pin=prepared.device.type == "cuda")

    def __call__(self, shards: Iterable[Shard]) -> Iterator[Step]:
        rows: list[Rows] = []
        began = time.monotonic()
        for decoded in self.loader(self._pieces(shards)):
            rows.append(self._score(decoded))
            if decoded.piece.ends:
                now = time.monotonic()
                seconds = (now - began) / self.beside
                write_part(self.run, decoded.piece.shard, part_table(rows, self.run.signals), seconds)
                rows, began = [], now
            yield Step(len(decoded.piece.keys), len(decoded.reasons))

    def _pieces(self, shards: Iterable[Shard]) -> Iterator[Piece]:
        waiting = iter(shards)
        while group := list(islice(waiting, self._at_once)):
            numbers = np.concatenate([self.prepared.numbers[shard.first : shard.last] for shard in group])
            inputs = read_inputs(self.prepared.dataset, numbers)
            keys, labels = self.prepared.images.keys(inputs), self.prepared.classes.labels(inputs.codes)
            begin = 0
            for shard in group:
                end = begin + len(shard)
                for first in range(begin, end, self._batch):
                    some = slice(first, min(first + self._batch, end))
                    yield Piece(shard, some.stop == end, numbers[some], keys[some], labels[some])
                begin = end

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
