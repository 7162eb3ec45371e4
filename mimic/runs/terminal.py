"""Progress on a terminal as a bar, and elsewhere as a plain line every few seconds."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from mimic.runs.progress import Progress

_EVERY = 5.0  # seconds between plain lines


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(4.2), duration(75), duration(3 * 3600 + 120)
    ('4 s', '1 min 15 s', '3 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class ProgressDisplay:
    """Shows how far a run is, how fast it goes and how long it will take. A context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Bar | None = None
        self._task = TaskID(0)
        self._began: float | None = None
        self._said = 0.0
        if console.is_terminal:
            text = TextColumn("{task.description}", markup=False)
            self._live = Bar(BarColumn(), text, console=console, transient=True)
            self._task = self._live.add_task("", total=None)

    @property
    def silent(self) -> bool:
        """Whether no work has been reported: what was asked for was there already."""
        return self._began is None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, state: Progress) -> None:
        """Show a new state."""
        now = time.monotonic()
        if self._began is None:
            self._said = now
            self._console.print(_beginning(state))
        if self._began is None or state.done == state.resumed:
            self._began = now  # what comes before the first of them says nothing about the rate
        line = _line(state, now - self._began)
        if self._live:
            self._live.update(self._task, completed=state.done, total=state.total, description=line)
        elif now - self._said >= _EVERY or state.done == state.total > state.resumed:
            self._said = now
            self._console.print(line)


def _beginning(state: Progress) -> str:
    if state.resumed:
        return f"run {state.run}: {state.resumed:,} of {state.total:,} {state.unit} are done, going on"
    return f"run {state.run}: {state.total:,} {state.unit}"


def _line(state: Progress, seconds: float) -> str:
    parts = [f"{state.done:,} of {state.total:,} ({state.done / max(state.total, 1):.0%})"]
    rate = (state.done - state.resumed) / seconds if seconds > 0 else 0.0
    if rate > 0:
        parts.append(f"{rate:,.0f} images/s" if state.unit == "samples" else f"{rate:,.1f} {state.unit}/s")
    if rate > 0 and state.done < state.total:
        parts.append(f"{duration((state.total - state.done) / rate)} left")
    if state.unreadable:
        parts.append(f"{state.unreadable:,} unreadable")
    if state.note:
        parts.append(state.note)
    return " · ".join(parts)
