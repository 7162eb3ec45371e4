"""Commands about data sets: bring one in, follow its images when they move."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from mimic.cli.terminal import WorkspaceOption, console
from mimic.data import counted
from mimic.errors import MimicError
from mimic.storage import location
from mimic.workspace.layout import DEFAULT, Dataset, Workspace


def import_(
    path: Annotated[
        str,
        typer.Argument(
            help="A path, or s3://, gs:// or hf://: class folders, a manifest (.csv, .tsv, .jsonl, .parquet), "
            "shards (.tar), a folder of save_to_disk, COCO's captions (.json), metadata, torchvision:NAME."
        ),
    ],
    dataset: Annotated[str | None, typer.Option(help="What to call the data set; by default as its source is.")] = None,
    root: Annotated[str | None, typer.Option(help="What the images' paths are relative to: a path or a URL.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Class names in the order of the model's outputs: 'cat,dog', or a file with one a line."),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(help="Make labels wrong, with the truth kept apart: symmetric:RATE or asymmetric:RATE."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    download: Annotated[
        bool, typer.Option("--download", help="Let torchvision fetch a set that is not at --root.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Import images with labels or captions: folders, a manifest, shards, Hugging Face's data sets, COCO's captions.

    A manifest has the columns path, and label or caption; optional are id, truth (or fault), split and any others.
    """
    from mimic.runs.importing import import_dataset
    from mimic.runs.metadata import import_metadata
    from mimic.sources.datacomp import is_metadata
    from mimic.sources.noise import Noise

    source, name = location(path), dataset or _name_of(path)
    if isinstance(source, Path) and is_metadata(source):
        made, run = import_metadata(Workspace(workspace), source, name)
        _say(made)
        console().print(f"run {run.id}: {', '.join(run.signals)}, {run.counts['not_scored']:,} without a number")
        return
    spoil = None if noise is None else Noise.parse(noise, seed)
    below = location(root) if root else None
    made, listing = import_dataset(Workspace(workspace), source, name, below, _names(classes), spoil, download)
    out = console()
    _say(made)
    if dataset is None:
        command = f"mimic score {made.name}{made.workspace.option} …"
        out.print(f"named after its source; --dataset gives another name. Score it: {command}")
    for what, (count, example) in listing.found.counts.items():
        out.print(f"found {what}: {count:,}, e.g. {example}")


def _say(made: Dataset) -> None:
    splits = ", ".join(f"{name} {count:,}" for name, count in made.splits.items())
    console().print(
        f"data set {made.name}: {counted(made.size, 'sample')}, "
        + ("with captions" if made.task == "captions" else counted(len(made.classes), "class"))
        + (f", splits {splits}" if splits else "")
        + (", truth known" if made.has_truth else "")
        + ("" if made.has_images else ", no images")
    )
    if made.has_images:
        console().print("images are opened when they are scored: what cannot be read is counted then, with its reason")


def relocate(
    dataset: Annotated[str, typer.Argument(help="The data set's name.")],
    root: Annotated[str, typer.Option(help="Where its images lie now: a path or a URL.")],
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Say where a data set's images lie now."""
    from mimic.workspace import datasets

    moved = datasets.relocate(Workspace(workspace).dataset(dataset), location(root))
    console().print(f"data set {moved.name}: images are read from {moved.root}")


def _name_of(path: str) -> str:
    """The source's own name, as far as a data set may be called so."""
    stem = location(path).resolve().name.removeprefix("torchvision:")
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
