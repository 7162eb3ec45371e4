"""The command line: one command a job. Torch and Streamlit are imported inside the commands that need them.

A mistake in the input ends with one sentence on stderr and exit code 2; Ctrl-C with how to go on and 130.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from mimic.errors import MimicError
from mimic.scores import DEFAULT_SIGNALS, SIGNALS
from mimic.workspace.layout import DEFAULT, Run, Workspace

app = typer.Typer(
    name="mimic",
    help="Score every sample of an image training set by how far it moves a model towards a pretrained reference.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)

SPECS = "timm:NAME, torchvision:NAME, open_clip:NAME, hf:FOLDER, small:NAME or module:package.module:factory"
SCOPES = "last (default), last-weight, last:K, full, re:PATTERN"

WorkspaceOption = Annotated[Path, typer.Option("--workspace", help="The folder that holds data sets and runs.")]


def main() -> None:
    """Run the command line."""
    try:
        app()
    except MimicError as error:
        print(f"mimic: {error}", file=sys.stderr)
        sys.exit(2)


def _console(stderr: bool = False) -> Console:
    """Plain text: what people call their files and classes is never markup."""
    console = Console(stderr=stderr, markup=False, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 200  # nobody's window: nothing need be cut
    return console


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="A class-folder tree, or a manifest: .csv, .jsonl or .parquet.")],
    dataset: Annotated[str, typer.Option(help="What to call the data set.")],
    root: Annotated[Path | None, typer.Option(help="What the images' paths are relative to.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Class names in the order of the model's outputs: 'cat,dog', or a file with one a line."),
    ] = None,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Import a class-folder tree or a manifest (columns path and label; optional id, truth, split and any others)."""
    from mimic.runs.importing import import_dataset

    made, listing = import_dataset(Workspace(workspace), path, dataset, root, _names(classes))
    splits = ", ".join(f"{name} {count:,}" for name, count in made.splits.items())
    console = _console()
    console.print(
        f"data set {made.name}: {made.size:,} samples, {len(made.classes):,} classes"
        + (f", splits {splits}" if splits else "")
        + (", truth known" if made.has_truth else "")
    )
    if listing.skipped:
        console.print(f"left out {len(listing.skipped):,} files that are no images by name, e.g. {listing.skipped[0]}")


@app.command()
def relocate(
    dataset: Annotated[str, typer.Argument(help="The data set's name.")],
    root: Annotated[Path, typer.Option(help="Where its images lie now.")],
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Say where a data set's images lie now."""
    from mimic.workspace import datasets

    moved = datasets.relocate(Workspace(workspace).dataset(dataset), root)
    _console().print(f"data set {moved.name}: images are read from {moved.root}")


@app.command()
def score(
    dataset: Annotated[str, typer.Argument(help="The data set's name.")],
    model: Annotated[str, typer.Option(help=f"Model spec: {SPECS}.")],
    reference: Annotated[
        str, typer.Option(help="The pretrained reference: a checkpoint (.safetensors, .pt), or a model spec.")
    ],
    start: Annotated[
        str | None, typer.Option(help="Checkpoint of the model being trained; by default the model as built.")
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"Parameters of the direction: {SCOPES}. May be repeated."),
    ] = None,
    signals: Annotated[str, typer.Option(help=f"Some of {','.join(SIGNALS)}.")] = ",".join(DEFAULT_SIGNALS),
    method: Annotated[str, typer.Option(help="How the derivative is taken: auto, closed, jvp, difference.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Samples a forward pass.")] = 128,
    limit: Annotated[
        int | None, typer.Option(min=2, help="Score at most so many samples, spread evenly over the data set.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="The split to score; by default train where there is one; all: everything.")
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(help="If the reference's classifier has another number of outputs: map (by class name) or reset."),
    ] = None,
    preprocess: Annotated[
        Path | None, typer.Option(help="JSON file with size, mean, std, …, instead of the model's own preprocessing.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads that decode; by default one a core.")] = None,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Score a data set. The same command again resumes an interrupted run, and finds a finished one."""
    from mimic.runs.config import ScoreConfig

    config = ScoreConfig.checked(
        dataset=dataset,
        model=model,
        reference=_absolute(reference),
        start=_absolute(start) if start else None,
        scopes=tuple(scope or ["last"]),
        signals=tuple(name.strip() for name in signals.split(",") if name.strip()),
        method=method,
        batch_size=batch_size,
        limit=limit,
        split=split,
        head=head,
        preprocess=_json(preprocess) if preprocess else None,
    )
    _summary(_scored(Workspace(workspace), config, device, threads))


@app.command()
def runs(workspace: WorkspaceOption = DEFAULT) -> None:
    """List the runs of a workspace, the newest first."""
    place = Workspace(workspace)
    found = place.runs()
    if not found:
        raise MimicError(f"the workspace {workspace} has no runs yet: `mimic score` makes one")
    table = Table("run", "data set", "state", "scored", "not scored", "reference", "begun", box=None)
    for run in found:
        counts = run.counts
        scored = f"{counts['scored']:,}" if counts else f"{run.done:,} of {run.size:,}"
        verdict = run.check["verdict"] if run.check else ""
        failed = f"{counts['not_scored']:,}" if counts else ""
        table.add_row(run.id, run.dataset, run.state, scored, failed, verdict, run.facts["created"])
    _console().print(table)


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="The run's id, as `mimic runs` lists it.")],
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Show a run: settings, state, counts, what could not be scored, and whether its reference is fit."""
    from mimic.workspace.queries.connection import Published
    from mimic.workspace.queries.summary import failure_reasons, failures, signal_summary

    place = Workspace(workspace)
    shown = place.run(run)
    console = _console()
    _settings(console, shown)
    if shown.state != "published":
        console.print(f"done        {shown.done:,} of {shown.size:,}")
        if shown.error:
            console.print(f"error       {shown.error}")
        return
    published = Published.of(shown, place.dataset(shown.dataset))
    _summary(shown)
    _frame(console, signal_summary(published))
    if published.not_scored:
        console.print(f"\nnot scored: {published.not_scored:,}")
        _frame(console, failure_reasons(published))
        _frame(console, failures(published, limit=10))


@app.command("app")
def app_(
    workspace: Annotated[Path, typer.Argument(help="The folder that holds data sets and runs.")] = DEFAULT,
    port: Annotated[int, typer.Option(help="Where to serve; the next free one if it is taken.")] = 8501,
) -> None:
    """Open the app on a workspace, for this machine only."""
    _serve(Workspace(workspace), port)


@app.command()
def demo(
    no_app: Annotated[bool, typer.Option("--no-app", help="Stop before serving the app.")] = False,
    port: Annotated[int, typer.Option(help="Where to serve; the next free one if it is taken.")] = 8501,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Import and score the sample data of a clone, say how well each signal finds its faults, and open the app."""
    from mimic.runs import demo as demonstration

    place = Workspace(workspace)
    dataset = demonstration.import_sample(place)
    run = _scored(place, demonstration.config(), "auto", None)
    console = _console()
    _summary(run)
    console.print(
        f"\nHow well each signal finds the {demonstration.faults(run, dataset):,} wrong labels (hidden from it):"
    )
    _frame(console, demonstration.detection(run, dataset))
    console.print(f"\nworkspace   {place.path.expanduser().resolve()}")
    if not no_app:
        _serve(place, port)


def _scored(workspace: Workspace, config: Any, device: str, threads: int | None) -> Run:
    """The published run of a configuration, with progress on stderr."""
    from mimic.runs import manager
    from mimic.runs.terminal import ProgressDisplay

    try:
        with ProgressDisplay(_console(stderr=True)) as display:
            return manager.score(workspace, config, device, threads, on_progress=display)
    except KeyboardInterrupt:
        again = shlex.join(["mimic", *sys.argv[1:]])
        print(f"stopped; what is done is kept, and the same command goes on from there: {again}", file=sys.stderr)
        raise typer.Exit(130) from None


def _serve(workspace: Workspace, port: int) -> None:
    from mimic.runs import launch

    if not workspace.path.is_dir():
        raise MimicError(f"there is no workspace {workspace.path}: `mimic import` and `mimic score` make one")
    free = launch.free_port(port)
    if free != port:
        _console().print(f"port {port} is taken")
    _console().print(f"the app is at http://{launch.HOST}:{free} (Ctrl-C stops it)")
    launch.serve(workspace, free)


def _settings(console: Console, run: Run) -> None:
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
        "scope": direction and f"{facts['scope']}, ‖v‖ = {direction['norm']:.4g}",
        "method": facts.get("method") and f"{facts['method']} ({facts['method_reason']})",
        "batch size": facts.get("batch_size"),
        "device": facts.get("device"),
        "begun": facts["created"],
        "note": facts.get("path_note"),
    }
    for name, value in rows.items():
        if value:
            console.print(f"{name:<11} {value}")


def _summary(run: Run) -> None:
    """How a run ended and whether its reference is fit."""
    from mimic.runs.terminal import duration

    console, counts, check = _console(), run.counts, run.check
    took = f", in {duration(run.facts['seconds'])}" if "seconds" in run.facts else ""
    console.print(f"published   {run.id}: {counts['scored']:,} scored, {counts['not_scored']:,} not scored{took}")
    if check is None:
        return
    console.print(f"reference   {check['verdict']}. {check['sentence']}")
    console.print(
        f"            mean score {check['mean']:.4g} ({check['mean_low']:.4g} to {check['mean_high']:.4g}), "
        f"{check['positive_share']:.1%} positive, ‖v‖ {check['norm']:.4g}"
        + ("" if check["cosine"] is None else f", cosine of −ḡ and v {check['cosine']:.3f}")
        + f" (on {check['gradient_samples']:,} samples)"
    )
    console.print(
        f"            given labels agree with the reference {check['reference_agreement']:.1%}, with the start "
        f"{check['start_agreement']:.1%}, with always {check['majority_class']!r} {check['majority_agreement']:.1%}"
    )


def _frame(console: Console, frame: Any) -> None:
    """A data frame as a plain table."""
    table = Table(*map(str, frame.columns), box=None)
    for row in frame.itertuples(index=False):
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)


def _names(classes: str | None) -> list[str] | None:
    if classes is None:
        return None
    text = Path(classes).read_text(encoding="utf-8").splitlines() if Path(classes).is_file() else classes.split(",")
    names = [name.strip() for name in text if name.strip()]
    if not names or len(set(names)) < len(names):
        raise MimicError("--classes needs different names, as 'cat,dog' or in a file with one a line")
    return names


def _absolute(source: str) -> str:
    """A path that works from anywhere; a model's spec stays as it is."""
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() else source


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MimicError(f"{path} cannot be read as JSON ({error}): it needs size, mean and std") from None
    if not isinstance(value, dict):
        raise MimicError(f"{path} holds no JSON object: it needs size, mean and std")
    return value


if __name__ == "__main__":
    main()
