"""Commands that look at what is there: runs, and one of them."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.table import Table

from mimic.cli.terminal import WorkspaceOption, console, print_frame, print_settings, print_summary, run_or_newest
from mimic.cli.training import print_training
from mimic.data import counted
from mimic.errors import MimicError
from mimic.workspace.events import events
from mimic.workspace.layout import DEFAULT, Workspace


def runs(
    dataset: Annotated[str | None, typer.Argument(help="A data set: only its runs.")] = None,
    workspace: WorkspaceOption = DEFAULT,
    delete: Annotated[str | None, typer.Option(help="Remove this run, after asking.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="With --delete: do not ask.")] = False,
) -> None:
    """List the runs of a workspace, or of one of its data sets, the newest first; or delete one."""
    from mimic.workspace.queries.progress import progress

    place = Workspace(workspace)
    if delete is not None:
        _delete(place, delete, yes)
        return
    found = place.runs(dataset and place.dataset(dataset).name)
    if not found:
        which = f"data set {dataset!r}" if dataset else f"the workspace {workspace}"
        scores = f"mimic score {dataset or 'DATASET'}{place.option} …"
        raise MimicError(f"{which} has no runs yet: `{scores}` makes one")
    titles = (
        "data set",
        "state",
        "scored",
        "not scored",
        "scopes",
        "start",
        "reference",
        "reference check",
        "begun",
    )
    table = Table(box=None)
    table.add_column("run", min_width=max(len(run.id) for run in found))  # other commands ask for it: never cut
    for title in titles:
        table.add_column(title, overflow="fold")
    for run in found:
        counts, told = run.counts, progress(run)
        scored = f"{counts['scored']:,}" if counts else f"{told.done:,} of {told.size:,}"
        verdict = run.check["verdict"] if run.check else ""
        failed = f"{counts['not_scored']:,}" if counts else ""
        config = run.facts.get("config", {})
        scopes = "+".join(config.get("scopes", [])) or config.get("scope", "")
        start = (run.facts.get("start") or {"name": ""})["name"]
        weights = run.facts.get("reference") or {"name": "", "sha256": ""}
        reference = f"{weights['name']} {weights['sha256'][:6]}".strip()  # two files may have one name
        begun = run.facts["created"]
        table.add_row(run.id, run.dataset, run.state, scored, failed, scopes, start, reference, verdict, begun)
    console().print(table)


def _delete(place: Workspace, name: str, sure: bool) -> None:
    from mimic.workspace.removal import needed_by, remove_run

    run = place.run(name)
    needs = needed_by(place, run)
    words = f"run {run.id} ({run.state}, {counted(run.size, 'sample')} of {run.dataset})"
    without = f"; without it these no longer work: {', '.join(needs)}" if needs else ""
    if not sure:
        if not sys.stdin.isatty():
            raise MimicError(f"deleting {words} cannot be undone{without}: add --yes to do it")
        typer.confirm(f"delete {words}? It cannot be undone{without}", abort=True)
    remove_run(run)
    console().print(f"deleted {words}{without}")


def show(
    run: Annotated[
        str, typer.Argument(help="The run's id, as `mimic runs` lists it; a data set's name: its newest scored run.")
    ],
    with_events: Annotated[
        bool,
        typer.Option("--events", help="What happened to it instead: begun, resumed, each shard, failed, published."),
    ] = False,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Show a run: settings, state, counts, what could not be scored, and whether its reference is fit."""
    from mimic.workspace.queries.connection import Published
    from mimic.workspace.queries.progress import progress
    from mimic.workspace.queries.summary import failure_reasons, failures, signal_summary

    place = Workspace(workspace)
    shown = run_or_newest(place, run)
    out = console()
    if with_events:
        for event in events(shown, last=1000):
            facts = {name: value for name, value in event.items() if name not in ("at", "event")}
            out.print(f"{event['at']}  {event['event']:<10} {json.dumps(facts, ensure_ascii=False)}")
        return
    print_settings(shown)
    if shown.state != "published":
        told = progress(shown)
        out.print(f"done        {told.done:,} of {told.size:,}" + (f" · {told.note}" if told.note else ""))
        if shown.error:
            out.print(f"error       {shown.error}")
        return
    published = Published.of(shown, place.dataset(shown.dataset))
    print_summary(shown)
    if shown.facts.get("kind") == "train":
        print_training(shown)
    print_frame(signal_summary(published))
    if published.not_scored:
        out.print(f"\nnot scored: {published.not_scored:,}")
        print_frame(failure_reasons(published))
        print_frame(failures(published, limit=10))
