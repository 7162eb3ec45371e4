"""Figures of what filters are worth: curves with bands, accuracy by share kept, shares of right labels, overlaps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pandas as pd

from mimic.reports import text
from mimic.reports.drawing import DASHES, Axis, Curve, Dash, Drawing, Line, Mark, span
from mimic.reports.palette import Palette

MOST_CURVES = len(DASHES)
MOST_PARTS = 30
_PERCENT = (0.0, 100.0)
_AXES = {
    "roc": ("right ones dropped, %", "wrong ones dropped (recall), %"),
    "pr": ("wrong ones dropped (recall), %", "wrong among the dropped (precision), %"),
}


def curves(bands: Mapping[str, pd.DataFrame], colours: Palette, kind: Literal["roc", "pr"]) -> Drawing:
    """ROC or precision-recall curves of at most `MOST_CURVES` signals, each with its 95 % band.

    Args:
        bands: name → as `mimic.evaluation.bands.Found` holds them.
    """
    drawn = []
    for name, band, colour, dash in zip(bands, bands.values(), _colours(colours), DASHES, strict=False):
        there = 100 * band
        said = [f"{y:.1f}% at {x:.0f}%" for x, y in zip(there["x"], there["y"], strict=True)]
        x, y, low, high = (there[column].tolist() for column in ("x", "y", "low", "high"))
        drawn.append(Curve(text.plain(name, 30), colour, x, y, said, low, high, band=True, line=dash))
    if kind == "roc":
        drawn.append(Curve("", colours.muted, _PERCENT, _PERCENT, line="dot", width=1))
    x_title, y_title = _AXES[kind]
    return Drawing(tuple(drawn), Axis(x_title, *_PERCENT), Axis(y_title, 0, 101), 380)


def retraining(table: pd.DataFrame, colours: Palette, filters: list[str], outcome: str = "accuracy") -> Drawing:
    """Accuracy against the share kept, with standard errors: some filters, random, everything, right labels alone.

    Args:
        table: as `mimic.evaluation.retraining.curves` gives it.
        filters: at most `MOST_CURVES` of them.
        outcome: what was measured on the test split.
    """
    drawn: list[Curve] = []
    for name, colour, dash in zip(filters, _colours(colours), DASHES, strict=False):
        mine = table[table["filter"] == name]
        soft = f"{text.plain(name, 24)}, weights"
        drawn += _points(mine[mine["arm"] == "kept"], text.plain(name, 30), colour, dash, "circle")
        drawn += _points(mine[mine["arm"] == "weights"], soft, colour, dash, "ring")
    drawn += _points(table[table["arm"] == "random"], "as many at random", colours.neutral, "dot", "cross")
    low = 100 * float(table["budget"].min())
    levels: tuple[tuple[str, str, Dash], ...] = (
        ("everything", "everything", "solid"),
        ("oracle", "the right ones alone", "dash"),
    )
    for arm, words, dash in levels:
        own = table[table["arm"] == arm]
        if not own.empty:
            level = 100 * float(own["accuracy"].iloc[0])
            drawn.append(Curve(words, colours.text, (low, 100.0), (level, level), line=dash, width=1.5))
    room = 0.03 * (100 - low) or 1.0
    x, y = Axis("samples kept, %", low - room, 100 + room), Axis(f"test {outcome}, %", *_span(drawn))
    return Drawing(tuple(drawn), x, y, 400)


def shares(table: pd.DataFrame, colours: Palette, axis: str = "share that is right, %") -> Drawing:
    """Estimated shares with their 95 % intervals, the first on top; a cross where the truth is known.

    Args:
        table: columns part, share, low, high, and true where it is known; at most `MOST_PARTS` are drawn.
    """
    shown = table[table["share"].notna()].head(MOST_PARTS).iloc[::-1]
    places = [float(place) for place in range(len(shown))]
    percent = {name: (100 * shown[name]).tolist() for name in ("share", "low", "high", "true") if name in shown}
    said = [f"{each:.1f}% ({low:.1f} to {high:.1f})" for each, low, high in
            zip(percent["share"], percent["low"], percent["high"], strict=True)]  # fmt: skip
    estimate = Curve(
        "estimate", colours.reference, percent["share"], places, said, percent["low"], percent["high"], across=True,
        line=None, mark="diamond",
    )  # fmt: skip
    drawn = [estimate]
    if "true" in percent:
        said = [f"{each:.1f}%" for each in percent["true"]]
        drawn.insert(0, Curve("truth", colours.wrong, percent["true"], places, said, line=None, mark="cross"))
    lowest = min((each for name in ("low", "true") for each in percent.get(name, []) if each == each), default=2.0)
    names = tuple((place, text.plain(str(name), 26)) for place, name in zip(places, shown["part"], strict=True))
    x, y = Axis(axis, min(lowest - 2, 98.0), 100), Axis("", -0.7, len(shown) - 0.3, names)
    return Drawing(tuple(drawn), x, y, 154 + 26 * len(shown))


def audit(table: pd.DataFrame, colours: Palette, signal: str, line: float) -> Drawing:
    """Precision and recall of lines all over a score, each with the band that its interval makes.

    Args:
        table: as `mimic.evaluation.verdicts.curve` gives it.
        line: the one that the samples were drawn for.
    """
    lines, drawn = table["line"].tolist(), []
    dashes: tuple[tuple[str, str, Dash], ...] = (
        ("precision", colours.dropped, "solid"),
        ("recall", colours.reference, "dash"),
    )
    for name, colour, dash in dashes:
        value, low, high = ((100 * table[f"{name}{end}"]).tolist() for end in ("", "_low", "_high"))
        said = [f"at {text.score(at)}: {lo:.0f} to {hi:.0f}%" for at, lo, hi in zip(lines, low, high, strict=True)]
        drawn.append(Curve(name, colour, lines, value, said, low, high, band=True, line=dash))
    ends = (min([*lines, line]), max([*lines, line]))
    return Drawing(tuple(drawn), Axis(f"lowest kept {signal}", *ends), Axis("%", *_PERCENT), 260, (Line(line),))


def overlap(table: pd.DataFrame, colours: Palette, kept: float | None) -> Drawing:
    """Overlap of what two signals drop at every budget, beside what chance gives.

    Args:
        table: as `mimic.workspace.queries.pairs.overlaps` gives it.
        kept: the share at hand, 0 … 1, where both keep as many.
    """
    kepts = (100 * table["kept"]).tolist()
    said = [f"{both:.1%} at {at:.0%} kept, {chance:.1%} by chance" for at, both, chance in
            table[["kept", "overlap", "chance"]].itertuples(index=False)]  # fmt: skip
    by_chance = Curve("by chance", colours.neutral, kepts, (100 * table["chance"]).tolist(), line="dot")
    these = Curve("these two", colours.dropped, kepts, (100 * table["overlap"]).tolist(), said)
    lines = () if kept is None else (Line(100 * min(kept, 1.0)),)
    x, y = Axis("each keeps, %", *_PERCENT), Axis("overlap of the dropped, %", *_PERCENT)
    return Drawing((these, by_chance), x, y, 310, lines)


def _points(own: pd.DataFrame, name: str, colour: str, dash: Dash, mark: Mark) -> list[Curve]:
    """One curve, or none where there is nothing to draw."""
    if own.empty:
        return []
    own = 100 * own.sort_values("budget")[["budget", "accuracy", "error"]]
    said = [f"{y:.1f}% at {x:.0f}% kept" for x, y in zip(own["budget"], own["accuracy"], strict=True)]
    low, high = (own["accuracy"] - own["error"]).tolist(), (own["accuracy"] + own["error"]).tolist()
    x, y = own["budget"].tolist(), own["accuracy"].tolist()
    return [Curve(name, colour, x, y, said, low, high, line=dash, mark=mark)]


def _span(drawn: list[Curve]) -> tuple[float, float]:
    return span(value for curve in drawn for ends in (curve.y, curve.low, curve.high) for value in ends)


def _colours(colours: Palette) -> tuple[str, ...]:
    return colours.reference, colours.kept, colours.dropped, colours.wrong, colours.neutral, colours.text
