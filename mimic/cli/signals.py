"""Commands that add signals to what is there: computed from a scored run, or imported from somebody else's file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from mimic.cli.terminal import WorkspaceOption, console, print_ready, print_summary, run_or_newest, stopping
from mimic.data import counted
from mimic.scores import CAPTION_SIGNALS, FURTHER_SIGNALS
from mimic.workspace.layout import DEFAULT, Run, Workspace

signal = typer.Typer(help="Add signals: computed from a scored run, or imported.", no_args_is_help=True)


@signal.command("add")
def add(
    run: Annotated[str, typer.Argument(help="A published run of `mimic score`, or a data set: its newest.")],
    signals: Annotated[
        str | None,
        typer.Option(
            help=f"Some of {','.join(FURTHER_SIGNALS)}; of captions {','.join(CAPTION_SIGNALS)}, and the picture's; "
            "by default all that can be computed here."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the heads that are trained on the features.")] = 0,
    clip: Annotated[
        str | None,
        typer.Option(help="CLIP model with its weights, for clip of labels: open_clip:NAME/WEIGHTS or hf:FOLDER."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads that decode; by default one a core.")] = None,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Compute further signals of a scored run, as a run that holds both."""
    wanted = None if signals is None else [name.strip() for name in signals.split(",") if name.strip()]
    place = Workspace(workspace)
    print_summary(added(place, run_or_newest(place, run), wanted, seed, device, threads, clip))


@signal.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A .parquet, .csv or .npy file.")],
    dataset: Annotated[str, typer.Option(help="The data set's name.")],
    id: Annotated[str | None, typer.Option(help="The column with the samples' ids.")] = None,
    value: Annotated[str | None, typer.Option(help="The column with the numbers; higher is better.")] = None,
    negate: Annotated[bool, typer.Option("--negate", help="Lower is better: turn the sign round.")] = False,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Import a column that somebody else computed. Names of DataComp and LAION are known."""
    from mimic.runs.columns import import_column
    from mimic.workspace.columns import find_column

    place = Workspace(workspace)
    run, matched = import_column(place, place.dataset(dataset), find_column(file, id, value, negate))
    print_summary(run)
    say = console().print
    say(f"signal      {run.main}: {run.facts['meanings'][run.main]}")
    say(f"file        {counted(matched.rows, 'row')}, {counted(matched.matched, 'sample')} matched")
    for count, what in (
        (matched.unmatched, "ids that no sample has"),
        (matched.duplicates, "rows of an id that came before (the first counts)"),
        (matched.not_numbers, "rows without a finite number"),
    ):
        if count:
            say(f"            {what}: {count:,}")


def added(
    workspace: Workspace,
    run: Run,
    wanted: list[str] | None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    clip: str | None = None,
) -> Run:
    """The published run with further signals, with progress on stderr; says what cannot be computed here."""
    from mimic.runs.further import add_signals, possible
    from mimic.runs.terminal import ProgressDisplay

    here, missing = possible(run, clip)
    if wanted is None and missing:
        names = ", ".join(f"{name} ({package})" for name, package in missing.items())
        console().print(f'left out    {names}: pip install "mimic-score[baselines]"')
    began = time.monotonic()
    with stopping(), ProgressDisplay(console(stderr=True)) as display:
        more = add_signals(workspace, run, here if wanted is None else wanted, device, threads, seed, display, clip)
    print_ready(more, display, began)
    return more
