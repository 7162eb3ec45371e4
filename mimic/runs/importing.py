"""From a source to a data set of the workspace."""

from __future__ import annotations

from mimic.errors import MimicError
from mimic.sources.listing import Listing
from mimic.sources.noise import Noise
from mimic.sources.open import open_source
from mimic.sources.torchvision import PREFIX, read_torchvision
from mimic.storage import Location, Remote, reached
from mimic.workspace.datasets import Source, create_dataset
from mimic.workspace.layout import Dataset, Workspace, check_name


def import_dataset(
    workspace: Workspace,
    path: Location,
    name: str,
    root: Location | None = None,
    classes: list[str] | None = None,
    noise: Noise | None = None,
    download: bool = False,
) -> tuple[Dataset, Listing]:
    """Import a source. The same again gives the data set that is there.

    Args:
        path: the folder or the manifest, here or on a server, or ``torchvision:NAME``.
        name: what to call the data set.
        root: what the images' paths are relative to, if not the folder or the manifest's own; where a set of
            torchvision lies, if not in the workspace.
        classes: class names in the order of the model's outputs; by default sorted.
        noise: makes labels wrong on purpose.
        download: whether torchvision may fetch what is not there.

    Returns:
        The data set, and what was found at the path.

    Raises:
        MimicError: see `open_source` and `create_dataset`.
    """
    check_name("data set", name)
    if str(path).startswith(PREFIX):
        if classes is not None:
            raise MimicError(f"{path} has classes of its own: leave --classes out")
        if isinstance(root, Remote):
            raise MimicError(f"torchvision reads files of this machine, and {root} is none: download it first")
        kept = workspace.path / "torchvision"
        listing = read_torchvision(str(path).removeprefix(PREFIX), root or kept, kept / "images" / name, download)
    else:
        with reached(path if isinstance(path, Remote) else root):
            listing = open_source(path, root, classes, workspace.path / "images")
    if noise is not None:
        listing = noise(listing)
    source = Source(listing.kind, listing.path)
    dataset = create_dataset(
        workspace, name, listing.samples(), listing.classes, source, listing.root, listing.columns, listing.task
    )
    return dataset, listing
