"""`torchrun … mimic train` in two processes is the training of one, whatever ends one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from mimic.models.build import build_model
from mimic.models.checkpoint import save_checkpoint
from mimic.runs.importing import import_dataset
from mimic.runs.train.config import TrainConfig
from mimic.runs.train.manage import train
from mimic.workspace.layout import Run, Workspace
from tests.runs.conftest import Digits
from tests.runs.train.conftest import Configured

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def command(workspace: Workspace, asked: TrainConfig, processes: int = 2) -> list[str]:
    """The command that asks for the same."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    start += ["-m", "--", "mimic.cli", "train", "digits", "--model", asked.model, "--reference", asked.reference]
    start += [
        "--start",
        str(asked.start),
        "--workspace",
        str(workspace.path),
        "--device",
        "cpu",
        "--scope",
        asked.scope,
    ]
    for name in ("epochs", "batch_size", "lr", "window", "compare", "augment", "temperature_end"):
        if (value := getattr(asked, name)) is not None:
            start += [f"--{name.replace('_', '-')}", str(value)]
    return start


def table(run: Run, name: str, order: str) -> pd.DataFrame:
    assert run.scores_file is not None
    with duckdb.connect(run.scores_file, read_only=True) as connection:
        return connection.sql(f"SELECT * FROM {name} ORDER BY {order}").df()


def same(run: Run, alone: Run, arms: dict[str, str]) -> None:
    """To 1e-5 of each tensor's length: sums over halves of a batch are rounded otherwise than over the whole, and AdamW
    divides by the gradient's own size, so a single weight whose gradient is all but zero may move by more.
    """
    for file in arms.values():
        for name, tensor in load_file(alone.folder / file).items():
            apart = np.linalg.norm(load_file(run.folder / file)[name] - tensor)
            assert apart <= 1e-5 * np.linalg.norm(tensor), name
    for name, order in (("visits", "sample, step"), ("curves", "arm, step, split")):
        ours, theirs = table(run, name, order), table(alone, name, order)
        ours, theirs = (each.drop(columns=["visit"], errors="ignore") for each in (ours, theirs))
        pd.testing.assert_frame_equal(ours, theirs, check_exact=False, rtol=1e-3, atol=1e-5)


@pytest.fixture
def other(digits: Digits, tmp_path: Path) -> Workspace:
    """A workspace of its own."""
    place = Workspace(tmp_path / "other")
    import_dataset(place, digits.manifest, "digits")
    return place


def test_two_processes_are_one(workspace: Workspace, other: Workspace, config: Configured) -> None:
    asked = config(compare="uniform", scope="full", augment="flip-crop", temperature_end=0.1, batch_size=49)
    alone = train(workspace, asked)
    done = subprocess.run(command(other, asked), env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("published") == 1
    (run,) = other.runs()
    assert run.id == alone.id
    same(run, alone, run.facts["models"])
    assert (run.facts["exhausted"] or {}) == pytest.approx(alone.facts["exhausted"] or {}, rel=1e-4)


@pytest.mark.slow
def test_one_that_ends_ends_all_and_the_same_command_goes_on(
    workspace: Workspace, other: Workspace, config: Configured
) -> None:
    asked = config(epochs=20, lr=1e-4)
    alone = train(workspace, asked)
    for number in (signal.SIGKILL, signal.SIGINT):
        running = subprocess.Popen(
            command(other, asked), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        before = kept(other)
        deadline = time.monotonic() + 60
        while kept(other) == before and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        if number == signal.SIGKILL:
            os.kill(worker(running.pid), number)
        else:
            running.send_signal(number)
        _, said = running.communicate(timeout=60)
        assert running.returncode != 0
        assert b"mimic/runs" not in said, said[-2000:]  # sentences, and torchrun's own report
        (run,) = other.runs()
        assert run.state != "published"
    assert b"the same command goes on from there: torchrun --nproc-per-node 2 -m -- mimic.cli train" in said
    done = subprocess.run(command(other, asked), env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    (run,) = other.runs()
    same(run, alone, run.facts["models"])
    again = subprocess.run(command(other, asked), env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert (again.returncode, "was there already" in again.stderr) == (0, True)


def kept(workspace: Workspace) -> float:
    """How new the checkpoint is."""
    return max((each.stat().st_mtime for each in workspace.path.glob("runs/*/checkpoint.safetensors")), default=0.0)


def worker(parent: int) -> int:
    """The second process of torchrun's."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            above = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if above == parent and b"\0RANK=1\0" in (folder / "environ").read_bytes():
                return int(folder.name)
        except OSError:
            continue  # it has ended
    raise AssertionError("torchrun has no second process")


@pytest.mark.slow
def test_what_a_batch_couples_is_refused(other: Workspace, config: Configured) -> None:
    paths = {}
    for name in ("start", "reference"):
        paths[name] = str(other.path / f"{name}.safetensors")
        save_checkpoint(Path(paths[name]), build_model("small:convnet", 10).module.state_dict(), {})
    made = command(other, config(model="small:convnet", **paths))
    done = subprocess.run(made, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "normalises by its batch" in done.stderr, done.stderr[-1500:]
