"""Commands about data sets: bring one in, follow its images when they move."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from mimic.cli.terminal import WorkspaceOption, console
from mimic.errors import MimicError
from mimic.workspace.layout import DEFAULT, Workspace


def import_(
    path: Annotated[Path, typer.Argument(help="A class-folder tree, or a manifest: .csv, .jsonl or .parquet.")],
    dataset: Annotated[str | None, typer.Option(help="What to call the data set; by default as its source is.")] = None,
    root: Annotated[Path | None, typer.Option(help="What the images' paths are relative to.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Class names in the order of the model's outputs: 'cat,dog', or a file with one a line."),
    ] = None,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Import a class-folder tree or a manifest (columns path and label; optional id, truth, split and any others)."""
    from mimic.runs.importing import import_dataset

    name = dataset or _name_of(path)
    made, listing = import_dataset(Workspace(workspace), path, name, root, _names(classes))
    splits = ", ".join(f"{name} {count:,}" for name, count in made.splits.items())
    out = console()
    out.print(
        f"data set {made.name}: {made.size:,} samples, "
        + ("with captions" if made.task == "captions" else f"{len(made.classes):,} classes")
        + (f", splits {splits}" if splits else "")
        + (", truth known" if made.has_truth else "")
    )
    if dataset is None:
        out.print(f"named after its source; --dataset gives another name. Score it: mimic score {made.name} …")
    for what, (count, example) in listing.found.counts.items():
        out.print(f"found {count:,} {what}, e.g. {example}")


def relocate(
    dataset: Annotated[str, typer.Argument(help="The data set's name.")],
    root: Annotated[Path, typer.Option(help="Where its images lie now.")],
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Say where a data set's images lie now."""
    from mimic.workspace import datasets

    moved = datasets.relocate(Workspace(workspace).dataset(dataset), root)
    console().print(f"data set {moved.name}: images are read from {moved.root}")


def _name_of(path: Path) -> str:
    """The source's own name, as far as a data set may be called so."""
    stem = path.resolve().name
    for suffix in (".csv", ".jsonl", ".parquet", ".tar"):
        stem = stem.removesuffix(suffix)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip(".-")[:100] or "images"


def _names(classes: str | None) -> list[str] | None:
    if classes is None:
        return None
    text = Path(classes).read_text(encoding="utf-8").splitlines() if Path(classes).is_file() else classes.split(",")
    names = [name.strip() for name in text if name.strip()]
    if not names or len(set(names)) < len(names):
        raise MimicError("--classes needs different names, as 'cat,dog' or in a file with one a line")
    return names
