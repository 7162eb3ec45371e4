"""From a source to a data set of the workspace."""

from __future__ import annotations

from pathlib import Path

from mimic.sources.listing import Listing
from mimic.sources.open import open_source
from mimic.workspace.datasets import Source, create_dataset
from mimic.workspace.layout import Dataset, Workspace, check_name


def import_dataset(
    workspace: Workspace,
    path: Path,
    name: str,
    root: Path | None = None,
    classes: list[str] | None = None,
) -> tuple[Dataset, Listing]:
    """Import a class-folder tree or a manifest. The same again gives the data set that is there.

    Args:
        path: the folder or the manifest.
        name: what to call the data set.
        root: what the images' paths are relative to, if not the folder or the manifest's own.
        classes: class names in the order of the model's outputs; by default sorted.

    Returns:
        The data set, and what was found at the path.

    Raises:
        MimicError: see `open_source` and `create_dataset`.
    """
    check_name("data set", name)
    listing = open_source(path, root, classes)
    source = Source(listing.kind, listing.path)
    dataset = create_dataset(
        workspace, name, listing.samples(), listing.classes, source, listing.root, listing.columns, listing.task
    )
    return dataset, listing
