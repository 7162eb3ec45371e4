"""Ports, the app's place, and commands started on their own."""

import socket
import time
from pathlib import Path

import pytest

from mimic.errors import MimicError
from mimic.runs import launch
from mimic.runs.manager import score
from mimic.runs.progress import Progress
from mimic.runs.train.config import TrainConfig
from mimic.runs.train.manage import train
from mimic.workspace.layout import Workspace
from tests.runs.conftest import MODEL, Digits


def test_a_taken_port_gives_the_next_free_one() -> None:
    with socket.socket() as taken:
        taken.bind((launch.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < launch.free_port(port) < port + 100
    assert launch.free_port(port) == port


@pytest.mark.parametrize("port", [0, 65536, -1])
def test_what_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(MimicError, match="is no port"):
        launch.free_port(port)


def test_the_app_of_a_clone_is_found_and_served_to_this_machine_only() -> None:
    command = launch.app_command(8501)
    assert str(launch.app_file()) in command
    assert "--server.address=127.0.0.1" in command


def test_a_started_command_works_on_the_workspace_and_leaves_a_log(tmp_path: Path) -> None:
    started = launch.start(Workspace(tmp_path / "w"), ["runs"])
    assert started.process.wait() != 0
    assert "has no runs yet" in started.log.read_text()
    assert str(tmp_path / "w") in started.log.read_text()
    assert time.time() - started.log.stat().st_mtime < 60


def test_a_command_that_was_killed_says_so(tmp_path: Path) -> None:
    started = launch.start(Workspace(tmp_path / "w"), ["runs"])
    assert (started.failure, started.ended_well) == (None, False)
    started.process.kill()
    started.process.wait()
    assert "exit code -9" in (started.failure or "")
    assert str(started.log) in (started.failure or "")
    assert not started.ended_well


def test_a_run_is_gone_on_with_and_another_like_it_made(workspace: Workspace, digits: Digits) -> None:
    class Stop(Exception):
        pass

    def stop_half_way(state: Progress) -> None:
        if state.done >= 256:
            raise Stop

    preprocess = {"mode": "L", "size": [28, 28], "resize": "squash", "mean": [0.4], "std": [0.6]}
    with pytest.raises(Stop):
        score(workspace, digits.config(preprocess=preprocess, batch_size=64), on_progress=stop_half_way)
    (run,) = workspace.runs()
    started = launch.again(workspace, run)
    assert started.process.wait() == 0
    assert started.ended_well
    assert [(one.id, one.state) for one in workspace.runs()] == [(run.id, "published")]
    another = launch.again(workspace, run, scopes=["full"])
    assert another.process.wait() == 0
    assert {tuple(one.config["scopes"]) for one in workspace.runs()} == {("last",), ("full",)}
    refused = launch.again(workspace, run, scopes=["nonsense"])
    assert refused.process.wait() != 0
    assert "nonsense" in (refused.failure or "")


def test_a_training_that_was_stopped_is_gone_on_with(workspace: Workspace, digits: Digits) -> None:
    class Stop(Exception):
        pass

    def stop_half_way(state: Progress) -> None:
        if state.done >= 600:
            raise Stop

    config = TrainConfig.checked(
        dataset="digits", model=MODEL, reference=digits.reference, start=digits.start, epochs=2, temperature_end=0.5
    )
    with pytest.raises(Stop):
        train(workspace, config, on_progress=stop_half_way)
    (run,) = workspace.runs()
    assert run.state == "failed"
    started = launch.again(workspace, run)
    assert started.process.wait() == 0
    assert [(one.id, one.state) for one in workspace.runs()] == [(run.id, "published")]
