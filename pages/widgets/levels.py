"""One number for each of a few things: bars, or dots with their intervals, and the number written beside each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mimic.reports import text
from mimic.reports.palette import Palette
from pages.widgets.component import component

DETECTED = 8

_figure = component(
    "levels", '<figure><ol></ol><div class="axis" aria-hidden="true"></div><figcaption></figcaption></figure>'
)


@dataclass(frozen=True)
class _Row:
    """A thing: its name, the number in words, what hovering says, and what is drawn from 0 to 100 % of the width."""

    name: str
    number: str
    said: str
    drawn: list[dict[str, Any]]
    strong: bool = False


def agreement(shares: Sequence[tuple[str, float, str]], colours: Palette, *, key: str) -> None:
    """Draw with how many of the given labels somebody agrees: (who, share 0 … 1, colour's name in the palette)."""
    rows = [
        _Row(who, text.percent(share), f"{who}: {text.percent(share)} of what was given", [_bar(0, share, own)])
        for who, share, own in ((who, share, getattr(colours, colour)) for who, share, colour in shares)
    ]
    _draw(rows, "agreement with what was given", key=key, alt="Agreement with what was given")


def guesses(predictions: pd.DataFrame, colours: Palette, label: str | None, *, key: str) -> None:
    """Draw the reference's best guesses with their probabilities; the given label, where it is one of them, is marked.

    Args:
        predictions: columns rank, label, logprob.
    """
    shown = predictions.sort_values("rank")
    rows = []
    for name, share in zip(shown["label"], np.exp(shown["logprob"].to_numpy(dtype=float)), strict=True):
        words = text.plain(str(name), 40) + (" ✓ given" if name == label else "")
        rows.append(_Row(words, text.percent(share), words, [_bar(0, share, colours.reference)], name == label))
    _draw(rows, "probability under the reference", key=key, alt="The reference's best guesses")


def balance(balance: pd.DataFrame, colours: Palette, *, key: str, most: int = 10) -> None:
    """Draw what a line does to each class, kept and dropped, the least kept first.

    Args:
        balance: as `queries.threshold.class_balance` gives it.
        most: classes shown at most.
    """
    shown = balance.head(most)
    rows = []
    for label, kept, dropped in zip(shown["label"], shown["kept"], shown["dropped"], strict=True):
        name, share = text.plain(label, 40) if label else "no label", kept / (kept + dropped)
        said = f"{name}: {kept:,} of {kept + dropped:,} kept, {dropped:,} dropped"
        both = [_bar(0, share, colours.kept), _bar(share, 1, colours.dropped)]
        rows.append(_Row(name, f"{100 * share:.1f}", said, both))
    _draw(rows, "share of the class's scored samples, %", key=key, alt="Kept of each class")


def detection(table: pd.DataFrame, colours: Palette, main: str, noun: str, *, key: str) -> None:
    """Draw the AUROC of the `DETECTED` best signals with their 95 % intervals, the best on top.

    Args:
        table: as `evaluation.detection.detection_table` gives it, the best first.
        main: always shown, however far down it is; marked by shape, weight and the reference's colour.
    """
    shown = table[(table.index < DETECTED) | (table["signal"] == main)]
    halves = 1.96 * shown["error"]
    lowest = math.floor(10 * float(np.nanmin([0.5, *(shown["auroc"] - halves)]))) / 10

    def place(value: float) -> float:
        return float(np.clip((value - lowest) / (1 - lowest), 0, 1))

    rows = []
    for name, auroc, half in zip(shown["signal"], shown["auroc"], halves, strict=True):
        own, number = name == main, f"{auroc:.3f} ± {half:.3f}" if math.isfinite(auroc) else "–"
        drawn: list[dict[str, Any]] = [{"kind": "chance", "left": 100 * place(0.5), "colour": colours.muted}]
        if math.isfinite(auroc):
            colour = colours.reference if own else colours.neutral
            ends = _bar(place(auroc - half), place(auroc + half), colours.muted) | {"kind": "interval"}
            dot = {"kind": "diamond" if own else "dot", "left": 100 * place(auroc), "colour": colour}
            drawn += [ends, dot]
        words = text.plain(name, 40)
        rows.append(_Row(words, number, f"{words}: AUROC {number}", drawn, own))
    ticks = [each / 10 for each in range(round(10 * lowest), 11)]
    _draw(
        rows,
        "AUROC of finding what is wrong, with its 95 % interval (0.5 = chance)",
        key=key,
        alt=f"AUROC of each signal at finding wrong {noun}s",
        ticks=[(100 * place(tick), f"{tick:.1f}") for tick in ticks],
        grid=colours.grid,
    )


def _bar(first: float, last: float, colour: str) -> dict[str, Any]:
    return {"kind": "bar", "left": 100 * first, "width": 100 * (last - first), "colour": colour}


def _draw(
    rows: Sequence[_Row],
    caption: str,
    *,
    key: str,
    alt: str,
    ticks: Sequence[tuple[float, str]] = (),
    grid: str | None = None,
) -> None:
    data = {"rows": [vars(row) for row in rows], "caption": caption, "alt": alt, "ticks": ticks, "grid": grid}
    _figure(key=key, data=data)
