"""Several processes give the run that one gives, whatever becomes of any of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

import duckdb
import pytest
import torch

from mimic.data import Shard
from mimic.errors import MimicError
from mimic.runs import forked, manager
from mimic.runs.worker import Step, Task, Worker

TWO = partial(forked.execute, processes=2)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks of a process that has loaded torch")


def table(run):
    with duckdb.connect(str(run.scores_file), read_only=True) as connection:
        return connection.execute("SELECT * EXCLUDE (mimic_path) FROM scores ORDER BY sample").fetchdf()


def test_two_processes_give_the_run_of_one(workspace, digits, tmp_path):
    torch.set_num_threads(1)
    config = digits.config(batch_size=32)
    told = []
    run = manager.score(workspace, config, "cpu", 1, TWO, on_progress=lambda progress: told.append(progress.done))
    assert (run.state, run.counts["scored"], len(run.parts)) == ("published", 600, 3)
    assert told == sorted(told)
    assert told[-1] == 600
    several = table(run)
    for file in (run.scores_file, *run.parts, run.folder / "run.json"):
        file.unlink()
    one = table(manager.score(workspace, config, "cpu", 1))
    assert several.equals(one)


class Scripted(Worker):
    """Does to its second shard what it is told to."""

    def __init__(self, do):
        self.do = do

    def read(self, shards) -> Iterator[Task]:
        return (Task(shard, None) for shard in shards)

    def score(self, tasks) -> Iterator[Step]:
        for task in tasks:
            if task.shard.index == 2:
                self.do()
            yield Step(len(task.shard), 0)


SHARDS = [Shard(i, 10 * i, 10 * i + 10) for i in range(5)]


def no_room():
    raise OSError(28, "No space left on device")


def test_what_fails_in_a_process_is_raised_here():
    with pytest.raises(OSError, match="No space left") as caught:
        list(TWO(lambda: Scripted(no_room), SHARDS))
    assert caught.value.errno == 28


def test_a_process_that_is_killed_is_told_of():
    with pytest.raises(MimicError, match=r"exit code -9.*fewer --processes"):
        list(TWO(lambda: Scripted(lambda: os.kill(os.getpid(), signal.SIGKILL)), SHARDS))


def test_nobody_stays_when_the_reader_stops():
    steps = TWO(lambda: Scripted(lambda: time.sleep(60)), SHARDS)
    next(steps)
    began = time.monotonic()
    steps.close()
    assert time.monotonic() - began < 30


ORPHANS = """
import os, sys, time
from mimic.data import Shard
from mimic.runs import forked
from mimic.runs.worker import Step, Worker

class Slow(Worker):
    def __init__(self):
        pass

    def read(self, shards):
        return shards

    def score(self, shards):
        os.write(1, f"{os.getpid()}\\n".encode())  # in one piece, beside the other one
        for shard in shards:
            time.sleep(0.2)
            yield Step(1, 0)

for step in forked.execute(Slow, [Shard(i, i, i + 1) for i in range(10_000)], 2):
    pass
"""


def test_nobody_stays_when_the_parent_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True)
    children = [int(parent.stdout.readline()) for _ in range(2)]
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while any(os.path.exists(f"/proc/{child}") for child in children):  # noqa: PTH110
        assert time.monotonic() < deadline, "a process outlived its parent"
        time.sleep(0.1)
