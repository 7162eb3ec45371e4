"""Plotly figures from DataFrames that are ready to draw: at most 200 bars, 100 × 100 cells, no raw columns.

Every figure has titled axes, a transparent ground, colours of one meaning (`palette`), hover text with exact counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from mimic.reports import text
from mimic.reports.layout import layout, legend, style_axes, vertical
from mimic.reports.palette import Palette

# No logo, no upload to a chart service, nothing that leads outside; drawing is all there is.
CONFIG: dict[str, Any] = {"displayModeBar": False, "displaylogo": False, "responsive": True, "scrollZoom": False}


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
    return go.Figure([trace], layout(colours, signal, "samples", 240) | {"bargap": 0})


def agreement_bars(shares: Sequence[tuple[str, float, str]], colours: Palette) -> go.Figure:
    """With how many of the given labels somebody agrees: (who, share 0 … 1, colour's name in the palette), top down."""
    shown = list(shares)[::-1]
    figure = go.Figure(
        go.Bar(
            x=[100 * share for _, share, _ in shown],
            y=list(range(len(shown))),
            orientation="h",
            text=[text.percent(share) for _, share, _ in shown],
            textposition="outside",
            textfont={"color": colours.text},
            cliponaxis=False,
            marker={"color": [getattr(colours, colour) for *_, colour in shown], "line": {"width": 0}},
            hovertemplate="%{text} of what was given<extra></extra>",
        )
    )
    style_axes(figure, colours, "agreement with what was given, %", "", 76 + 30 * len(shown))
    figure.update_layout(bargap=0.3)
    figure.update_xaxes(range=[0, 112], tickvals=list(range(0, 101, 20)))  # room for the figure beside a full bar
    figure.update_yaxes(tickvals=list(range(len(shown))), ticktext=[who for who, *_ in shown], showgrid=False)
    return figure


def audit_curve(table: pd.DataFrame, colours: Palette, signal: str, line: float) -> go.Figure:
    """Precision and recall of lines all over a score, each with the band that its interval makes.

    Args:
        table: as `mimic.evaluation.verdicts.curve` gives it.
        line: the one that the samples were drawn for.
    """
    figure = go.Figure()
    for name, colour, dash in (("precision", colours.dropped, "solid"), ("recall", colours.reference, "dash")):
        ends = [*table[f"{name}_high"], *table[f"{name}_low"][::-1]]
        band = {"color": colour, "width": 0}
        figure.add_trace(
            go.Scatter(
                x=[*table["line"], *table["line"][::-1]], y=[100 * end for end in ends], fill="toself", line=band,
                opacity=0.25, hoverinfo="skip", showlegend=False,
            )
        )  # fmt: skip
        rows = table[["line", name, f"{name}_low", f"{name}_high"]].itertuples(index=False)
        hover = [f"{name} at {text.score(at)}: {lo:.0%} to {hi:.0%}" for at, _, lo, hi in rows]
        style = {"color": colour, "width": 2, "dash": dash}
        figure.add_trace(
            go.Scatter(
                x=table["line"], y=100 * table[name], mode="lines", line=style, name=name, hovertext=hover,
                hoverinfo="text",
            )
        )  # fmt: skip
    style_axes(figure, colours, f"lowest kept {signal}", "%", 260)
    figure.update_yaxes(range=[0, 100])
    figure.update_layout(shapes=[vertical(line, colours)], **legend(colours))
    return figure
