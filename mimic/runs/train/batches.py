"""A split's samples as batches in any order, with their pixels; decoded once where they fit into memory.

Images that cannot be read are left out of their batches, and the reason is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mimic.data import Shard
from mimic.runs.inputs import Images
from mimic.runs.loading import Loader, Piece
from mimic.runs.train.tasks import Task
from mimic.workspace.samples import Inputs

# Bytes of decoded pixels that are kept; a larger split is decoded anew each epoch.
MEMORY = 2**30
_AT_ONCE = 256


@dataclass(frozen=True)
class Batch:
    """B samples.

    Attributes:
        numbers: (B,) int64, their keys in the data set.
        images: (B, …) float32, what the model takes.
        targets: (B, …), what the task asked for.
        skipped: how many more there would be, had their images been readable.
    """

    numbers: Tensor
    images: Tensor
    targets: Tensor
    skipped: int = 0


class Examples:
    """The samples of one split that a task can learn from.

    Args:
        inputs: of the split's samples.
        task: says which of them it can use, and gives their targets.
        images: where its images come from.
        threads: how many decode; by default as many as there are cores.

    Attributes:
        reasons: sample number → why it cannot be used; images that cannot be read come in as they are met.
    """

    def __init__(self, inputs: Inputs, task: Task, images: Images, threads: int | None = None) -> None:
        self._inputs = inputs
        self._task = task
        self._loader = Loader(images, threads)
        self._shape = images.shape
        self._keys = images.keys(inputs)
        self._kept: Tensor | None = None
        reasons = task.unusable(inputs)
        self._rows = np.array([row for row, reason in enumerate(reasons) if reason is None], np.int64)
        self.reasons = {
            int(number): reason for number, reason in zip(inputs.numbers, reasons, strict=True) if reason is not None
        }

    def __len__(self) -> int:
        """How many there are, before unreadable images are left out."""
        return len(self._rows)

    def keep(self, told: Callable[[int], None] = lambda done: None) -> None:
        """Decodes everything now, if it fits; `told` hears how many are done."""
        shape = (len(self), *self._shape)
        if 4 * np.prod(shape) > MEMORY:
            return
        kept, done = torch.empty(shape), 0
        for rows, images in self._decoded(np.array_split(np.arange(len(self)), -(-len(self) // _AT_ONCE) or 1)):
            kept[torch.from_numpy(rows)] = images
            done += len(rows)
            told(done)
        self._kept = kept

    def batches(self, order: Iterable[NDArray[np.int64]]) -> Iterator[Batch]:
        """The examples at the places of each array of an order; a batch may be empty.

        Args:
            order: places, 0 … len − 1.
        """
        if self._kept is None:
            yield from (self._batch(places, images) for places, images in self._decoded(order))
        else:
            yield from (self._batch(places, self._kept[torch.from_numpy(places)]) for places in order)

    def _decoded(self, order: Iterable[NDArray[np.int64]]) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        asked: list[NDArray[np.int64]] = []

        def pieces() -> Iterator[Piece]:
            for places in order:
                asked.append(places)
                rows = self._rows[places]
                keys = [self._keys[row] for row in rows]
                yield Piece(Shard(0, 0, 0), False, self._inputs.numbers[rows], keys, np.empty(0, np.int64))

        for place, decoded in enumerate(self._loader(pieces())):
            for row, reason in decoded.reasons.items():
                self.reasons[int(decoded.piece.numbers[row])] = reason
            yield asked[place], decoded.images
            asked[place] = np.empty(0, np.int64)

    def _batch(self, places: NDArray[np.int64], images: Tensor) -> Batch:
        rows = self._rows[places]
        numbers = self._inputs.numbers[rows]
        usable = np.array([int(number) not in self.reasons for number in numbers], bool)
        if not usable.all():
            rows, numbers, images = rows[usable], numbers[usable], images[torch.from_numpy(usable)]
        targets = self._task.targets(self._inputs, rows)
        return Batch(torch.from_numpy(numbers.astype(np.int64)), images, targets, int((~usable).sum()))


def epoch_order(count: int, size: int, seed: int, epoch: int, least: int = 2) -> list[NDArray[np.int64]]:
    """An epoch's batches of places in a shuffled order; a last batch of fewer than `least` joins the one before it.

    One sample cannot be weighed against others, nor normalised by its batch, nor shared by two processes.
    """
    order = np.random.default_rng([seed, epoch]).permutation(count).astype(np.int64)
    cuts = list(range(size, count, size))
    if cuts and count - cuts[-1] < least:
        cuts.pop()
    return np.split(order, cuts)


def augmented(images: Tensor, how: str, seed: int, step: int) -> Tensor:
    """Pictures as a training shows them: mirrored, moved, or as they are.

    Args:
        images: (B, C, H, W).
        how: ``"none"``, ``"flip"`` or ``"flip-crop"``.
        seed, step: the same give the same.
    """
    if how == "none":
        return images
    rng = np.random.default_rng([seed, step, 1])
    mirrored = torch.from_numpy(rng.random(len(images)) < 0.5)
    images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    if how == "flip":
        return images
    height, width = images.shape[2:]
    pad = max(min(height, width) // 8, 1)
    padded = torch.nn.functional.pad(images, (pad, pad, pad, pad), mode="reflect")
    offsets = rng.integers(0, 2 * pad + 1, (len(images), 2))
    return torch.stack([each[:, y : y + height, x : x + width] for each, (y, x) in zip(padded, offsets, strict=True)])
