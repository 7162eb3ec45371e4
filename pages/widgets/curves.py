"""A figure that is data (`mimic.reports.drawing`), drawn in the browser and, where it is given a name, saved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from mimic.reports import text
from mimic.reports.drawing import Axis, Curve, Drawing
from mimic.reports.palette import Palette
from pages.widgets.axis import ticks, words
from pages.widgets.component import component

Form = Literal["png", "svg"]

_curves = component(
    "curves",
    """
<div class="figure">
  <svg></svg>
  <span class="tip"></span>
  <button type="button" class="save" hidden></button>
</div>""",
)


def show(
    drawing: Drawing, colours: Palette, *, key: str, alt: str, file: str | None = None, form: Form = "png"
) -> None:
    """Draw a figure.

    Args:
        file: name of the file, without its ending, that a button above the figure saves it as; None: no button.
        form: of that file.
    """
    _curves(
        key=key,
        data={
            "alt": text.plain(alt),
            "height": drawing.height,
            "curves": [_curve(curve) for curve in drawing.curves],
            "x": _axis(drawing.x, 7),
            "y": _axis(drawing.y, 6),
            "lines": [asdict(line) for line in drawing.lines],
            "colours": {name: getattr(colours, name) for name in ("text", "muted", "grid", "ground")},
            "file": file,
            "form": form,
        },
    )


def _curve(curve: Curve) -> dict[str, Any]:
    parts = asdict(curve)
    return parts | {name: _numbers(parts[name]) for name in ("x", "y", "low", "high")}


def _numbers(values: Sequence[float]) -> list[float | None]:
    """As JSON knows them."""
    return [float(value) if math.isfinite(value) else None for value in values]


def _axis(axis: Axis, count: int) -> dict[str, Any]:
    marks = axis.ticks if axis.ticks is not None else [(at, words(at)) for at in ticks(axis.low, axis.high, count)]
    title = text.plain(axis.title, 80)
    return {"title": title, "low": axis.low, "high": axis.high, "ticks": marks, "grid": axis.ticks is None}
