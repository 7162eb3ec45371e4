"""From a shard of images with captions to its part. Never reads a fault.

A pair's contrastive loss is taken among the pairs of its batch, so which those are is drawn at random, by a recorded
seed: a permutation of all samples says which make a shard, and in each shard every draw deals them out anew. Both
depend on the seed and the shard alone, so whoever scores a shard, before or after whichever others, gives the same.

Stages: embed a shard's pairs, in the order of the data set → deal them into batches, as often as there are draws, and
judge each batch → the mean over draws.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from mimic.data import Shard
from mimic.runs.embeddings import Towers
from mimic.runs.inputs import Texts
from mimic.runs.loading import Decoded, Piece
from mimic.runs.prepare import Prepared
from mimic.runs.worker import Part, Rows, Step, Task, Worker, part_table
from mimic.scores import DRAW_ERROR
from mimic.scores.pairs import Embedded
from mimic.scores.scorer import BatchScores
from mimic.workspace.layout import Run
from mimic.workspace.publish import read_parts
from mimic.workspace.samples import Inputs, read_inputs

# Batches a shard has at least, where there are enough samples: fewer, and the draws would resemble one another.
BATCHES_A_SHARD = 8


def shard_size(samples: int, least: int) -> int:
    """Samples a shard, at least so many where there are, and the last shard no less than half as many.

    >>> shard_size(1025, 256), shard_size(900, 1024)
    (257, 900)
    """
    return next(size for size in range(min(least, samples), samples + 1) if 2 * (samples % size or size) >= size)


class PairWorker(Worker):
    """Scores images with captions."""

    def __init__(self, prepared: Prepared, run: Run, threads: int | None = None) -> None:
        assert prepared.texts is not None
        super().__init__(prepared, run, threads)
        self._texts: Texts = prepared.texts

    def read(self, shards: Iterable[Shard]) -> Iterator[Task]:
        order = np.random.default_rng(self.prepared.config.draw_seed).permutation(len(self.prepared.numbers))
        for shard in shards:
            numbers = self.prepared.numbers[np.sort(order[shard.first : shard.last])]
            yield Task(shard, read_inputs(self.prepared.dataset, numbers, images=self.prepared.preprocess is not None))

    def score(self, tasks: Iterable[Task]) -> Iterator[Step | Part]:
        for task in tasks:
            began = time.monotonic()
            shard, inputs = task.shard, task.inputs
            reasons = {row: why for row, why in enumerate(self._texts.unusable(inputs)) if why is not None}
            pieces: list[Embedded] = []
            for decoded in self.loader(self._pieces(shard, inputs, reasons)):
                pieces += self._embed(decoded, inputs, reasons)
                yield Step(len(decoded.piece.keys), len(decoded.reasons))
            rows, towers = self._judged(shard, inputs.numbers, pieces, reasons)
            seconds = (time.monotonic() - began) / self.beside
            yield Part(shard, part_table([rows], self.run.signals), seconds, towers)

    def _pieces(self, shard: Shard, inputs: Inputs, reasons: dict[int, str]) -> Iterator[Piece]:
        """Batches of a shard's pairs that have a text; a piece's labels are their rows in the shard."""
        keys = self.prepared.images.keys(inputs)
        rows = np.array([row for row in range(len(keys)) if row not in reasons], np.int64)
        for some in np.split(rows, range(self.prepared.config.batch_size, len(rows), self.prepared.config.batch_size)):
            yield Piece(shard, False, inputs.numbers[some], [keys[row] for row in some], some)

    def _embed(self, decoded: Decoded, inputs: Inputs, reasons: dict[int, str]) -> list[Embedded]:
        rows, device = decoded.piece.labels, self.prepared.device
        reasons |= {int(rows[place]): why for place, why in decoded.reasons.items()}
        readable = np.array([place for place in range(len(rows)) if place not in decoded.reasons], np.int64)
        if not len(readable):
            return []
        images = decoded.images[torch.from_numpy(readable)].to(device, non_blocking=True)
        return [self.prepared.scorer.embed((images, self._texts(inputs, rows[readable]).to(device)))]

    def _judged(
        self, shard: Shard, numbers: NDArray[np.int32], pieces: list[Embedded], reasons: dict[int, str]
    ) -> tuple[Rows, Towers | None]:
        """A shard's rows and embeddings, given the embedded pairs of the rows with no reason against them, in order."""
        known = np.array([row for row in range(len(numbers)) if row not in reasons], np.int64)
        if len(known) == 1:
            reasons |= {int(known[0]): "is alone in its batch"}
        rows = Rows.unscored(numbers, self.run.signals, reasons)
        if len(known) < 2:
            return rows, None
        config = self.prepared.config
        draws = Draws(len(known))
        pairs = Embedded.joined(pieces)
        for draw in range(config.draws):
            for batch in dealt(len(known), config.batch_size, [config.draw_seed, shard.index, draw]):
                draws.add(batch, self.prepared.scorer.judge(pairs.rows(torch.from_numpy(batch))))
        for name in self.run.signals:
            rows.signals[name][known] = draws.error(self.run.main) if name == DRAW_ERROR else draws.mean(name)
        rows.reference_agrees[known], rows.start_agrees[known] = draws.reference_agrees, draws.start_agrees
        for row in known[~np.isfinite(draws.mean(self.run.main))]:
            rows.reasons[row] = "the model gave no finite value"
        return rows, Towers.of(numbers[known], pairs.reference)


def dealt(count: int, size: int, seed: list[int]) -> list[NDArray[np.int64]]:
    """0 … count − 1 in a drawn order, as batches of about `size`: of the same size but for one, and of two at least."""
    order = np.random.default_rng(seed).permutation(count).astype(np.int64)
    return np.array_split(order, max(min(round(count / size), count // 2), 1))


class Draws:
    """What several draws gave a shard's N pairs."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._values: dict[str, list[NDArray[np.float64]]] = {}  # name → a draw each, (N,)
        self._agree = np.zeros((2, count), np.int64)  # how often reference and start found the pair's own caption
        self._filled = count

    def add(self, batch: NDArray[np.int64], scores: BatchScores) -> None:
        """A batch of the present draw, or of the next one where all pairs have been seen."""
        if self._filled == self._count:
            self._filled = 0
            for name in scores.signals:
                self._values.setdefault(name, []).append(np.full(self._count, np.nan))
        for name, values in scores.signals.items():
            self._values[name][-1][batch] = values.double().cpu().numpy()
        self._agree[0, batch] += scores.reference_agrees.cpu().numpy()
        self._agree[1, batch] += scores.start_agrees.cpu().numpy()
        self._filled += len(batch)

    @property
    def _draws(self) -> int:
        return len(next(iter(self._values.values())))

    @property
    def reference_agrees(self) -> NDArray[np.bool_]:
        """(N,) whether the reference found the pair's own caption in at least half of the draws."""
        return np.asarray(2 * self._agree[0] >= self._draws)

    @property
    def start_agrees(self) -> NDArray[np.bool_]:
        """(N,) the same of the start."""
        return np.asarray(2 * self._agree[1] >= self._draws)

    def mean(self, name: str) -> NDArray[np.float64]:
        """(N,) mean of a signal over the draws; NaN where one of them gave none."""
        return np.asarray(np.mean(self._values[name], axis=0, dtype=np.float64))

    def error(self, name: str) -> NDArray[np.float64]:
        """(N,) minus the standard error of that mean."""
        return np.asarray(-np.std(self._values[name], axis=0, ddof=1) / np.sqrt(self._draws))


def dependence(run: Run) -> dict[str, float]:
    """How much the Mimic Score depends on the draw of batches, from a run's parts; empty for a single draw.

    Returns:
        ``error``: root mean square of the samples' standard errors, in units of the score; ``reliability``: the share
        of the averaged scores' variance that is not the draws', 1 − error² / variance; ``correlation``: what follows
        for the scores of any two single draws (Spearman-Brown).
    """
    if DRAW_ERROR not in run.signals:
        return {}
    table = read_parts(run, [run.main, DRAW_ERROR])
    scores, errors = (table[name].to_numpy().astype(np.float64) for name in (run.main, DRAW_ERROR))
    known = np.isfinite(scores) & np.isfinite(errors)
    noise, variance = float(np.mean(errors[known] ** 2)), float(np.var(scores[known]))
    reliability = max(1 - noise / variance, 0.0) if variance > 0 else 0.0
    draws = run.facts["draws"]["count"]
    return {
        "error": math.sqrt(noise),
        "reliability": reliability,
        "correlation": reliability / (draws - (draws - 1) * reliability),
    }
