"""What figures have in common: titled axes, a transparent ground, lines across, a legend, a scale of colours."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from mimic.reports import text
from mimic.reports.palette import Palette


def layout(colours: Palette, x: str, y: str, height: int) -> dict[str, Any]:
    """What every figure has: titled axes, a transparent ground, a height in pixels. To be added to."""
    return {
        "xaxis": _axis(colours, x),
        "yaxis": _axis(colours, y),
        "height": height,
        "margin": {"l": 8, "r": 14, "t": 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": False,
        "hoverlabel": {"namelength": -1},
        "separators": ".,",
    }


def style_axes(figure: go.Figure, colours: Palette, x: str, y: str, height: int) -> None:
    """`layout` for a figure that is there already, all of its axes alike."""
    drawn = layout(colours, x, y, height)
    figure.update_xaxes(drawn.pop("xaxis"))
    figure.update_yaxes(drawn.pop("yaxis"))
    figure.update_layout(drawn)


def legend(colours: Palette) -> dict[str, Any]:
    """Part of a layout: the legend in a line above the figure."""
    place = {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"color": colours.muted}}
    return {"showlegend": True, "legend": place}


def vertical(x: float, colours: Palette) -> dict[str, Any]:
    """Part of a layout: a dotted line from the figure's foot to its head."""
    style = {"color": colours.text, "width": 2, "dash": "dot"}
    return {"type": "line", "x0": x, "x1": x, "xref": "x", "y0": 0, "y1": 1, "yref": "y domain", "line": style}


def _axis(colours: Palette, title: str) -> dict[str, Any]:
    return {
        "gridcolor": colours.grid,
        "zeroline": False,
        "linecolor": colours.grid,
        "tickfont": {"color": colours.muted},
        "fixedrange": True,
        "automargin": True,
        "title": {"text": text.figure_label(title, 80), "font": {"color": colours.muted, "size": 13}},
    }


def ramp(colours: Palette) -> list[list[Any]]:
    """A scale of colours from nothing to most."""
    steps = colours.ramp
    return [[place / (len(steps) - 1), colour] for place, colour in enumerate(steps)]
