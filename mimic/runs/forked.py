"""The executor that works in several processes of one thread each, on a CPU's cores.

None of them waits for another within a layer, as threads do. They are forks of this process after everything was
prepared, so nothing is loaded twice and all share one copy of the weights. Each takes every n-th shard, and says by a
pipe what it has done; when this process is gone, the pipe is closed and they end with it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import cast

import torch

from mimic.data import Shard
from mimic.errors import MimicError
from mimic.runs.worker import Step, Worker


def execute(make_worker: Callable[[], Worker], shards: Iterable[Shard], processes: int) -> Iterator[Step]:
    """Have several processes score the shards; their reports as they come.

    Args:
        make_worker: called in each process.
        shards: what is left to do.
        processes: how many, at least 1.

    Raises:
        MimicError: a process was ended from outside, or there is no way to fork here. Whatever fails in a process is
            raised here.
    """
    if sys.platform != "linux" or torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        raise MimicError(
            "--processes is for the cores of a Linux machine's CPU: leave it out, use --device cpu, "
            "or --on ray --gpus-per-actor 1 for several GPUs"
        )
    todo = list(shards)
    context = multiprocessing.get_context("fork")
    running: dict[Connection, BaseProcess] = {}
    try:
        for place in range(min(processes, len(todo))):
            mine, theirs = context.Pipe(duplex=False)
            inherited = [*running, mine]
            process: BaseProcess = context.Process(
                target=_work, args=(theirs, inherited, make_worker, todo[place::processes], processes), daemon=True
            )
            process.start()
            theirs.close()
            running[mine] = process
        while running:
            for pipe in cast(list[Connection], wait(list(running))):
                yield from _told(pipe, running)
    finally:
        for process in running.values():
            process.terminate()
            process.join()


def _told(pipe: Connection, running: dict[Connection, BaseProcess]) -> Iterator[Step]:
    """What a process has to say; one that has ended is taken off the list."""
    try:
        told = pipe.recv()
    except EOFError:
        process = running.pop(pipe)
        process.join()
        if process.exitcode:
            raise MimicError(
                f"a scoring process ended by itself (exit code {process.exitcode}; −9 is often a lack of memory): "
                "the same command goes on from there, with fewer --processes or a smaller --batch-size"
            ) from None
        return
    if isinstance(told, Exception):
        raise told
    yield told


def _work(
    pipe: Connection,
    inherited: Sequence[Connection],
    make_worker: Callable[[], Worker],
    shards: Sequence[Shard],
    processes: int,
) -> None:
    for each in inherited:  # an open copy here would hide from the others that the parent is gone
        each.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends its processes
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)  # more would use the threads of a pool that did not come along
    try:
        worker = make_worker()
        worker.beside = processes
        for step in worker(shards):
            pipe.send(step)
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:
        pipe.send(error)
    pipe.close()
