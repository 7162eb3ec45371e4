"""What a person may choose about an export, besides the filter and the format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from mimic.errors import MimicError

Images = Literal["symlink", "hardlink", "copy"]


@dataclass(frozen=True)
class Options:
    """Choices that some of the formats know.

    Attributes:
        images: how image files get into a folder: links cost no space, a copy stays when the original moves.
        shard_size: samples a WebDataset shard.
        column: the further column with the caption (open_clip, webdataset) or the uid (datacomp); by default the first
            one there is of the names that the format looks for.

    Raises:
        MimicError: a value that none of them knows.
    """

    images: Images = "symlink"
    shard_size: int = 10_000
    column: str | None = None

    def __post_init__(self) -> None:
        if self.images not in get_args(Images):
            raise MimicError(f"images can leave as {', '.join(get_args(Images))}, not as {self.images!r}")
        if self.shard_size < 1:
            raise MimicError(f"a shard holds at least 1 sample, not {self.shard_size}")
