"""Commands that open the app: on a workspace, or on the sample data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimic.cli.scoring import ActorsOption, AddressOption, GpusOption, OnOption, scored, work
from mimic.cli.signals import added
from mimic.cli.terminal import WorkspaceOption, app_command, console, print_frame, print_summary
from mimic.errors import MimicError
from mimic.workspace.layout import DEFAULT, ENVIRONMENT, Workspace


def app(
    workspace: Annotated[
        Path, typer.Argument(envvar=ENVIRONMENT, help="The folder that holds data sets and runs.")
    ] = DEFAULT,
    port: Annotated[int, typer.Option(help="Where to serve; the next free one if it is taken.")] = 8501,
) -> None:
    """Open the app on a workspace, for this machine only."""
    _serve(Workspace(workspace), port)


def demo(
    no_app: Annotated[bool, typer.Option("--no-app", help="Stop before serving the app.")] = False,
    port: Annotated[int, typer.Option(help="Where to serve; the next free one if it is taken.")] = 8501,
    on: OnOption = "here",
    address: AddressOption = None,
    actors: ActorsOption = None,
    gpus_per_actor: GpusOption = 0.0,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Import and score the sample data of a clone, say how well each signal finds its faults, and open the app."""
    from mimic.evaluation.detection import about_zero_f1
    from mimic.runs import demo as demonstration

    place, by = Workspace(workspace), work("auto", None, 1, on, address, actors, gpus_per_actor)
    dataset = demonstration.import_sample(place)
    run = added(place, scored(place, demonstration.config(), by), None)
    captions = demonstration.import_captions(place)
    second = added(place, scored(place, demonstration.captions_config(), by), None)
    out = console()
    for what, made, of in (("labels", run, dataset), ("captions", second, captions)):
        print_summary(made)
        wrong = demonstration.faults(made, of)
        out.print(f"\nHow well each signal finds the {wrong:,} wrong {what} of data set {of.name} (hidden from it):")
        figures = demonstration.detection(made, of)
        print_frame(figures)
        if why := about_zero_f1(figures):
            out.print(why)
        out.print()
    out.print(f"workspace   {place.path.expanduser().resolve()}")
    if no_app:
        out.print(f"next        {app_command(place)}")
    else:
        _serve(place, port)


def _serve(workspace: Workspace, port: int) -> None:
    from mimic.runs import launch

    if not workspace.path.is_dir():
        raise MimicError(f"there is no workspace {workspace.path}: `mimic import` and `mimic score` make one")
    free = launch.free_port(port)
    if free != port:
        console().print(f"port {port} is taken")
    console().print(f"the app is at http://{launch.HOST}:{free} (Ctrl-C stops it)")
    launch.serve(workspace, free)
