"""Figures of the HTML report, by Plotly: titled axes, a transparent ground, colours of one meaning (`palette`)."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from mimic.reports import text
from mimic.reports.drawing import Axis, Curve, Drawing
from mimic.reports.palette import Palette

# No logo, no upload to a chart service, nothing that leads outside; drawing is all there is.
CONFIG: dict[str, Any] = {"displayModeBar": False, "displaylogo": False, "responsive": True, "scrollZoom": False}
_SYMBOLS = {"circle": "circle", "ring": "circle-open", "cross": "x", "diamond": "diamond"}


def histogram(bars: pd.DataFrame, colours: Palette, signal: str) -> go.Figure:
    """Bars of a signal's scores.

    Args:
        bars: as `queries.histogram.histogram` gives them without a split.
        signal: the axis's title.
    """
    trace = {
        "type": "bar",
        "x": (bars["left"] + bars["right"]) / 2,
        "y": bars["n"],
        "width": bars["right"] - bars["left"],
        "customdata": [text.interval(low, high) for low, high in zip(bars["low"], bars["high"], strict=True)],
        "hovertemplate": "%{customdata}: %{y:,} samples<extra></extra>",
        "marker": {"color": colours.neutral, "line": {"width": 0}},
    }
    return go.Figure([trace], _layout(colours, signal, "samples", 240) | {"bargap": 0})


def agreement_bars(shares: Sequence[tuple[str, float, str]], colours: Palette) -> go.Figure:
    """With how many of the given labels somebody agrees: (who, share 0 … 1, colour's name in the palette), top down."""
    shown = list(shares)[::-1]
    trace = {
        "type": "bar",
        "x": [100 * share for _, share, _ in shown],
        "y": list(range(len(shown))),
        "orientation": "h",
        "text": [text.percent(share) for _, share, _ in shown],
        "textposition": "outside",
        "textfont": {"color": colours.text},
        "cliponaxis": False,
        "marker": {"color": [getattr(colours, colour) for *_, colour in shown], "line": {"width": 0}},
        "hovertemplate": "%{text} of what was given<extra></extra>",
    }
    drawn = _layout(colours, "agreement with what was given, %", "", 76 + 30 * len(shown)) | {"bargap": 0.3}
    drawn["xaxis"] |= {"range": [0, 112], "tickvals": list(range(0, 101, 20))}  # room for the figure beside a full bar
    names = [_words(who, 40) for who, *_ in shown]
    drawn["yaxis"] |= {"tickvals": list(range(len(shown))), "ticktext": names, "showgrid": False}
    return go.Figure([trace], drawn)


def drawn(drawing: Drawing, colours: Palette) -> go.Figure:
    """A figure that is data."""
    layout = _layout(colours, drawing.x.title, drawing.y.title, drawing.height)
    for name, axis in (("xaxis", drawing.x), ("yaxis", drawing.y)):
        layout[name] |= _range(axis)
    style = {"color": colours.text, "width": 2, "dash": "dot"}
    layout["shapes"] = [
        {"type": "line", "xref": "x domain", "x0": 0, "x1": 1, "y0": line.at, "y1": line.at, "line": style}
        if line.across
        else {"type": "line", "yref": "y domain", "y0": 0, "y1": 1, "x0": line.at, "x1": line.at, "line": style}
        for line in drawing.lines
    ]
    layout["annotations"] = [
        {
            "x": line.at,
            "yref": "y domain",
            "y": 1,
            "text": _words(line.words, 40),
            "showarrow": False,
            "xanchor": "right",
        }
        for line in drawing.lines
        if line.words and not line.across
    ]
    place = {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"color": colours.muted}}
    layout |= {"showlegend": any(curve.name for curve in drawing.curves), "legend": place | {"traceorder": "reversed"}}
    return go.Figure([trace for curve in reversed(drawing.curves) for trace in _traces(curve)], layout)


def _traces(curve: Curve) -> list[dict[str, Any]]:
    """An area below, where there is one, and the curve."""
    name = _words(curve.name, 60)
    trace = {
        "type": "scatter", "x": curve.x, "y": curve.y, "name": name, "showlegend": bool(name), "cliponaxis": False,
        "mode": "+".join([*(["lines"] if curve.line else []), *(["markers"] if curve.mark else [])]) or "none",
        "line": {"color": curve.colour, "width": curve.width, "dash": curve.line or "solid"},
        "marker": {"color": curve.colour, "size": 9, "symbol": _SYMBOLS.get(curve.mark, "circle")},
        "hoverinfo": "skip",
    }  # fmt: skip
    if curve.said:
        before = f"{name}: " if name else ""
        trace |= {"hoverinfo": "text", "hovertext": [f"{before}{_words(each, 200)}" for each in curve.said]}
    if not curve.low:
        return [trace]
    if curve.band:
        area = {
            "type": "scatter", "x": [*curve.x, *curve.x[::-1]], "y": [*curve.high, *curve.low[::-1]], "fill": "toself",
            "line": {"width": 0, "color": curve.colour}, "opacity": 0.18, "hoverinfo": "skip", "showlegend": False,
        }  # fmt: skip
        return [area, trace]
    middle = curve.x if curve.across else curve.y
    ends = {
        "type": "data", "symmetric": False, "color": curve.colour, "thickness": curve.bar, "width": 0,
        "array": [high - at for high, at in zip(curve.high, middle, strict=True)],
        "arrayminus": [at - low for low, at in zip(curve.low, middle, strict=True)],
    }  # fmt: skip
    return [trace | {"error_x" if curve.across else "error_y": ends}]


def _range(axis: Axis) -> dict[str, Any]:
    found: dict[str, Any] = {"range": [axis.low, axis.high]}
    if axis.ticks is not None:
        places, names = [at for at, _ in axis.ticks], [_words(words, 40) for _, words in axis.ticks]
        found |= {"tickvals": places, "ticktext": names, "showgrid": False}
    return found


def _layout(colours: Palette, x: str, y: str, height: int) -> dict[str, Any]:
    """What every figure has. To be added to."""
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


def _axis(colours: Palette, title: str) -> dict[str, Any]:
    return {
        "gridcolor": colours.grid,
        "zeroline": False,
        "linecolor": colours.grid,
        "tickfont": {"color": colours.muted},
        "fixedrange": True,
        "automargin": True,
        "title": {"text": _words(title, 80), "font": {"color": colours.muted, "size": 13}},
    }


def _words(words: str, longest: int) -> str:
    """Somebody's words; Plotly reads some HTML."""
    return html.escape(text.plain(words, longest), quote=False)
