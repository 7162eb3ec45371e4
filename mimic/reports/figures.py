"""Plotly figures from DataFrames that are ready to draw: at most 200 bars, 100 × 100 cells, no raw columns.

Every figure has titled axes, a transparent ground, colours of one meaning (`palette`), hover text with exact counts.
Those that are drawn anew while somebody drags are made in one piece from a `layout`: Plotly's own updates take four
times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mimic.reports import text
from mimic.reports.layout import layout, legend, ramp, style_axes, vertical
from mimic.reports.palette import Palette
from mimic.workspace.queries.histogram import RIGHT, UNKNOWN, WRONG

# No logo, no upload to a chart service, nothing that leads outside; drawing is all there is.
CONFIG: dict[str, Any] = {"displayModeBar": False, "displaylogo": False, "responsive": True, "scrollZoom": False}
STRIPS = 24
DETECTED = 8


def histogram(
    bars: pd.DataFrame,
    colours: Palette,
    signal: str,
    *,
    chosen: tuple[float, float] | None = None,
    decided: pd.DataFrame | None = None,
    logarithmic: bool = False,
    height: int = 240,
) -> go.Figure:
    """Bars of a signal's scores.

    Args:
        bars: as `queries.histogram.histogram` gives it; groups other than ``all`` are stacked.
        signal: the axis's title.
        chosen: low ≤ score < high; bars outside are pale.
        decided: as `queries.decided.decided_scores` gives it: a mark for each, above the bars.
        logarithmic: heights on a logarithmic scale, for signals that pile up at one end.
        height: in pixels.
    """
    groups = _groups(bars)
    drawn = layout(colours, signal, "samples", height) | {"barmode": "stack", "bargap": 0}
    traces: list[dict[str, Any]] = []
    for group, mine in groups:
        traces.append(_bars(mine, _bar_colours(mine, group, colours, chosen), group))
    if decided is not None and not decided.empty:
        traces += _ticks(decided, colours)
        drawn["yaxis"] |= {"domain": [0, 0.86]}
        drawn["yaxis2"] = {"domain": [0.88, 1], "range": [-0.6, 1.6], "visible": False, "fixedrange": True}
    if logarithmic:
        drawn["yaxis"] |= {"type": "log", "dtick": 1}
    if len(groups) > 1:
        for name, _ in groups:
            # a square of its own: the bars' own legend would be pale where they are
            marker = {"color": _group_colour(name, colours), "symbol": "square", "size": 12}
            traces.append({"type": "scatter", "x": [None], "y": [None], "mode": "markers", "marker": marker})
            traces[-1] |= {"name": name, "showlegend": True}
        drawn |= legend(colours)
    return go.Figure(traces, drawn)


def histogram_by_class(
    bars: pd.DataFrame, colours: Palette, signal: str, *, chosen: tuple[float, float] | None = None
) -> go.Figure:
    """All bars, and below them a strip a class: how that class's scores are spread, dark where most of them lie.

    Args:
        bars: as `queries.histogram.histogram` gives it with ``split="class"``.
        chosen: as in `histogram`.

    At most `STRIPS` classes: those whose scores lie lowest on average.
    """
    total = bars.groupby(["bar", "left", "right", "low", "high"])[["n"]].sum().reset_index()
    names, share, hover = _strips(bars, total)
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.03, row_heights=[180, 22 * len(names) + 20]
    )
    figure.add_trace(_bars(total, _bar_colours(total, "all", colours, chosen), "all"), row=1, col=1)
    figure.add_trace(
        go.Heatmap(
            x=(total["left"] + total["right"]) / 2,
            y=list(range(len(names))),
            z=share,
            text=hover,
            hovertemplate="%{text}<extra></extra>",
            colorscale=ramp(colours),
            showscale=False,
            ygap=2,
        ),
        row=2,
        col=1,
    )
    style_axes(figure, colours, "", "samples", 240 + 22 * len(names))
    figure.update_layout(bargap=0)
    labels = [text.figure_label(name, 24) for name in names]
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=labels, title=None, showgrid=False, row=2, col=1)
    figure.update_xaxes(title=text.figure_label(signal), row=2, col=1)
    return figure


def detection(table: pd.DataFrame, colours: Palette, main: str, *, largest: int = DETECTED) -> go.Figure:
    """AUROC of the best signals with their 95 % intervals, the best on top; the main one in the reference's colour.

    Args:
        table: as `evaluation.detection.detection_table` gives it, the best first.
        main: always shown, however far down it is.
        largest: so many of the best.
    """
    shown = table[(table.index < largest) | (table["signal"] == main)].iloc[::-1]
    own = [name == main for name in shown["signal"]]
    figure = go.Figure(
        go.Scatter(
            x=shown["auroc"],
            y=list(range(len(shown))),
            mode="markers+text",
            text=[f"{value:.3f}" for value in shown["auroc"]],
            textposition="top center",
            textfont={"color": colours.text},
            error_x={"array": 1.96 * shown["error"], "color": colours.muted, "thickness": 1.5, "width": 4},
            marker={
                "size": 11,
                "color": [colours.reference if mine else colours.neutral for mine in own],
                "symbol": ["diamond" if mine else "circle" for mine in own],
            },
            hovertemplate="AUROC %{x:.3f}<extra></extra>",
            cliponaxis=False,
        )
    )
    figure.add_vline(x=0.5, line={"color": colours.muted, "width": 1, "dash": "dot"})
    style_axes(figure, colours, "AUROC of finding what is wrong (0.5 = chance)", "", 90 + 38 * len(shown))
    lowest = float(np.nanmin([0.5, *shown["auroc"]]))
    figure.update_xaxes(range=[lowest - 0.04, 1.0])
    names = [text.figure_label(name) for name in shown["signal"]]
    names = [f"<b>{name}</b>" if mine else name for name, mine in zip(names, own, strict=True)]
    figure.update_yaxes(
        tickvals=list(range(len(shown))), ticktext=names, range=[-0.6, len(shown) - 0.3], showgrid=False
    )
    return figure


def guesses(predictions: pd.DataFrame, colours: Palette, label: str | None) -> go.Figure:
    """The reference's best guesses with their probabilities; the given label, where it is one of them, is marked.

    Args:
        predictions: columns rank, label, logprob.
    """
    shown = predictions.sort_values("rank", ascending=False)
    shares = np.exp(shown["logprob"].to_numpy(dtype=float))
    names = [text.figure_label(str(name), 24) + (" ✓ given" if name == label else "") for name in shown["label"]]
    figure = go.Figure(
        go.Bar(
            x=100 * shares,
            y=list(range(len(shown))),
            orientation="h",
            text=[text.percent(share) for share in shares],
            textposition="outside",
            textfont={"color": colours.text},
            cliponaxis=False,
            marker={"color": colours.reference, "line": {"width": 0}},
            hovertemplate="%{text}<extra></extra>",
        )
    )
    style_axes(figure, colours, "probability under the reference, %", "", 70 + 30 * len(shown))
    figure.update_layout(bargap=0.3)
    figure.update_xaxes(range=[0, 112], tickvals=list(range(0, 101, 20)))  # room for the figure beside a full bar
    figure.update_yaxes(tickvals=list(range(len(shown))), ticktext=names, showgrid=False)
    return figure


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


def _groups(bars: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Groups in the order they are stacked, wrong labels at the bottom, where their heights can be compared."""
    first = {WRONG: 0, RIGHT: 1, UNKNOWN: 2}
    names = sorted(bars["group"].unique(), key=lambda name: (first.get(name, 9), name))
    return [(name, bars[bars["group"] == name]) for name in names]


def _bars(mine: pd.DataFrame, colours: Sequence[str], name: str) -> dict[str, Any]:
    ranges = [text.interval(low, high) for low, high in zip(mine["low"], mine["high"], strict=True)]
    return {
        "type": "bar",
        "x": (mine["left"] + mine["right"]) / 2,
        "y": mine["n"],
        "width": mine["right"] - mine["left"],
        "name": name,
        "customdata": np.column_stack([mine["bar"], ranges]),
        "hovertemplate": "%{customdata[1]}: %{y:,} samples"
        + (f", {name}" if name != "all" else "")
        + "<extra></extra>",
        # the page dims what is not chosen; Plotly's own dimming would come on top
        "selected": {"marker": {"opacity": 1}},
        "unselected": {"marker": {"opacity": 1}},
        "marker": {"color": list(colours), "line": {"width": 0}},
        "showlegend": False,
    }


def _ticks(decided: pd.DataFrame, colours: Palette) -> list[dict[str, Any]]:
    """People's decisions as ticks in two rows above the bars: kept ones above, dropped and relabelled ones below."""
    rows = (("keep", 1, colours.kept, "kept"), ("drop", 0, colours.dropped, "dropped"))
    traces = []
    for action, place, colour, words in (*rows, ("relabel", 0, colours.reference, "relabelled")):
        mine = decided.loc[decided["action"] == action, "score"]
        traces.append(
            {
                "type": "scatter", "x": mine, "y": [place] * len(mine), "yaxis": "y2", "mode": "markers", "name": words,
                "marker": {"symbol": "line-ns-open", "size": 9, "color": colour, "line": {"width": 2}},
                "selected": {"marker": {"opacity": 1}}, "unselected": {"marker": {"opacity": 1}},
                "hovertemplate": f"{words} by a person, %{{x:.4g}}<extra></extra>", "showlegend": False,
            }
        )  # fmt: skip
    return traces


def _group_colour(group: str, colours: Palette) -> str:
    return {WRONG: colours.wrong, RIGHT: colours.right, UNKNOWN: colours.faint}.get(group, colours.neutral)


def _bar_colours(mine: pd.DataFrame, group: str, colours: Palette, chosen: tuple[float, float] | None) -> list[str]:
    full = _group_colour(group, colours)
    middles = (mine["left"] + mine["right"]) / 2
    if chosen is None:
        return [full] * len(mine)
    return [full if chosen[0] <= middle < chosen[1] else colours.faint for middle in middles]


def _strips(bars: pd.DataFrame, total: pd.DataFrame) -> tuple[list[str], np.ndarray[Any, Any], list[list[str]]]:
    """Class names from the bottom up, each class's share in each bar, and what hovering says."""
    table = bars.pivot_table(index="group", columns="bar", values="n", fill_value=0)
    table = table.reindex(columns=total["bar"], fill_value=0)
    sizes = table.sum(axis=1)
    centres = (table * total["bar"].to_numpy()).sum(axis=1) / sizes
    order = centres.sort_values().index[:STRIPS][::-1]  # Plotly draws upwards: the lowest-scoring class comes last
    share = (table.loc[order].to_numpy() / sizes.loc[order].to_numpy()[:, None]).astype(float)
    ranges = [text.interval(low, high) for low, high in zip(total["low"], total["high"], strict=True)]
    hover = []
    for name in order:
        words, size = text.figure_label(name), sizes[name]
        counts = zip(ranges, table.loc[name], strict=True)
        hover.append([f"{words}, {where}: {n:,} of {size:,}" for where, n in counts])
    return list(order), share, hover
