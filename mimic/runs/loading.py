"""Decoding ahead of the model: threads read and preprocess the next batches while the present one is scored.

Pillow and file reading release Python's lock, so threads are enough, and a batch is written where it will be used. Of
images on a server a batch is fetched at once, by threads that do nothing else, or the cores would wait for the network.
The order of batches, and of samples within one, never depends on the threads.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mimic.data import Shard
from mimic.images import UnreadableImage
from mimic.runs.inputs import Fetched, Images

_AHEAD = 2  # batches that are decoded while one is scored
_SLICE = 8  # images a task: enough to make the hand-over cheap, few enough to share a batch among the threads


def decoding_threads() -> int:
    """As many as this process may use cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Piece:
    """A batch's worth of one shard, to be decoded.

    Attributes:
        shard: the shard it belongs to.
        ends: whether it is the shard's last.
        numbers, keys, labels: B samples; keys as their `Images` take them, labels the model's outputs or −1.
    """

    shard: Shard
    ends: bool
    numbers: NDArray[np.int32]
    keys: list[str]
    labels: NDArray[np.int64]


@dataclass
class Decoded:
    """A piece with its pixels.

    Attributes:
        piece: what was asked for.
        images: (B, …) float32; rows of images that could not be read hold anything.
        reasons: row → why its image could not be read.
    """

    piece: Piece
    images: Tensor
    reasons: dict[int, str] = field(default_factory=dict)


class Loader:
    """Reads pieces ahead, in order."""

    def __init__(self, images: Images, threads: int | None = None, pin: bool = False) -> None:
        """
        Args:
            images: where they come from.
            threads: how many decode; by default as many as there are cores.
            pin: whether batches lie in pinned memory, from which a GPU copies by itself.
        """
        self.images = images
        self.threads = threads or decoding_threads()
        self.pin = pin

    def __call__(self, pieces: Iterable[Piece]) -> Iterator[Decoded]:
        """The pieces, decoded, in the same order."""
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="decode")
        fetching = ThreadPoolExecutor(_AHEAD + 1, thread_name_prefix="fetch") if self.images.far else None
        waiting: deque[tuple[Decoded, list[Future[None]]]] = deque()
        try:
            for piece in pieces:
                waiting.append(self._submit(pool, fetching, piece))
                if len(waiting) > _AHEAD:
                    yield _finished(*waiting.popleft())
            while waiting:
                yield _finished(*waiting.popleft())
        finally:
            if fetching is not None:
                fetching.shutdown(wait=False, cancel_futures=True)
            pool.shutdown(cancel_futures=True)

    def _submit(
        self, pool: ThreadPoolExecutor, fetching: ThreadPoolExecutor | None, piece: Piece
    ) -> tuple[Decoded, list[Future[None]]]:
        decoded = Decoded(piece, torch.empty(len(piece.keys), *self.images.shape, pin_memory=self.pin))
        starts = range(0, len(piece.keys), _SLICE)
        coming = None if fetching is None else fetching.submit(self.images.fetch, piece.keys)
        return decoded, [pool.submit(self._decode, decoded, coming, start, start + _SLICE) for start in starts]

    def _decode(self, decoded: Decoded, coming: Future[Fetched] | None, first: int, last: int) -> None:
        fetched: Fetched = {} if coming is None else coming.result()
        for row, key in enumerate(decoded.piece.keys[first:last], first):
            try:
                decoded.images[row] = self.images(key, fetched)
            except UnreadableImage as error:
                decoded.reasons[row] = str(error)


def _finished(decoded: Decoded, tasks: list[Future[None]]) -> Decoded:
    for task in tasks:
        task.result()
    return decoded
