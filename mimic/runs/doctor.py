"""Whether this machine can do the work: what is installed, what computes, where a workspace may lie, and what to mend.

Nothing is left behind: what is written to find out whether one may write is taken away again.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import IO, Literal

from mimic.errors import MimicError
from mimic.runs import launch
from mimic.workspace.layout import Workspace

DISTRIBUTION = "mimic-score"
LIBRARIES = ("torch", "numpy", "pyarrow", "duckdb", "pillow", "streamlit")
ROOM, COMFORT = 200 << 20, 5 << 30  # bytes of disk: less is too little; less makes a large run anxious
_IMAGES, _SECONDS = 128, 0.5  # a batch of the test forward, and how long it goes on

State = Literal["good", "note", "bad"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: its name.
        state: ``good``; ``note``: works, with something to know; ``bad``: mimic will not work.
        words: what was found.
        advice: what to do; empty where there is nothing to do.
    """

    what: str
    state: State
    words: str
    advice: str = ""


def examine(workspace: Workspace, port: int = launch.PORT) -> Iterator[Finding]:
    """Look at one thing after the other.

    Args:
        workspace: where runs are to go; it need not exist, and is not made.
        port: where the app would be served.
    """
    yield Finding(
        "mimic", "good", f"{version(DISTRIBUTION)}, Python {platform.python_version()}, {platform.platform()}"
    )
    yield Finding("libraries", "good", ", ".join(f"{name} {version(name)}" for name in LIBRARIES))
    yield from _extras()
    yield from _computing()
    yield from _place(workspace)
    yield _port(port)


def _extras() -> Iterator[Finding]:
    """What each extra wants, by the distribution's own metadata; the tools of its developers are left out."""
    wanted: dict[str, list[str]] = {}
    for line in requires(DISTRIBUTION) or []:
        found = re.fullmatch(r"([A-Za-z0-9._-]+).*;\s*extra == ['\"]([\w-]+)['\"]", line)
        if found and found[2] != "dev":
            wanted.setdefault(found[2], []).append("Authlib" if found[2] == "auth" else found[1])
    for extra, names in wanted.items():
        missing = [name for name in names if not _installed(name)]
        if missing:
            command = f'pip install "{DISTRIBUTION}[{extra}]"'
            yield Finding(f"extra {extra}", "note", f"without {', '.join(missing)}", f"if you need it: {command}")
        else:
            yield Finding(f"extra {extra}", "good", ", ".join(f"{name} {version(name)}" for name in names))


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _computing() -> Iterator[Finding]:
    try:
        import torch  # noqa: F401
    except (ImportError, OSError) as error:  # OSError: one of its shared libraries
        yield Finding("torch", "bad", f"cannot be loaded ({str(error).splitlines()[0][:200]})", "reinstall torch")
        return
    yield from _devices()
    yield from _forward()


def _devices() -> Iterator[Finding]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    yield Finding("processor", "good", f"{cores} cores for this process, {memory:.0f} GiB of memory")
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        facts = torch.cuda.get_device_properties(number)
        yield Finding(f"cuda:{number}", "good", f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        yield Finding("mps", "good", "Apple's GPU")
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        advice = "of a large model score --limit samples first, or use a machine with a GPU"
        yield Finding("GPU", "note", "none that torch can use", advice)


def _forward() -> Iterator[Finding]:
    """A batch through our small network, over and over for half a second, on the device that `--device auto` takes."""
    import torch

    from mimic.models.build import build_model

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        module = build_model("small:convnet", 10).module.eval().to(device)
        images, done = torch.zeros(_IMAGES, 1, 28, 28, device=device), 0
        with torch.inference_mode():
            module(images)
            began = time.perf_counter()
            while time.perf_counter() - began < _SECONDS:
                module(images)[0, 0].item()  # waits for the device
                done += len(images)
        rate = done / (time.perf_counter() - began)
    except (RuntimeError, MemoryError) as error:
        yield Finding("a forward", "bad", f"fails on {device} ({str(error).splitlines()[0][:200]})", "reinstall torch")
        return
    yield Finding("a forward", "good", f"small:convnet on {device}: {rate:,.0f} images/s of 28×28")


def _place(workspace: Workspace) -> Iterator[Finding]:
    """Writing, room and locks, in the workspace or the nearest folder above it that exists."""
    path = workspace.path.expanduser().absolute()
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    what = f"{path}" if there == path else f"{path}, to be made in {there}"
    try:
        with tempfile.TemporaryFile(dir=there, prefix=".mimic-doctor-") as file:
            file.write(b"mimic")
            file.flush()
            os.fsync(file.fileno())
            yield Finding("workspace", "good", f"{what}: may be written")
            yield _locks(there)
    except OSError as error:
        advice = "choose a place you may write to, with --workspace"
        yield Finding("workspace", "bad", f"{what}: cannot be written ({error.strerror})", advice)
    free = shutil.disk_usage(there).free
    state: State = "good" if free >= COMFORT else "note" if free >= ROOM else "bad"
    advice = "" if state == "good" else "make room, or choose another disk with --workspace"
    yield Finding("disk", state, f"{free / 2**30:,.1f} GiB free", advice)


def _locks(folder: Path) -> Finding:
    """Whether a lock that one holds keeps another out."""
    with (
        tempfile.NamedTemporaryFile(dir=folder, prefix=".mimic-doctor-") as first,
        Path(first.name).open("rb") as second,
    ):
        try:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return _unlocked(f"there are none here ({error.strerror})")
        return Finding("locks", "good", "keep two processes apart") if _kept_out(second) else _unlocked("let two in")


def _kept_out(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _unlocked(words: str) -> Finding:
    advice = "start each run from one machine only: two would do the same work twice (nothing is lost by it)"
    return Finding("locks", "note", words, advice)


def _port(port: int) -> Finding:
    try:
        free = launch.free_port(port)
    except MimicError as error:
        return Finding("port", "bad", str(error), "give another with --port")
    if free == port:
        return Finding("port", "good", f"{port} is free for the app")
    return Finding("port", "note", f"{port} is taken", f"`mimic app` takes {free}")
