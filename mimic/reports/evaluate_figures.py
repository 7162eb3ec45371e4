"""Figures of the Evaluate page, in the manner of `figures`: curves with bands, accuracy against share kept, shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mimic.reports import text
from mimic.reports.layout import layout, legend
from mimic.reports.palette import Palette

MOST_CURVES = 6
MOST_PARTS = 30
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_AXES = {
    "roc": ("right ones dropped, %", "wrong ones dropped (recall), %"),
    "pr": ("wrong ones dropped (recall), %", "wrong among the dropped (precision), %"),
}


def config(form: Literal["png", "svg"], name: str) -> dict[str, Any]:
    """Plotly's settings for a figure that can be saved as a picture; nothing else is on its bar."""
    return {
        "displaylogo": False,
        "responsive": True,
        "scrollZoom": False,
        "modeBarButtons": [["toImage"]],
        "displayModeBar": True,
        "toImageButtonOptions": {"format": form, "filename": name, "scale": 2 if form == "png" else 1},
    }


def curves(bands: Mapping[str, pd.DataFrame], colours: Palette, kind: Literal["roc", "pr"]) -> go.Figure:
    """ROC or precision-recall curves of at most `MOST_CURVES` signals, each with its 95 % band.

    Args:
        bands: name → as `mimic.evaluation.bands.Found` holds them.
    """
    traces: list[dict[str, Any]] = []
    quiet = {"type": "scatter", "hoverinfo": "skip", "showlegend": False}
    for place, (name, band) in enumerate(list(bands.items())[:MOST_CURVES]):
        colour, label = _colours(colours)[place], text.figure_label(name, 30)
        there, back = 100 * band, 100 * band[::-1]
        outline = {"x": [*there["x"], *back["x"]], "y": [*there["high"], *back["low"]], "fill": "toself"}
        traces.append(quiet | outline | {"line": {"width": 0, "color": colour}, "opacity": 0.18})
        line = {"color": colour, "width": 2, "dash": _DASHES[place]}
        curve = {"type": "scatter", "x": there["x"], "y": there["y"], "mode": "lines", "name": label, "line": line}
        traces.append(curve | {"hovertemplate": "%{y:.1f}% at %{x:.0f}%<extra>" + label + "</extra>"})
    if kind == "roc":
        chance = {"color": colours.muted, "width": 1, "dash": "dot"}
        traces.append(quiet | {"x": [0, 100], "y": [0, 100], "mode": "lines", "line": chance})
    drawn = layout(colours, *_AXES[kind], 380) | _legend(colours)
    drawn["xaxis"]["range"], drawn["yaxis"]["range"] = [0, 100], [0, 101]
    return go.Figure(traces, drawn)


def retraining(table: pd.DataFrame, colours: Palette, filters: list[str], outcome: str = "accuracy") -> go.Figure:
    """Accuracy against the share kept, with standard errors: some filters, random, everything, right labels alone.

    Args:
        table: as `mimic.evaluation.retraining.curves` gives it.
        filters: at most `MOST_CURVES` of them.
        outcome: what was measured on the test split.
    """
    traces: list[dict[str, Any]] = []
    for place, name in enumerate(filters[:MOST_CURVES]):
        own = table[(table["filter"] == name) & (table["arm"] == "kept")]
        traces += _points(own, text.figure_label(name, 30), _colours(colours)[place], _DASHES[place])
        soft = table[(table["filter"] == name) & (table["arm"] == "weights")]
        if not soft.empty:
            words = f"{text.figure_label(name, 24)}, weights"
            traces += _points(soft, words, _colours(colours)[place], _DASHES[place], "circle-open")
    traces += _points(table[table["arm"] == "random"], "as many at random", colours.neutral, "dot", "x")
    for arm, words, dash in (("everything", "everything", "solid"), ("oracle", "the right ones alone", "dash")):
        own = table[table["arm"] == arm]
        if not own.empty:
            level = 100 * float(own["accuracy"].iloc[0])
            line = {"color": colours.text, "width": 1.5, "dash": dash}
            low, high = 100 * float(table["budget"].min()), 100.0
            ends = {"type": "scatter", "x": [low, high], "y": [level, level]}
            traces.append(ends | {"mode": "lines", "name": words, "line": line})
    return go.Figure(traces, layout(colours, "samples kept, %", f"test {outcome}, %", 400) | _legend(colours))


def shares(table: pd.DataFrame, colours: Palette, axis: str = "share that is right, %") -> go.Figure:
    """Estimated shares with their 95 % intervals, the first on top; a cross where the truth is known.

    Args:
        table: columns part, share, low, high, and true where it is known; at most `MOST_PARTS` are drawn.
    """
    shown = table[table["share"].notna()].head(MOST_PARTS).iloc[::-1]
    places = list(range(len(shown)))
    below, above = 100 * (shown["share"] - shown["low"]), 100 * (shown["high"] - shown["share"])
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter", "x": 100 * shown["share"], "y": places, "mode": "markers", "name": "estimate",
            "marker": {"color": colours.reference, "size": 10, "symbol": "diamond"},
            "error_x": {"type": "data", "symmetric": False, "array": above, "arrayminus": below,
                        "color": colours.muted, "thickness": 1.5, "width": 4},
            "hovertemplate": "estimate %{x:.1f}%<extra></extra>",
            "cliponaxis": False,  # what lies at 100 % is drawn whole
        }
    ]  # fmt: skip
    if "true" in shown:
        marker = {"color": colours.wrong, "size": 10, "symbol": "x"}
        truth = {"type": "scatter", "x": 100 * shown["true"], "y": places, "mode": "markers", "name": "truth"}
        hover = "truth %{x:.1f}%<extra></extra>"
        traces.append(truth | {"marker": marker, "hovertemplate": hover, "cliponaxis": False})
    # lower, and Plotly leaves the title no room
    drawn = layout(colours, axis, "", 154 + 26 * len(shown)) | _legend(colours)
    names = [text.figure_label(str(name), 26) for name in shown["part"]]
    drawn["yaxis"] |= {"tickvals": places, "ticktext": names, "showgrid": False, "range": [-0.7, len(shown) - 0.3]}
    lowest = [float(shown[name].min()) for name in ("low", "true") if name in shown]
    drawn["xaxis"]["range"] = [min(100 * float(np.nanmin(lowest)) - 2, 98) if len(shown) else 0, 100]
    return go.Figure(traces, drawn)


def _points(own: pd.DataFrame, name: str, colour: str, dash: str, symbol: str = "circle") -> list[dict[str, Any]]:
    """One trace, or none where there is nothing to draw."""
    own = own.sort_values("budget")
    if own.empty:
        return []
    return [
        {
            "type": "scatter", "x": 100 * own["budget"], "y": 100 * own["accuracy"], "mode": "lines+markers",
            "name": name, "line": {"color": colour, "width": 2, "dash": dash}, "marker": {"size": 8, "symbol": symbol},
            "error_y": {"array": 100 * own["error"], "color": colour, "thickness": 1, "width": 3},
            "hovertemplate": "%{y:.1f}% at %{x:.0f}% kept<extra>" + name + "</extra>",
        }
    ]  # fmt: skip


def _colours(colours: Palette) -> tuple[str, ...]:
    return colours.reference, colours.kept, colours.dropped, colours.wrong, colours.neutral, colours.text


def _legend(colours: Palette) -> dict[str, Any]:
    """Part of a layout: the legend, with room above it for the button that saves the picture."""
    bar = {"bgcolor": "rgba(0,0,0,0)", "color": colours.muted, "activecolor": colours.text}
    return legend(colours) | {"modebar": bar, "margin": {"l": 8, "r": 14, "t": 56, "b": 8}}
