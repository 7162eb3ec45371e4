"""The side of Ray that scores: what an actor is given, and what it does with it.

Ray keeps hold of this module until the very end of the process, so nothing is imported into it that must be gone before
then: DuckDB would complain of being left alive.
"""

from __future__ import annotations

import io
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from mimic.errors import MimicError
from mimic.runs.versions import versions

if TYPE_CHECKING:
    from mimic.runs.worker import Part, Task, Worker


class Actor:
    """Holds the model, on one node; made into a Ray actor by the pool of `on_ray`."""

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def prepare(self, packed: NDArray[np.uint8], theirs: dict[str, str], gpu: bool) -> tuple[str, int]:
        """Take the worker over; the node and the process that it lives in.

        Raises:
            MimicError: the node's versions are not those of the driver.
        """
        import ray

        context = ray.get_runtime_context()
        if odd := {name: (mine, theirs[name]) for name, mine in versions().items() if mine != theirs[name]}:
            name, (mine, wanted) = next(iter(odd.items()))
            raise MimicError(
                f"node {context.get_node_id()[:8]} has {name} {mine} and this machine {wanted}, so their scores could "
                "differ: install the same versions on both"
            )
        if not gpu:
            torch.set_num_threads(1)  # as with --processes: cores are shared by actors, not by threads
        self._worker = unpacked(packed, torch.device("cuda" if gpu else "cpu"))
        return context.get_node_id(), os.getpid()

    def score(self, task: Task) -> tuple[Part, int]:
        """A shard's results, and how many of its images could not be read."""
        from mimic.runs.worker import Part

        assert self._worker is not None
        part, unreadable = None, 0
        for told in self._worker.score([task]):
            if isinstance(told, Part):
                part = told
            else:
                unreadable += told.unreadable
        assert part is not None
        return part, unreadable


def packed(worker: Worker) -> NDArray[np.uint8]:
    """A worker as bytes, without what only reading needs."""
    import ray.cloudpickle as cloudpickle  # knows functions and classes that plain pickle refuses

    buffer = io.BytesIO()
    torch.save(worker.abroad(), buffer, pickle_module=cloudpickle)
    return np.frombuffer(buffer.getbuffer(), np.uint8)


def unpacked(data: NDArray[np.uint8], device: torch.device) -> Worker:
    """The worker again, with every tensor on a device. Only ever given what `packed` made, in the same cluster."""
    worker: Worker = torch.load(io.BytesIO(data.data), map_location=device, weights_only=False)
    worker.prepared = replace(worker.prepared, device=device)
    worker.loader.pin = device.type == "cuda"
    return worker
