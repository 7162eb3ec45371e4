"""The executor that works in this process. Every executor has this signature and gives the same parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from mimic.data import Shard
from mimic.runs.worker import Step, Worker

Executor = Callable[[Callable[[], Worker], Iterable[Shard]], Iterator[Step]]


def execute(make_worker: Callable[[], Worker], shards: Iterable[Shard]) -> Iterator[Step]:
    """Have one worker score the shards in order; a report after every batch."""
    yield from make_worker()(shards)
