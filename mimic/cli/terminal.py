"""What commands share: the workspace's option, and how tables, runs and their checks look as plain text."""

from __future__ import annotations

import math
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from mimic.errors import MimicError
from mimic.workspace.layout import ENVIRONMENT, Run, Workspace

if TYPE_CHECKING:
    from mimic.runs.terminal import ProgressDisplay

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", envvar=ENVIRONMENT, help="The folder that holds data sets and runs.")
]


def console(stderr: bool = False) -> Console:
    """Plain text: what people call their files and classes is never markup."""
    made = Console(stderr=stderr, markup=False, highlight=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = 1000  # nobody's window: nothing need be cut
    return made


def speaks() -> bool:
    """Whether this process talks to the user; of several that torchrun has started, the first one does."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def stopping() -> Iterator[None]:
    """Ctrl-C, or whoever ends the process, is told how to go on; the exit code is 130."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        together = os.environ.get("WORLD_SIZE", "1")
        started = ["mimic"] if together == "1" else ["torchrun", "--nproc-per-node", together, "-m", "--", "mimic.cli"]
        again = shlex.join([*started, *sys.argv[1:]])
        if speaks():
            print(f"stopped; what is done is kept, and the same command goes on from there: {again}", file=sys.stderr)
        raise typer.Exit(130) from None


def print_settings(run: Run) -> None:
    """What was asked for and what was found to do it with; a run of another kind has some of these only."""
    facts = run.facts
    direction, model = facts.get("direction"), facts.get("model")
    rows = {
        "run": run.id,
        "state": run.state,
        "data set": f"{run.dataset}, split {facts['split']}" if facts.get("split") else run.dataset,
        "model": model and f"{model['spec']}, {model['parameters']:,} parameters",
        "reference": facts["reference"]["name"] if facts.get("reference") else None,
        "start": facts["start"]["name"] if facts.get("start") else "the model as built",
        "scope": direction and f"{facts['scope']}, ‖v‖ = {direction['norm']:.4g}{_further_scopes(run)}",
        "method": facts.get("method") and f"{facts['method']} ({facts['method_reason']})",
        "compiled": facts.get("compiled"),
        "batch size": facts.get("batch_size"),
        "device": facts.get("device"),
        "begun": facts["created"],
        "note": facts.get("path_note"),
    }
    for name, value in rows.items():
        if value:
            console().print(f"{name:<11} {value}")


def _further_scopes(run: Run) -> str:
    """Beside the first scope, which the main signal and the reference check are of, the others."""
    others = run.facts.get("config", {}).get("scopes", [])[1:]
    return f"; also {', '.join(others)}" if others else ""


def print_summary(run: Run) -> None:
    """How a run ended and whether its reference is fit."""
    from mimic.runs.terminal import duration

    out, counts, check = console(), run.counts, run.check
    took = f", in {duration(run.facts['seconds'])} of work" if "seconds" in run.facts else ""
    out.print(f"published   {run.id}: {counts['scored']:,} scored, {counts['not_scored']:,} not scored{took}")
    if check is None:
        return
    of = f" of scope {run.facts['scope']}" if _further_scopes(run) else ""
    out.print(f"reference   {check['verdict']}, by {check['samples']:,} samples. {check['sentence']}")
    out.print(
        f"            mean score{of} {check['mean']:.4g} ({check['mean_low']:.4g} to {check['mean_high']:.4g}), "
        f"{check['positive_share']:.1%} positive, ‖v‖ {check['norm']:.4g}"
        + ("" if check["cosine"] is None else f", cosine of −ḡ and v {check['cosine']:.3f}")
        + f" (on {check['gradient_samples']:,} samples)"
    )
    given, majority = ("captions", "") if check["majority_class"] is None else ("labels", _majority(check))
    out.print(
        f"            given {given} agree with the reference {check['reference_agreement']:.1%}, with the start "
        f"{check['start_agreement']:.1%}{majority}"
    )
    if "reliability" in run.facts.get("draws", {}):
        draws = run.facts["draws"]
        out.print(
            f"draws       {draws['count']} of batches (seed {draws['seed']}): scores of two draws correlate "
            f"{draws['correlation']:.3f}, their mean's reliability is {draws['reliability']:.3f}"
        )


def _majority(check: dict[str, Any]) -> str:
    return f", with always {check['majority_class']!r} {check['majority_agreement']:.1%}"


def app_command(place: Workspace) -> str:
    """The command that opens the app on a workspace."""
    return "mimic app" + (f" {shlex.quote(str(place.path))}" if place.option else "")


def run_or_newest(place: Workspace, name: str) -> Run:
    """The run of that id; a data set's name means its newest published run of `mimic score`, and which is said.

    Raises:
        MimicError: there is neither.
    """
    if name in {run.id for run in place.runs()} or name not in {dataset.name for dataset in place.datasets()}:
        return place.run(name)
    for run in place.runs(name):
        if run.state == "published" and run.facts.get("kind") == "score":
            console(stderr=True).print(f"run {run.id}: the newest that scores data set {name}")
            return run
    raise MimicError(
        f"{name!r} is a data set that no published run has scored: `mimic score {name}{place.option} …` makes one"
    )


def print_ready(run: Run, display: ProgressDisplay, began: float) -> None:
    """How long the user has waited for a run, which is more than its work; or that it was there already.

    Args:
        began: when, by the monotonic clock.
    """
    from mimic.runs.terminal import duration

    said = "was there already: nothing was computed again"
    if not display.silent:
        said = f"was ready after {duration(time.monotonic() - began)}, with preparing, checking and publishing"
    console(stderr=True).print(f"run {run.id} {said}")


def with_runs(place: Workspace, names: Sequence[str]) -> list[str]:
    """Names of runs, RUN:SIGNAL and named filters; in the place of RUN a data set's name stands for its newest run.

    Raises:
        MimicError: as `run_or_newest`.
    """
    others = {run.id for run in place.runs()} | {path.stem for path in place.filters()}
    newest = {dataset.name: "" for dataset in place.datasets() if dataset.name not in others}
    found = []
    for name in names:
        run, colon, signal = name.partition(":")
        if run in newest:
            newest[run] = newest[run] or run_or_newest(place, run).id
            run = newest[run]
        found.append(run + colon + signal)
    return found


def print_cautions(sentences: Iterable[str]) -> None:
    """What to bear in mind of an answer, beside it."""
    for sentence in sentences:
        console(stderr=True).print(f"caution     {sentence}")


def print_frame(frame: Any) -> None:
    """A data frame as a plain table; a dash where a number is not known."""
    table = Table(*map(str, frame.columns), box=None)
    for row in frame.itertuples(index=False):
        table.add_row(*(_cell(cell) for cell in row))
    console().print(table)


def _cell(cell: Any) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return "–" if math.isnan(cell) else f"{cell:.4g}"
