"""A signal's bars with a line on them that can be dragged: it answers in the browser, the page follows.

The line goes from bar to bar, so that what it says on the way is exact; what the page shows when it is let go is asked
of the server.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pandas as pd
import streamlit as st

from mimic.reports import text
from mimic.reports.palette import Palette
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.histogram import histogram
from mimic.workspace.queries.threshold import Line
from pages.widgets.component import component

_figure = component(
    "lined_bars",
    """
<div class="figure" role="group">
  <div class="plot">
    <svg class="decided" viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">
      <path data-action="keep"/><path data-action="drop"/><path data-action="relabel"/>
    </svg>
    <svg class="bars" viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">
      <clipPath id="below"><rect class="below" x="0" y="0" width="0" height="100"/></clipPath>
      <clipPath id="above"><rect class="above" x="0" y="0" width="1000" height="100"/></clipPath>
      <path class="below-line" clip-path="url(#below)"/><path class="above-line" clip-path="url(#above)"/>
    </svg>
    <div class="y" aria-hidden="true"></div>
    <div class="x" aria-hidden="true"></div>
    <div class="line" role="slider" tabindex="0"
      aria-label="Line" aria-valuemin="0" aria-valuemax="0" aria-valuenow="0"></div>
    <span class="said"></span>
    <span class="tip"></span>
  </div>
  <span class="unit" aria-hidden="true">samples</span>
  <div class="title" aria-hidden="true"></div>
</div>""",
)


def show(
    published: Published,
    signal: str,
    line: Line,
    colours: Palette,
    moved: Callable[[int], None],
    *,
    decided: pd.DataFrame,
    note: str = "",
) -> None:
    """Draw the bars, those below the line in the dropped colour, the rest in the kept one.

    Args:
        moved: called, as a callback, with how many samples the line keeps where somebody let it go.
        decided: as `queries.decided.decided_scores` gives it: a tick for each above the bars.
        note: what is written beside the line.
    """
    key = f"line {published.run} {signal}"

    def take() -> None:
        asked = st.session_state[key].get("keep")
        if isinstance(asked, int | float) and 0 <= asked <= line.scored:  # from the browser, so whatever it likes
            moved(int(asked))

    data = {
        "bars": _bars(published, signal),
        "decided": list(zip(decided["action"], decided["score"].astype(float), strict=True)),
        "line": line.score,
        "kept": line.kept,
        "note": note,
        "signal": text.plain(signal, 80),
        "alt": f"Histogram of {text.plain(signal, 80)}, with a line: dropped below, kept above",
        "colours": {name: getattr(colours, name) for name in ("kept", "dropped", "reference", "muted", "grid")},
    }
    _figure(key=key, data=data, on_keep_change=take)


@lru_cache(maxsize=64)
def _bars(published: Published, signal: str) -> dict[str, list[Any]]:
    """Edges, counts and ranges in words of a signal's bars, upwards."""
    bars = histogram(published, signal)
    ranges = zip(bars["low"], bars["high"], strict=True)
    edges = {name: bars[name].astype(float).tolist() for name in ("left", "right")}
    return {**edges, "counts": bars["n"].tolist(), "words": [text.interval(*ends) for ends in ranges]}
