"""How many lie where between two axes: samples on two scores, a training's visits on score and epoch.

Drawn in the browser from places that are shares of the plane, 0 … 1, and words that are ready to be shown: another
budget moves a line, and what has not changed is not drawn again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mimic.reports import text
from mimic.reports.palette import Palette
from mimic.workspace.queries.pairs import Density
from pages.widgets.axis import ticks, words
from pages.widgets.component import component

CORNERS = {
    "left top": "only A drops",
    "right top": "both keep",
    "left bottom": "both drop",
    "right bottom": "only B drops",
}
DECIDED = {"keep": "kept", "drop": "dropped", "relabel": "relabelled"}
DENSITY = 400  # height of the plane, pixels

_plane = component(
    "plane",
    """
<div class="figure">
  <div class="plot">
    <div class="y"></div>
    <div class="x"></div>
    <canvas></canvas>
    <div class="corners"></div>
    <div class="marks"></div>
    <div class="line across"></div>
    <div class="line up"></div>
    <span class="tip"></span>
  </div>
  <div class="title"></div>
  <div class="side"></div>
</div>""",
)


def density(
    found: Density,
    colours: Palette,
    names: tuple[str, str],
    lines: tuple[float | None, float | None],
    *,
    decided: pd.DataFrame,
    key: str,
) -> None:
    """How many samples lie where on A's score (across) and B's (up): logarithmic shades, exact where one points.

    Args:
        names: what A and B are called.
        lines: of A and B; None where a filter is no line on its score, and then no corner has a name.
        decided: as `queries.decided.decided_pairs` gives it: a mark for each.
    """
    x, y = (
        None if line is None else float(_shares(edges, np.array([line]))[0])
        for line, edges in zip(lines, (found.a, found.b), strict=True)
    )
    name_a, name_b = (text.plain(name, 80) for name in names)
    _draw(
        colours,
        key,
        f"Where samples lie on {name_a} and {name_b}",
        (f"A: {name_a}", f"B: {name_b}"),
        DENSITY,
        **_cells(found),
        unit="sample",
        logarithmic=True,
        ramp=colours.ramp[1:],
        lines=(x, y),
        corners=CORNERS if None not in lines else {},
        marks=_marks(found, decided),
    )


def epochs(found: pd.DataFrame, colours: Palette, title: str, *, key: str) -> None:
    """How visits' scores are spread: a row an epoch, the first on top, dark where many lie, with its mean marked.

    Args:
        found: as `mimic.workspace.queries.training.score_strips` gives it.
        title: of the scores' axis.
    """
    table = found.pivot_table(index="epoch", columns="cell", values="n", fill_value=0)
    cells = np.arange(int(found["cell"].min()), int(found["cell"].max()) + 1)
    table = table.reindex(columns=cells, fill_value=0)[::-1]  # upwards, as a plane counts
    first = found.iloc[0]
    width = float(first["high"] - first["low"])
    edges = float(first["low"]) + (np.append(cells, cells[-1] + 1) - int(first["cell"])) * width
    middles = (np.arange(len(table)) + 0.5) / len(table)
    of_epoch = found.groupby("epoch")[["mean", "positive"]].first().loc[table.index]
    marks = [
        ("mean", at, place, f"epoch {epoch + 1}: mean {text.score(mean, 3)}, {text.percent(positive)} above 0")
        for epoch, mean, positive, at, place in zip(
            table.index, of_epoch["mean"], of_epoch["positive"], _shares(edges, of_epoch["mean"].to_numpy()), middles,
            strict=True,
        )
    ]  # fmt: skip
    within = edges[0] <= 0 <= edges[-1]
    _draw(
        colours,
        key,
        "How the visits' Mimic Scores are spread in each epoch",
        (title, "epoch"),
        max(22 * len(table), 280),
        counts=table.to_numpy(dtype=int).ravel().tolist(),
        middles=[
            [text.score(at, 3) for at in (edges[1:] + edges[:-1]) / 2],
            [f"epoch {epoch + 1}" for epoch in table.index],
        ],
        unit="visit",
        logarithmic=False,
        ticks=(
            _ticks(edges, 7),
            [(place, str(epoch + 1)) for place, epoch in zip(middles.tolist(), table.index, strict=True)],
        ),
        ramp=colours.ramp[1:],
        marks=marks,
        lines=(float(_shares(edges, np.zeros(1))[0]) if within else None, None),
    )


def _draw(colours: Palette, key: str, alt: str, titles: tuple[str, str], height: int, **drawn: Any) -> None:
    named = {
        name: getattr(colours, name) for name in ("kept", "dropped", "reference", "text", "muted", "grid", "ground")
    }
    _plane(key=key, data={"alt": text.plain(alt), "titles": titles, "height": height, "colours": named, **drawn})


@lru_cache(maxsize=16)
def _cells(found: Density) -> dict[str, Any]:
    """What no budget changes: the counts, cell by cell from the left below, and words of the cells' middles."""
    return {
        "counts": found.counts.ravel().tolist(),
        "middles": [[text.score(at) for at in (edges[1:] + edges[:-1]) / 2] for edges in (found.a, found.b)],
        "ticks": [_ticks(edges, count) for edges, count in ((found.a, 7), (found.b, 6))],
    }


def _marks(found: Density, decided: pd.DataFrame) -> list[tuple[str, float, float, str]]:
    """People's decisions: action, places, words; those beyond the grid stand at its edge, as its cells do."""
    x, y = (
        _shares(edges, decided[name].to_numpy(dtype=np.float64)) for name, edges in (("a", found.a), ("b", found.b))
    )
    said = [
        f"{DECIDED[action]} by a person ({text.score(a)}, {text.score(b)})"
        for action, a, b in zip(decided["action"], decided["a"], decided["b"], strict=True)
    ]
    return list(zip(decided["action"], x.tolist(), y.tolist(), said, strict=True))


def _shares(edges: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where values lie between the first edge and the last, 0 … 1."""
    return np.clip((values - edges[0]) / (edges[-1] - edges[0]), 0, 1)


def _ticks(edges: NDArray[np.float64], count: int) -> list[tuple[float, str]]:
    """Round numbers between the first edge and the last, about `count` of them: where, and in words."""
    values = ticks(float(edges[0]), float(edges[-1]), count)
    places: Sequence[float] = _shares(edges, np.array(values)).tolist()
    return [(place, words(value)) for place, value in zip(places, values, strict=True)]
