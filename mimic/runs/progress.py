"""How far a run is, as its manager tells whoever wants to know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        run: its id.
        done, total: samples.
        resumed: how many of the done ones an earlier attempt had finished.
        unreadable: images of this attempt that could not be read.
    """

    run: str
    done: int
    total: int
    resumed: int
    unreadable: int
