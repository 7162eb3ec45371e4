"""Figures that compare filters: where two scores lie, who drops together, and overlap at every budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mimic.reports import text
from mimic.reports.layout import horizontal, layout, legend, ramp, style_axes, vertical
from mimic.reports.palette import Palette
from mimic.workspace.queries.compare import Density

LARGEST = 24  # combinations in an UpSet plot


def density(
    found: Density,
    colours: Palette,
    names: tuple[str, str],
    lines: tuple[float | None, float | None],
    *,
    decided: pd.DataFrame | None = None,
    height: int = 460,
) -> go.Figure:
    """How many samples lie where on two scores (logarithmic shades), with the lines and what lies in each corner.

    Args:
        lines: of A and B; None where a filter is no line on its score, and then no corner has a name.
        decided: as `queries.decided.decided_pairs` gives it: a mark for each.
    """
    counts = found.counts.astype(float)
    cells = {
        "type": "heatmap",
        "x": (found.a[1:] + found.a[:-1]) / 2,
        "y": (found.b[1:] + found.b[:-1]) / 2,
        "z": np.where(counts > 0, np.log10(np.maximum(counts, 1)) + 0.2, np.nan),
        "customdata": found.counts,
        "hovertemplate": "%{customdata:,} samples near (%{x:.4g}, %{y:.4g})<extra></extra>",
        "colorscale": ramp(colours, skip=1),
        "showscale": False,
    }
    drawn = layout(colours, f"A: {names[0]}", f"B: {names[1]}", height)
    drawn["shapes"] = []
    if lines[0] is not None:
        drawn["shapes"].append(vertical(_within(lines[0], found.a), colours))
    if lines[1] is not None:
        drawn["shapes"].append(horizontal(_within(lines[1], found.b), colours))
    corners = {"both keep": (1, 1), "only A drops": (0, 1), "only B drops": (1, 0), "both drop": (0, 0)}
    drawn["annotations"] = [
        {
            "text": words, "x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": "right" if x else "left",
            "yanchor": "top" if y else "bottom", "showarrow": False, "font": {"color": colours.muted, "size": 12},
            "bgcolor": colours.ground, "opacity": 0.85, "borderpad": 2,
        }
        for words, (x, y) in (corners.items() if None not in lines else ())
    ]  # fmt: skip
    return go.Figure([cells, *_marks(found, decided, colours)], drawn)


def _marks(found: Density, decided: pd.DataFrame | None, colours: Palette) -> list[dict[str, Any]]:
    """People's decisions, a shape and a colour each; those beyond the grid stand at its edge, as its cells do."""
    if decided is None or decided.empty:
        return []
    traces: list[dict[str, Any]] = []
    kinds = (("keep", "kept", "triangle-up", colours.kept), ("drop", "dropped", "x", colours.dropped))
    for action, words, symbol, colour in (*kinds, ("relabel", "relabelled", "diamond", colours.reference)):
        mine = decided[decided["action"] == action]
        if mine.empty:
            continue
        traces.append(
            {
                "type": "scatter", "mode": "markers", "name": words,
                "x": np.clip(mine["a"], found.a[0], found.a[-1]), "y": np.clip(mine["b"], found.b[0], found.b[-1]),
                "marker": {
                    "symbol": symbol, "size": 8, "color": colour, "line": {"color": colours.ground, "width": 1}
                },
                "customdata": mine[["a", "b"]].to_numpy(),
                "hovertemplate": f"{words} by a person (%{{customdata[0]:.4g}}, %{{customdata[1]:.4g}})<extra></extra>",
            }
        )  # fmt: skip
    return traces


def upset(combinations: pd.DataFrame, dropped: Sequence[int], names: Sequence[str], colours: Palette) -> go.Figure:
    """Who drops together (UpSet plot): a bar a combination, the dots below say whose, the bars on the left each one's.

    Args:
        combinations: as `Crossing.combinations` gives it; what nobody drops is left out, and so are all but the
            `LARGEST` most frequent ones.
        dropped: how many each member drops.
        names: of the members.
    """
    shown = combinations[combinations["drops"].map(len) > 0].head(LARGEST)
    rows, width = list(range(len(names))), list(range(len(shown)))
    figure = make_subplots(
        rows=2, cols=2, column_widths=[0.24, 0.76], row_heights=[200, 30 * len(names) + 20],
        horizontal_spacing=0.02, vertical_spacing=0.03, shared_xaxes="columns", shared_yaxes="rows",
        specs=[[None, {}], [{}, {}]],
    )  # fmt: skip
    who = [" and ".join(text.figure_label(names[place], 30) for place in drops) for drops in shown["drops"]]
    wrong = [f", {w / k:.0%} wrong" if k else "" for w, k in zip(shown["wrong"], shown["known"], strict=True)]
    figure.add_trace(
        go.Bar(
            x=width,
            y=shown["samples"],
            text=[f"{n:,}" for n in shown["samples"]],
            textposition="outside",
            cliponaxis=False,
            textfont={"color": colours.muted, "size": 11},
            marker={"color": colours.dropped, "line": {"width": 0}},
            customdata=np.column_stack([who, wrong]) if len(shown) else None,
            hovertemplate="%{y:,} dropped by %{customdata[0]} only%{customdata[1]}<extra></extra>",
        ),
        row=1, col=2,
    )  # fmt: skip
    _dots(figure, list(shown["drops"]), rows, colours)
    figure.add_trace(
        go.Bar(
            x=list(dropped),
            y=rows,
            orientation="h",
            marker={"color": colours.dropped, "line": {"width": 0}},
            hovertemplate="%{x:,} dropped<extra></extra>",
        ),
        row=2, col=1,
    )  # fmt: skip
    style_axes(figure, colours, "", "", 280 + 30 * len(names))
    figure.update_layout(bargap=0.35)
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False, col=2)
    labels = [text.figure_label(name, 30) for name in names]
    figure.update_yaxes(tickvals=rows, ticktext=labels, range=[len(names) - 0.5, -0.5], showgrid=False, row=2)
    figure.update_xaxes(autorange="reversed", title="dropped", row=2, col=1)
    figure.update_yaxes(title="samples", row=1, col=2)
    return figure


def overlap(table: pd.DataFrame, colours: Palette, kept: float | None) -> go.Figure:
    """Overlap of what two signals drop at every budget, beside what chance gives.

    Args:
        table: as `mimic.workspace.queries.compare.overlaps` gives it.
        kept: the share at hand, 0 … 1, where both keep as many.
    """
    traces = [
        {
            "type": "scatter",
            "x": 100 * table["kept"],
            "y": 100 * table[name],
            "mode": "lines",
            "name": words,
            "line": {"color": colour, "dash": dash, "width": 2},
            "hovertemplate": "%{y:.1f}% at %{x:.0f}% kept<extra>%{fullData.name}</extra>",
        }
        for name, words, dash, colour in (
            ("overlap", "these two", "solid", colours.dropped),
            ("chance", "by chance", "dot", colours.neutral),
        )
    ]
    drawn = layout(colours, "each keeps, %", "overlap of the dropped, %", 280) | legend(colours)
    drawn["yaxis"] |= {"range": [0, 101]}
    if kept is not None:
        drawn["shapes"] = [vertical(100 * kept, colours)]
    return go.Figure(traces, drawn)


def _dots(figure: go.Figure, combinations: Sequence[tuple[int, ...]], rows: Sequence[int], colours: Palette) -> None:
    """A column of dots a combination: full where that member drops, joined by a line."""
    for filled, colour in ((False, colours.grid), (True, colours.text)):
        places = [(x, y) for x, drops in enumerate(combinations) for y in rows if (y in drops) == filled]
        marker = {"color": colour, "size": 11}
        figure.add_trace(
            go.Scatter(
                x=[x for x, _ in places], y=[y for _, y in places], mode="markers", marker=marker, hoverinfo="skip"
            ),
            row=2, col=2,
        )  # fmt: skip
    lines: list[tuple[float | None, float | None]] = []
    for x, drops in enumerate(combinations):
        lines += [(x, min(drops)), (x, max(drops)), (None, None)]
    figure.add_trace(
        go.Scatter(
            x=[x for x, _ in lines], y=[y for _, y in lines], mode="lines", line={"color": colours.text, "width": 3},
            hoverinfo="skip",
        ),
        row=2, col=2,
    )  # fmt: skip


def _within(line: float, edges: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return float(np.clip(line, edges[0], edges[-1]))
