"""What `mimic doctor` says of a machine that can do the work, and of one that cannot."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from mimic import cli
from mimic.runs import doctor
from mimic.runs.doctor import Finding, examine
from mimic.workspace.layout import Workspace


def found(workspace: Path) -> dict[str, Finding]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    return {finding.what: finding for finding in examine(Workspace(workspace), free)}


def test_a_machine_that_can(tmp_path: Path) -> None:
    said = found(tmp_path / "not/yet/made")
    assert {one.state for one in said.values()} <= {"good", "note"}
    assert f"torch {version('torch')}" in said["libraries"].words
    assert "images/s" in said["a forward"].words
    assert said["locks"].state == "good"
    assert "to be made in" in said["workspace"].words
    assert list(tmp_path.iterdir()) == []  # nothing is made and nothing left behind


def test_the_command_and_its_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["doctor", "--workspace", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["mimic", *command])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code or 0, "ok    workspace" in capsys.readouterr().out) == (0, True)
    alone = [sys.executable, "-m", "mimic.cli", *command, "--json"]
    told = json.loads(subprocess.run(alone, capture_output=True, text=True, check=True).stdout)
    assert told["fit"] is True
    assert {"what", "state", "words", "advice"} == set(told["findings"][0])


def test_torch_that_does_not_load_is_bad_and_the_rest_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    said = found(tmp_path)
    assert (said["torch"].state, said["torch"].advice) == ("bad", "reinstall torch")
    assert said["locks"].state == "good"
    assert "a forward" not in said


def test_an_extra_that_is_missing_names_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str) -> str:
        if name.lower() == "cleanlab":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor, "version", without)
    said = found(tmp_path)["extra baselines"]
    assert (said.state, said.words) == ("note", "without cleanlab")
    assert 'pip install "mimic-score[baselines]"' in said.advice


def test_a_taken_port_is_told_with_the_next(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = {finding.what: finding for finding in examine(Workspace(tmp_path), port)}["port"]
    assert (said.state, f"{port} is taken" in said.words) == ("note", True)


def test_a_full_disk_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=10 << 20))
    assert found(tmp_path)["disk"].state == "bad"


def test_a_place_that_cannot_be_written_ends_with_one() -> None:
    """/proc takes no files, whoever asks."""
    command = [sys.executable, "-m", "mimic.cli", "doctor", "--workspace", "/proc/mimic"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "BAD   workspace" in ended.stdout
    assert "Traceback" not in ended.stderr


def test_locks_that_keep_nobody_out_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda file, kind: None)
    assert found(tmp_path)["locks"].state == "note"

    def none(file: object, kind: int) -> None:
        raise OSError(38, os.strerror(38))

    monkeypatch.setattr(fcntl, "flock", none)
    assert "there are none here" in found(tmp_path)["locks"].words
