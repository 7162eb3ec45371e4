"""A figure as data: curves with their intervals between two axes. The app draws it itself, the report by Plotly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Dash = Literal["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"]
Mark = Literal["", "circle", "ring", "cross", "diamond"]
DASHES: tuple[Dash, ...] = get_args(Dash)


@dataclass(frozen=True)
class Curve:
    """Points in a row, all sequences as long as there are points; NaN where a point is missing.

    Attributes:
        name: in the legend, and before what pointing says; in neither where empty.
        colour: ``#RRGGBB``.
        x, y: places on the axes.
        said: what pointing at each says; nothing where empty.
        low, high: an interval around each, in `y`, or in `x` where it lies `across`; none where empty.
        band: whether the intervals are an area, else a bar a point.
        bar: width of such a bar in pixels.
        line: how points are joined; None: not at all.
        width: of the line in pixels.
        mark: at each point.
    """

    name: str
    colour: str
    x: Sequence[float]
    y: Sequence[float]
    said: Sequence[str] = ()
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    band: bool = False
    across: bool = False
    bar: float = 1.5
    line: Dash | None = "solid"
    width: float = 2
    mark: Mark = ""


@dataclass(frozen=True)
class Axis:
    """From where to where, and what it says; `ticks` are (place, words), round numbers where None.

    One that would have no length gets some, around its only place.
    """

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...] | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            for end, at in zip(("low", "high"), span([self.low]), strict=True):
                object.__setattr__(self, end, at)


@dataclass(frozen=True)
class Line:
    """A dotted line through the whole figure: upright at an x, with words beside it, or `across` at a y."""

    at: float
    words: str = ""
    across: bool = False


@dataclass(frozen=True)
class Drawing:
    """A figure of that height in pixels; earlier curves, as the legend lists them, lie over later ones."""

    curves: tuple[Curve, ...]
    x: Axis
    y: Axis
    height: int
    lines: tuple[Line, ...] = ()


def span(values: Iterable[float], *, zero: bool = False) -> tuple[float, float]:
    """Ends of an axis on which all of the values stand clear of its ends; `zero`: that begins or ends at 0."""
    known = [float(value) for value in values if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return (low if zero and low == 0 else low - room, high if zero and high == 0 > low else high + room)
