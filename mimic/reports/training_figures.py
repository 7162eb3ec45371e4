"""Figures of a training run: learning curves, weights, and one sample's visits."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from mimic.reports import text
from mimic.reports.drawing import Axis, Curve, Dash, Drawing, Line, span
from mimic.reports.palette import Palette

# What a line of the curves is of: the word for it, and how it is drawn.
SPLITS: dict[str, Dash] = {"train": "dot", "validation": "solid", "truth": "dash"}
_WORDS = {"train": "training", "validation": "held back", "truth": "held back, true labels"}
ARMS = {"grad_mimic": "Grad-Mimic", "uniform": "equal weights"}


def curves(
    points: pd.DataFrame, colours: Palette, measure: str, title: str, splits: list[str], epoch_steps: int
) -> Drawing:
    """Learning curves of both arms: Grad-Mimic in the reference's colour, equal weights in grey.

    Args:
        points: as `mimic.workspace.curves.read_curves` gives them.
        measure: ``"loss"`` or ``"accuracy"``.
        title: of the axis.
        splits: of these, those that there are.
        epoch_steps: steps an epoch.
    """
    factor, drawn = 100 if measure == "accuracy" else 1, []
    for arm, words in ARMS.items():
        colour = colours.reference if arm == "grad_mimic" else colours.neutral
        for split in splits:
            mine = points[(points["arm"] == arm) & (points["split"] == split)]
            if not mine.empty:
                curve = _curve(mine, factor * mine[measure], epoch_steps, f"{words}, {_WORDS[split]}", colour)
                drawn.append(replace(curve, line=SPLITS[split], width=1.5 if split == "train" else 2.5))
    ends = span(value for curve in drawn for value in curve.y)
    return Drawing(tuple(drawn), _epochs(drawn), Axis(title, *ends), 300)


def course(
    points: pd.DataFrame, colours: Palette, measure: str, title: str, epoch_steps: int, exhausted: int | None = None
) -> Drawing:
    """How one measure of the re-weighted arm went from step to step.

    Args:
        points, epoch_steps: as in `curves`.
        measure: ``"mean_score"``, ``"ess"`` or ``"distance"``.
        title: of the axis.
        exhausted: the step at which the reference was, where a line is drawn.
    """
    mine = points[(points["arm"] == "grad_mimic") & (points["split"] == "train")]
    curve = _curve(mine, (100 if measure == "ess" else 1) * mine[measure], epoch_steps, "", colours.reference)
    lines = () if exhausted is None else (Line((exhausted + 1) / epoch_steps, "caught up"),)
    return Drawing((curve,), _epochs([curve], lines), Axis(title, *span(curve.y, zero=True)), 240, lines)


def history(visits: pd.DataFrame, colours: Palette) -> Drawing:
    """One sample's weight over its visits, 1 = its batch's mean; above and below in the colours of kept and dropped."""
    drawn = []
    for part, colour in (
        (visits[visits["weight"] >= 1], colours.kept),
        (visits[visits["weight"] < 1], colours.dropped),
    ):
        weights = part["weight"]
        said = [
            f"visit {visit + 1}: weight {w:.2f}, score {text.score(score, 3)}, loss {text.score(loss, 3)}"
            for visit, w, score, loss in zip(part["visit"], weights, part["score"], part["loss"], strict=True)
        ]
        low, high = weights.clip(upper=1).tolist(), weights.clip(lower=1).tolist()
        x, bar = (part["visit"] + 1).astype(float).tolist(), max(min(400 / len(visits), 24), 1.5)
        drawn.append(Curve("", colour, x, weights.tolist(), said, low, high, line=None, bar=bar))
    last = float(visits["visit"].max() + 1)
    ticks = tuple((float(at), str(at)) for at in range(1, int(last) + 1, max(len(visits) // 10, 1)))
    x_axis, y_axis = (
        Axis("visit", 0.5, last + 0.5, ticks),
        Axis("weight, 1 = its batch's mean", *span([1, *visits["weight"]])),
    )
    return Drawing(tuple(drawn), x_axis, y_axis, 200, (Line(1, across=True),))


def _curve(mine: pd.DataFrame, values: pd.Series, epoch_steps: int, name: str, colour: str) -> Curve:
    x, y = (mine["step"] / epoch_steps).tolist(), values.astype(float).tolist()
    said = [f"{text.score(value)} after {at:.2f} epochs" for at, value in zip(x, y, strict=True)]
    return Curve(name, colour, x, y, said, mark="circle" if len(x) < 12 else "")


def _epochs(drawn: list[Curve], lines: tuple[Line, ...] = ()) -> Axis:
    return Axis("epochs", 0, max([0.0, *(at for curve in drawn for at in curve.x), *(line.at for line in lines)]))
