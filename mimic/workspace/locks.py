"""A run's lock: held by the one process that works on it, with its machine, number and since when.

Where a network folder knows no locks, two machines may work on one run. That costs time and nothing else: each part is
written whole, by a name of its writer's until then, and is the same whoever wrote it; so is what is published.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
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
            except OSError:
                break  # there are no locks here
        else:
            file.seek(0)
            holder = file.read().strip() or "?"
            place = Workspace(folder.parents[1])
            raise MimicError(
                f"run {folder.name} is being worked on by another process ({holder}): "
                f"wait for it; `mimic show {folder.name}{place.option}` says how far it is"
            )
        file.truncate(0)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}")
        file.flush()
        yield
