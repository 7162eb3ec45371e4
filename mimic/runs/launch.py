"""Starting things from outside: the app for a workspace, and runs as processes of their own. Never loads torch."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from mimic.errors import MimicError
from mimic.files import make_folder, write_json
from mimic.workspace.layout import Run, Workspace

HOST = "127.0.0.1"
PORT = 8501
WORKSPACE_VARIABLE = "MIMIC_WORKSPACE"

# Kinds of runs that are called like the command that makes them.
AGAIN = ("score", "train")

_PACKAGE = Path(__file__).resolve().parent.parent
_TRIED = 100


def app_file() -> Path:
    """The app's own file: inside an installed package, or at the top of a clone.

    Raises:
        MimicError: neither is there.
    """
    for candidate in (_PACKAGE / "_app" / "app.py", _PACKAGE.parent / "app.py"):
        if candidate.is_file():
            return candidate
    raise MimicError(f"the app is not installed with {_PACKAGE}: install mimic-score from its wheel, or use a clone")


def free_port(first: int = PORT) -> int:
    """The first free port from `first` on.

    Raises:
        MimicError: a hundred in a row are taken, or the number is no port.
    """
    if not 1 <= first <= 65535:
        raise MimicError(f"{first} is no port: use a number from 1 to 65535")
    for port in range(first, min(first + _TRIED, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server will: a port just left is free
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise MimicError(f"no free port from {first} on: give another with --port")


def app_command(port: int) -> list[str]:
    """What starts the app's server on a port.

    Streamlit looks for secrets at home and in the folder where it runs, which is the app's own: those of the folder
    where the command is given are named to it, and settings come from its environment variables (STREAMLIT_…).
    """
    options = {"server.address": HOST, "server.port": str(port), "server.headless": "true"}
    flags = [f"--{name}={value}" for name, value in options.items()]
    places = [folder / ".streamlit" / "secrets.toml" for folder in (Path.home(), Path.cwd())]
    if places[1].is_file():
        flags += [f"--secrets.files={place}" for place in places if place.is_file()]
    return [sys.executable, "-m", "streamlit", "run", str(app_file()), *flags]


def serve(workspace: Workspace, port: int) -> NoReturn:
    """Become the app's server: this process is replaced, so that whatever stops it stops the server.

    Args:
        workspace: what it shows.
        port: a free port.
    """
    command = app_command(port)
    environment = os.environ | {WORKSPACE_VARIABLE: str(workspace.path.expanduser().resolve())}
    sys.stdout.flush()
    os.chdir(app_file().parent)  # where Streamlit looks for its settings, the theme among them
    os.execve(command[0], command, environment)


def again(workspace: Workspace, run: Run, **changes: Any) -> Started:
    """Start the command that made a run: to go on with it, or, with some settings changed, for another run like it.

    Args:
        workspace: holds the run.
        run: of a kind in `AGAIN`.
        changes: settings to change, e.g. ``scopes=["full"]``.

    Returns:
        The process and its log.
    """
    return start(workspace, _command(workspace, str(run.facts["kind"]), {**run.config, **changes}))


def retrain(workspace: Workspace, dataset: str, like: Mapping[str, Any] | None = None) -> Started:
    """Start a retraining: of every signal, as the command does by default, or with the settings of one that is there.

    Args:
        workspace: holds the data set.
        dataset: its name.
        like: the facts of a retraining of it, which goes on where it stopped.

    Returns:
        The process and its log.
    """
    arguments = ["evaluate", "retrain", dataset]
    if like is not None:
        arguments += ["--filters", ",".join(like["filters"]), "--budgets", ",".join(map(str, like["budgets"]))]
        arguments += ["--run", str(like["base"]), "--test", str(like["test_split"])]
        arguments += [part for name in ("seeds", "epochs") for part in (f"--{name}", str(like[name]))]
        arguments += ["--model"] * (like["path"] == "model") + ["--weights"] * bool(like.get("weights"))
    return start(workspace, arguments)


def _command(workspace: Workspace, kind: str, config: Mapping[str, Any]) -> list[str]:
    """The command line of a run's settings: each is an option of the same name, but for those told here."""
    arguments = [kind, str(config["dataset"])]
    for name, value in config.items():
        option = f"--{name.replace('_', '-')}"
        if name == "dataset" or value in (None, False):
            continue
        if name == "scopes":
            arguments += [part for scope in value for part in ("--scope", scope)]
        elif name == "preprocess":
            text = json.dumps(value, sort_keys=True)
            file = f"preprocess-{hashlib.sha256(text.encode()).hexdigest()[:10]}.json"
            write_json(make_folder(workspace.path / "logs") / file, value)
            arguments += [option, str((workspace.path / "logs" / file).resolve())]
        elif value is True:
            arguments += [option]
        else:
            arguments += [option, ",".join(value) if isinstance(value, list) else str(value)]
    return arguments


@dataclass(frozen=True)
class Started:
    """A command running on its own: its process, and the file that holds what it says."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def ended_well(self) -> bool:
        """Whether it is over and did what it was started for."""
        return self.process.poll() == 0

    @property
    def failure(self) -> str | None:
        """What it refused with, or that it was ended from outside; None while it works, and where it ended well."""
        if not (code := self.process.poll()):
            return None
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if lines and lines[-1].startswith("mimic: "):
            return lines[-1].removeprefix("mimic: ")
        return f"the command ended by itself (exit code {code}): what it said is in {self.log}"


def start(workspace: Workspace, arguments: Sequence[str]) -> Started:
    """Start a command of ours that outlives this process, e.g. ``["score", "photos", "--model", …]``.

    Args:
        workspace: what it works on; given to the command as ``--workspace``.
        arguments: as after `mimic` on the command line; texts with a leading dash are options.

    Returns:
        The process and its log.
    """
    folder = make_folder(workspace.path / "logs")
    log = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{arguments[0]}.log"
    place = str(workspace.path.expanduser().resolve())
    command = [sys.executable, "-m", "mimic.cli", *arguments, "--workspace", place]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    return Started(process, log)
