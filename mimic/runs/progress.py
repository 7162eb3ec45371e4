"""How far a run is, as its manager tells whoever wants to know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        run: its id.
        done, total: of its units.
        resumed: how many of the done ones an earlier attempt had finished.
        unreadable: images of this attempt that could not be read.
        unit: what is counted.
        note: what else there is to say now, e.g. a training's loss.
    """

    run: str
    done: int
    total: int
    resumed: int
    unreadable: int
    unit: str = "samples"
    note: str = ""
