"""A run's lock: held by the one process that works on it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mimic.errors import MimicError
from mimic.workspace.layout import Workspace


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run's lock, which the kernel lets go whatever becomes of this process.

    Raises:
        MimicError: another process holds it.
    """
    with (folder / "lock").open("a+") as file:
        for attempt in range(20):  # a watcher holds it for an instant now and then
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.05 * (attempt < 19))
        else:
            file.seek(0)
            holder = file.read().strip() or "?"
            place = Workspace(folder.parents[1])
            raise MimicError(
                f"run {folder.name} is being worked on by another process ({holder}): "
                f"wait for it; `mimic show {folder.name}{place.option}` says how far it is"
            )
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield
