"""A line in figures: how many samples it keeps, on a slider and as a count, a share and a score. One state, four views.

Streamlit's own four widgets cost half of a step's time in the browser, and threw back what was typed or pressed before
the page of the step before was drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

from mimic.reports import text
from mimic.workspace.queries.threshold import Line
from pages.widgets.component import component
from pages.widgets.moves import on_move, turn

Unit = Literal["count", "share", "score"]

_fields = component(
    "line_fields",
    """
<div class="units">
  <label class="slide"><span>Samples kept</span><output></output>
    <input type="range" data-unit="count" aria-label="Samples kept" min="0" step="1"></label>
  <div class="fields">
    <label><span>Kept, samples</span><input type="number" data-unit="count" min="0" step="1"></label>
    <label><span>Kept, % of scored</span><input type="number" data-unit="share" min="0" max="100" step="any"></label>
    <label><span class="lowest"></span><input type="number" data-unit="score" step="any" placeholder="–"></label>
  </div>
</div>""",
)


def show(line: Line, signal: str, moved: Callable[[Unit, float], None], *, key: str) -> None:
    """Draw the slider and the three fields.

    Args:
        moved: called, as a callback, with the unit that somebody changed and its value: a count (0 … scored), a share
            in per cent (0 … 100), or a score.
    """

    def take(told: dict[str, Any]) -> None:
        unit, value = told.get("unit"), told.get("value")
        if unit in get_args(Unit) and isinstance(value, int | float) and math.isfinite(value):
            most = {"count": line.scored, "share": 100.0}.get(unit, math.inf)
            moved(unit, value if unit == "score" else min(max(value, 0), most))

    data = {
        "kept": line.kept,
        "scored": line.scored,
        "share": round(100 * line.share, 4),
        "score": float(f"{line.score:.6g}") if line.kept else None,
        "lowest": f"Lowest kept {text.plain(signal, 60)}",
        "turn": turn(key),
    }
    _fields(key=key, data=data, on_moved_change=on_move(key, "moved", take))
