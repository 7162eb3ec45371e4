"""The command line: one command a job. Torch and Streamlit are imported inside the commands that need them.

A mistake in the input ends with one sentence on stderr and exit code 2; Ctrl-C with how to go on and 130.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import typer

from mimic.cli import comparing, datasets, doctor, evaluating, filtering, looking, scoring, serving, signals, training
from mimic.errors import MimicError
from mimic.workspace.events import log_as_asked

_LONGEST = 1500  # characters of a sentence: what somebody called a class may have millions
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # what terminals obey

# In the order of --help.
COMMANDS: dict[str, Callable[..., None]] = {
    "import": datasets.import_,
    "relocate": datasets.relocate,
    "score": scoring.score,
    "train": training.train,
    "runs": looking.runs,
    "show": looking.show,
    "filter": filtering.filter_,
    "compare": comparing.compare,
    "audit": filtering.audit,
    "export": filtering.export,
    "report": evaluating.report,
    "app": serving.app,
    "demo": serving.demo,
    "doctor": doctor.doctor,
}

app = typer.Typer(
    name="mimic",
    help="Score every sample of an image training set by how far it moves a model towards a pretrained reference.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
app.add_typer(signals.signal, name="signal")
app.add_typer(evaluating.evaluate, name="evaluate")


def main() -> None:
    """Run the command line."""
    try:
        log_as_asked()
    except OSError as error:
        print(f"mimic: MIMIC_LOG names no file that can be written ({error.strerror})", file=sys.stderr)
        sys.exit(2)
    warnings.filterwarnings("ignore", module="PIL")  # of a stranger's image: its reason is counted where it has one
    sys.path.append(str(Path.cwd()))  # a module:… spec may name a file that lies here, as for `python -m`
    try:
        app()
    except MimicError as error:
        print(f"mimic: {_sentence(str(error))}", file=sys.stderr)
        sys.exit(2)


def _sentence(words: str) -> str:
    """An error in one line that no terminal takes for orders, whatever somebody has called a file or a class."""
    cut = words if len(words) <= _LONGEST else f"{words[: _LONGEST // 2]} … {words[-_LONGEST // 2 :]}"
    return _NO_TEXT.sub("\ufffd", cut)
