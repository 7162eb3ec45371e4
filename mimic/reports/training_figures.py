"""Figures of a training run, in the manner of `figures`: learning curves, weights, and how scores went."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mimic.reports import text
from mimic.reports.layout import ramp, style_axes
from mimic.reports.palette import Palette

# What a line of the curves is of: the word for it, and how it is drawn.
SPLITS = {"train": "dot", "validation": "solid", "truth": "dash"}
_WORDS = {"train": "training", "validation": "held back", "truth": "held back, true labels"}
ARMS = {"grad_mimic": "Grad-Mimic", "uniform": "equal weights"}


def curves(
    points: pd.DataFrame, colours: Palette, measure: str, title: str, splits: list[str], epoch_steps: int
) -> go.Figure:
    """Learning curves of both arms: Grad-Mimic in the reference's colour, equal weights in grey.

    Args:
        points: as `mimic.workspace.curves.read_curves` gives them.
        measure: ``"loss"`` or ``"accuracy"``.
        title: of the axis.
        splits: of these, those that there are.
        epoch_steps: steps an epoch.
    """
    figure = go.Figure()
    factor = 100 if measure == "accuracy" else 1
    for arm, words in ARMS.items():
        for split in splits:
            mine = points[(points["arm"] == arm) & (points["split"] == split)]
            if mine.empty:
                continue
            colour = colours.reference if arm == "grad_mimic" else colours.neutral
            name = f"{words}, {_WORDS[split]}"
            line = {"color": colour, "dash": SPLITS[split], "width": 1.5 if split == "train" else 2.5}
            figure.add_trace(_line(mine, factor * mine[measure], epoch_steps, name, line))
    style_axes(figure, colours, "epochs", title, 300)
    _legend(figure, colours)
    return figure


def course(
    points: pd.DataFrame, colours: Palette, measure: str, title: str, epoch_steps: int, exhausted: int | None = None
) -> go.Figure:
    """How one measure of the re-weighted arm went from step to step.

    Args:
        points, epoch_steps: as in `curves`.
        measure: ``"mean_score"``, ``"ess"`` or ``"distance"``.
        title: of the axis.
        exhausted: the step at which the reference was, where a line is drawn.
    """
    mine = points[(points["arm"] == "grad_mimic") & (points["split"] == "train")]
    factor = 100 if measure == "ess" else 1
    line = {"color": colours.reference, "width": 2}
    figure = go.Figure(_line(mine, factor * mine[measure], epoch_steps, title, line))
    if exhausted is not None:
        figure.add_vline(
            x=(exhausted + 1) / epoch_steps,
            line={"color": colours.dropped, "width": 1.5, "dash": "dash"},
            annotation={"text": "caught up", "font": {"color": colours.muted, "size": 12}, "bgcolor": colours.ground},
            annotation_position="top left",
        )
    style_axes(figure, colours, "epochs", title, 240)
    figure.update_yaxes(rangemode="tozero")
    return figure


def strips(found: pd.DataFrame, colours: Palette, title: str) -> go.Figure:
    """Scores by epoch: a strip an epoch, the first on top, dark where most visits lie, with the epoch's mean marked.

    Args:
        found: as `mimic.workspace.queries.training.score_strips` gives it.
        title: of the axis.
    """
    table = found.pivot_table(index="epoch", columns="cell", values="n", fill_value=0)
    cells = np.arange(int(found["cell"].min()), int(found["cell"].max()) + 1)
    table = table.reindex(columns=cells, fill_value=0)
    first = found.iloc[0]
    width = float(first["high"] - first["low"])
    low = float(first["low"]) - int(first["cell"]) * width
    per_epoch = found.groupby("epoch")[["mean", "positive", "visits"]].first()
    rows, epochs = list(range(len(table))), [int(epoch) for epoch in table.index]
    middles = [text.score(low + (cell + 0.5) * width, 3) for cell in cells]
    hover = [
        [f"epoch {epoch + 1}, near {middle}: {n:,} visits" for middle, n in zip(middles, counts, strict=True)]
        for epoch, counts in zip(epochs, table.to_numpy(dtype=int), strict=True)
    ]
    figure = go.Figure(
        go.Heatmap(
            x=low + (cells + 0.5) * width,
            y=rows,
            z=table.to_numpy() / table.to_numpy().sum(axis=1, keepdims=True),
            text=hover,
            hovertemplate="%{text}<extra></extra>",
            colorscale=ramp(colours),
            showscale=False,
            ygap=2,
        )
    )
    words = [
        f"epoch {epoch + 1}: mean {text.score(mean, 3)}, {text.percent(positive)} above 0"
        for epoch, mean, positive in zip(epochs, per_epoch["mean"], per_epoch["positive"], strict=True)
    ]
    marker = {
        "color": colours.reference,
        "symbol": "line-ns",
        "size": 16,
        "line": {"color": colours.reference, "width": 3},
    }
    figure.add_trace(
        go.Scatter(
            x=per_epoch["mean"], y=rows, mode="markers", marker=marker, hovertext=words, hoverinfo="text", name="mean"
        )
    )
    figure.add_vline(x=0, line={"color": colours.text, "width": 1.5, "dash": "dot"})
    style_axes(figure, colours, title, "epoch", 90 + max(22 * len(rows), 280))
    figure.update_yaxes(
        tickvals=rows, ticktext=[str(epoch + 1) for epoch in epochs], autorange="reversed", showgrid=False
    )
    return figure


def history(visits: pd.DataFrame, colours: Palette) -> go.Figure:
    """One sample's weight over its visits, 1 = its batch's mean; above and below in the colours of kept and dropped."""
    weights = visits["weight"]
    figure = go.Figure(
        go.Bar(
            x=visits["visit"] + 1,
            y=weights - 1,
            base=1,
            marker={"color": [colours.kept if w >= 1 else colours.dropped for w in weights], "line": {"width": 0}},
            hovertext=[
                f"visit {visit + 1}: weight {w:.2f}, score {text.score(score, 3)}, loss {text.score(loss, 3)}"
                for visit, w, score, loss in zip(visits["visit"], weights, visits["score"], visits["loss"], strict=True)
            ],
            hoverinfo="text",
        )
    )
    figure.add_hline(y=1, line={"color": colours.text, "width": 1.5, "dash": "dot"})
    style_axes(figure, colours, "visit", "weight, 1 = its batch's mean", 200)
    figure.update_xaxes(dtick=max(len(visits) // 10, 1))
    return figure


def _line(mine: pd.DataFrame, values: pd.Series, epoch_steps: int, name: str, line: dict[str, object]) -> go.Scatter:
    return go.Scatter(
        x=mine["step"] / epoch_steps,
        y=values,
        mode="lines+markers" if len(mine) < 12 else "lines",
        line=line,
        name=name,
        hovertemplate="%{y:.4g} after %{x:.2f} epochs<extra>" + name + "</extra>",
    )


def _legend(figure: go.Figure, colours: Palette) -> None:
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"color": colours.muted}}
    figure.update_layout(showlegend=True, legend=legend)
