"""A signal's bars: looked at, cut by a line that is dragged, or brushed. They answer in the browser, the page follows.

Line and brush go from bar to bar, so that what they say on the way is exact; what the page shows when they are let go
is asked of the server.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from mimic.reports import text
from mimic.reports.palette import Palette
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.histogram import RIGHT, UNKNOWN, WRONG, Split, histogram
from mimic.workspace.queries.threshold import Line
from pages.widgets.axis import ticks, words
from pages.widgets.component import component
from pages.widgets.moves import on_move, turn

STRIPS = 24
LEVELS = 16

_COLOURS = {WRONG: "wrong", RIGHT: "right", UNKNOWN: "faint"}
_DRAWN_IN = ("kept", "dropped", "reference", "right", "wrong", "neutral", "faint", "muted", "grid")
_END = """<div class="end" data-end="{0}" role="slider" tabindex="0" hidden
      aria-label="{0}" aria-valuemin="0" aria-valuemax="0" aria-valuenow="0"></div>"""

_figure = component(
    "bars",
    f"""
<div class="figure" role="group">
  <div class="legend"></div>
  <div class="plot">
    <div class="window"></div>
    <svg class="decided" viewBox="0 0 1000 26" preserveAspectRatio="none" aria-hidden="true">
      <path data-action="keep"/><path data-action="drop"/><path data-action="relabel"/>
    </svg>
    <div class="heights">
      <div class="y" aria-hidden="true"></div>
      <svg viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">
        <clipPath id="inside"><rect y="0" height="100"/></clipPath>
        <clipPath id="outside"><rect y="0" height="100"/><rect y="0" height="100"/></clipPath>
        <path class="outside" clip-path="url(#outside)"/><g class="inside" clip-path="url(#inside)"></g>
      </svg>
      <span class="unit" aria-hidden="true">samples</span>
    </div>
    <div class="strips"></div>
    {_END.format("low")}
    {_END.format("high")}
    <span class="said"></span>
    <span class="tip"></span>
  </div>
  <div class="x" aria-hidden="true"></div>
  <div class="title" aria-hidden="true"></div>
</div>""",
)


def looked_at(bars: pd.DataFrame, colours: Palette, signal: str, *, key: str, height: int = 196) -> None:
    """Draw bars that are only looked at; hovering says their exact counts.

    Args:
        bars: as `queries.histogram.histogram` or `queries.progress.running_histogram` gives them, of one group.
        signal: the axis's title.
        height: of the highest bar, in pixels.
    """
    alt = f"Histogram of {text.plain(signal, 80)}"
    _draw(_shape(bars, bars), colours, signal, key=key, kind="looked at", alt=alt, height=height)


def lined(
    published: Published,
    signal: str,
    line: Line,
    colours: Palette,
    moved: Callable[[int], None],
    *,
    decided: pd.DataFrame,
    note: str = "",
) -> None:
    """Draw a signal's bars with a line: those below it in the dropped colour, the rest in the kept one.

    Args:
        moved: called, as a callback, with how many samples the line keeps where somebody let it go.
        decided: as `queries.decided.decided_scores` gives it: a tick for each above the bars.
        note: what is written beside the line.
    """
    shape = _remembered(published, signal, "none")

    def take(first: int, last: int) -> None:
        moved(sum(shape["counts"][first:last]))

    _draw(
        {**shape, "groups": [group | {"colour": "kept"} for group in shape["groups"]], "outside": "dropped"},
        colours,
        signal,
        key=f"line {published.run} {signal}",
        kind="line",
        alt=f"Histogram of {text.plain(signal, 80)}, with a line: dropped below, kept above",
        chosen={"low": line.score, "high": shape["right"][-1], "n": line.kept, "note": note},
        decided=decided,
        take=take,
    )


def brushed(
    published: Published,
    signal: str,
    split: Split,
    bounds: tuple[float, float],
    colours: Palette,
    brush: Callable[[float | None, float | None], None],
    *,
    decided: pd.DataFrame,
    logarithmic: bool = False,
) -> None:
    """Draw a signal's bars, across which scores are chosen by dragging; those outside are pale.

    Args:
        split: groups are stacked, wrong ones at the bottom, where their heights can be compared; ``class`` gives a
            strip to each of at most `STRIPS` classes, the lowest-scoring ones, dark where most of its scores lie.
        bounds: low ≤ score < high, infinite where open.
        brush: called, as a callback, with the ends of what was chosen, whole bars; None where open.
        decided: as `queries.decided.decided_scores` gives it: a tick for each above the bars.
        logarithmic: heights on a logarithmic scale, for signals that pile up at one end.
    """
    shape = _remembered(published, signal, split)
    bars = histogram(published, signal)

    def take(first: int, last: int) -> None:
        if first < last:
            brush(_finite(bars["low"].iloc[first]), _finite(bars["high"].iloc[last - 1]))

    _draw(
        shape,
        colours,
        signal,
        key=f"bars {published.run} {signal}",
        kind="brush",
        alt=f"Histogram of {text.plain(signal, 80)}; drag across the bars to choose scores",
        chosen={
            "low": _drawn_at(bars, "low", "left", bounds[0]),
            "high": _drawn_at(bars, "high", "right", bounds[1]),
            "said": text.interval(*bounds),
        },
        decided=decided,
        take=take,
        logarithmic=logarithmic,
    )


def _draw(
    shape: dict[str, Any],
    colours: Palette,
    signal: str,
    *,
    key: str,
    kind: str,
    alt: str,
    height: int = 196,
    chosen: dict[str, Any] | None = None,
    decided: pd.DataFrame | None = None,
    take: Callable[[int, int], None] | None = None,
    logarithmic: bool = False,
) -> None:
    """Hand everything to the browser; `take` is called with the first of the chosen bars and the one after the last."""
    every = len(shape["counts"])

    def taken(told: dict[str, Any]) -> None:
        match told:
            case {"first": int(first), "last": int(last)} if take and 0 <= first <= last <= every:
                take(first, last)

    marks = [] if decided is None else zip(decided["action"], decided["score"].astype(float), strict=True)
    data = {
        "bars": shape,
        "kind": kind,
        "chosen": chosen,
        "turn": turn(key),
        "decided": list(marks),
        "logarithmic": logarithmic,
        "signal": text.plain(signal, 80),
        "alt": alt,
        "height": height,
        "colours": {name: getattr(colours, name) for name in _DRAWN_IN},
        "ramp": _levels(colours.ramp),
    }
    _figure(key=key, data=data, on_chosen_change=on_move(key, "chosen", taken))


@lru_cache(maxsize=64)
def _remembered(published: Published, signal: str, split: Split) -> dict[str, Any]:
    """`_shape` of a published signal. Do not write into it."""
    every = histogram(published, signal)
    parts = every if split == "none" else histogram(published, signal, split)
    return _shape(every, parts, strips=split == "class")


def _shape(every: pd.DataFrame, parts: pd.DataFrame, *, strips: bool = False) -> dict[str, Any]:
    """What is drawn of a signal, ready to travel: upwards, all in lists as long as there are bars.

    Args:
        every: a row a bar, all samples together.
        parts: the same bars by group.
        strips: whether groups are strips below the bars rather than stacked in them.

    Returns:
        left, right: edges as drawn; lows, highs: the scores' own edges in words, empty where open; counts; groups and
        strips: name and counts of each, a group with its colour's name; ticks: marks of the scores, with their words;
        rounds: those of linear heights.
    """
    table = parts.pivot(index="group", columns="bar", values="n").reindex(columns=every["bar"]).fillna(0).astype(int)
    names = sorted(table.index, key=lambda name: list(_COLOURS).index(name) if name in _COLOURS else len(_COLOURS))
    if strips:
        centres = (table * np.arange(len(every))).sum(axis=1) / table.sum(axis=1)
        names = list(centres.sort_values(kind="stable").index[:STRIPS])
    groups = [
        {"name": text.plain(name, 80), "colour": _COLOURS.get(name, "neutral"), "counts": table.loc[name].tolist()}
        for name in names
    ]
    counts = every["n"].tolist()
    together = [{"name": "all", "colour": "neutral", "counts": counts}]
    stacked = together if strips or not groups else groups
    highest = max((sum(ns) for ns in zip(*(group["counts"] for group in stacked), strict=True)), default=0)
    return {
        "left": every["left"].tolist(),
        "right": every["right"].tolist(),
        "lows": ["" if math.isinf(end) else text.score(end) for end in every["low"]],
        "highs": ["" if math.isinf(end) else text.score(end) for end in every["high"]],
        "counts": counts,
        "groups": stacked,
        "strips": groups if strips else [],
        "outside": "faint",
        "ticks": [(at, words(at)) for at in ticks(every["left"].iloc[0], every["right"].iloc[-1], 9)] if counts else [],
        "rounds": ticks(0, highest, 5) if highest else [],
    }


@lru_cache
def _levels(ramp: tuple[str, ...]) -> list[str]:
    """`LEVELS` colours from a ramp's first to its last."""
    steps = np.array([[int(colour[place : place + 2], 16) for place in (1, 3, 5)] for colour in ramp])
    at = np.linspace(0, len(ramp) - 1, LEVELS)
    levels = np.stack([np.interp(at, np.arange(len(ramp)), channel) for channel in steps.T], axis=1)
    return ["#{:02X}{:02X}{:02X}".format(*level) for level in levels.round().astype(int).tolist()]


def _finite(end: float) -> float | None:
    return None if math.isinf(end) else float(end)


def _drawn_at(bars: pd.DataFrame, own: str, drawn: str, end: float) -> float | None:
    """Where an end of a brush is drawn: with its bar, whose own edge may lie a little inside of where it is drawn."""
    place = np.flatnonzero(bars[own].to_numpy() == end)
    return float(bars[drawn].iloc[place[0]]) if place.size else _finite(end)
