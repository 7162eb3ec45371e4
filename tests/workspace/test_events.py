"""A run's events: its whole life in order, from several processes at once, and as JSON where MIMIC_LOG says."""

# ruff: noqa: F811 (fixtures are imported by name)

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from mimic.errors import MimicError
from mimic.runs import manager
from mimic.workspace.events import FILE, events, note
from mimic.workspace.layout import Run, Workspace
from tests.runs.conftest import MODEL, Digits, digits, workspace  # noqa: F401


def names(run: Run) -> list[str]:
    return [event["event"] for event in events(run)]


def test_a_run_that_is_stopped_fails_and_goes_on(workspace: Workspace, digits: Digits) -> None:
    config = digits.config(batch_size=64)

    def stop(progress: object) -> None:
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        manager.score(workspace, config, "cpu", on_progress=stop)

    def full(progress: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(MimicError, match="No space left"):
        manager.score(workspace, config, "cpu", on_progress=full)
    run = manager.score(workspace, config, "cpu")
    told = events(run)
    assert names(run)[:2] == ["begun", "stopped"]
    assert "No space left" in next(event["error"] for event in told if event["event"] == "failed")
    assert names(run).count("resumed") == 2
    assert names(run)[-1] == "published"
    shards = [event for event in told if event["event"] == "shard"]
    assert sorted(event["shard"] for event in shards) == [shard.index for shard in run.shards]
    assert sum(event["samples"] for event in shards) == run.size
    assert [event["at"] for event in told] == sorted(event["at"] for event in told)
    assert told[-1]["scored"] == run.counts["scored"]


def write_some(folder: str) -> None:
    for _ in range(200):
        note(Run(Path(folder), {}), "shard", words="x" * 300)


def test_processes_never_write_into_one_another(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(write_some, [str(tmp_path)] * 4))
    found = events(Run(tmp_path, {}), last=10_000)
    assert len(found) == 800
    assert all(event["words"] == "x" * 300 for event in found)


def test_lines_that_were_cut_off_and_runs_without_any(tmp_path: Path) -> None:
    run = Run(tmp_path, {})
    assert events(run) == []
    note(run, "begun")
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"at": "2026", "eve\n[]\n{"event": 1}\n' + b"[" * 100_000 + b"\n\xff\xfe\n")
    note(run, "published")
    assert names(run) == ["begun", "published"]
    note(Run(tmp_path / "gone", {}), "shard")  # nobody fails for it


def test_the_log_of_a_command(workspace: Workspace, digits: Digits, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mimic.cli", "score", "digits", "--model", MODEL, "--reference", digits.reference]
    command += ["--start", digits.start, "--workspace", str(workspace.path)]
    log = tmp_path / "log.jsonl"
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"MIMIC_LOG": str(log)})
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines][:: len(lines) - 1] == ["begun", "published"]
    (run,) = workspace.runs()
    assert {line["run"] for line in lines} == {run.id}
    shown = subprocess.run(
        [sys.executable, "-m", "mimic.cli", "show", run.id, "--events", "--workspace", str(workspace.path)],
        check=True, capture_output=True, text=True, env=os.environ | {"MIMIC_LOG": "-"},
    )  # fmt: skip
    assert [line.split()[1] for line in shown.stdout.splitlines()] == names(run)
    refused = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MIMIC_LOG": "/nowhere/x"})
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
