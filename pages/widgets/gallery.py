"""A grid of samples that open when they are clicked. Pictures travel as data URIs, words as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import pandas as pd

from mimic.data import NOUN
from mimic.reports import text
from mimic.reports.palette import Palette
from mimic.workspace.decisions import Decision, standing
from mimic.workspace.thumbs import Thumbnail, thumbnails
from pages.widgets.component import component
from pages.widgets.frame import Chosen

_grid = component("gallery", '<div class="grid" role="group"></div>')


def show(
    chosen: Chosen,
    rows: pd.DataFrame,
    colours: Palette,
    *,
    key: str,
    name: str,
    scores: Mapping[str, str] | None = None,
    edge: Sequence[str] = (),
    tile: int = 116,
    empty: str = "No sample matches.",
    decided: Mapping[int, Decision] | None = None,
) -> None:
    """Draw the tiles; a click leads to the sample's own page.

    Args:
        rows: the columns of `given.card` and those of `scores`, in order; at most 96.
        name: what this gallery is, for those who cannot see it.
        scores: column → word before the score, one or two; by default ``score`` without a word.
        edge: colours along each tile's top, side by side.
        tile: least width of a tile in pixels.
        empty: what to say where there are no rows.
        decided: what people decided of these samples and maybe others (`decisions.standing`); None: it is asked for.
    """
    scores = scores or {"score": ""}
    if decided is None:
        decided = standing(chosen.workspace, chosen.dataset, [int(sample) for sample in rows["sample"]])
    pictures = thumbnails(chosen.dataset.root, list(rows["path"]), chosen.workspace.cache_folder)
    tiles = [
        _tile(chosen, row, scores, edge, decided.get(int(row["sample"])), picture)
        for row, picture in zip(rows.to_dict("records"), pictures, strict=True)
    ]
    marks = chosen.published.has_truth
    data = {"tiles": tiles, "name": name, "tile": tile, "empty": empty, "marks": marks, "markColour": colours.wrong}
    _grid(key=key, data=data)


def verdict(decision: Decision) -> str:
    """What people decided, in a word or two."""
    if decision.action == "relabel":
        return f"→ {text.plain(decision.label or '', 40)}"
    return "✓ keep" if decision.action == "keep" else "✕ drop"


def _tile(
    chosen: Chosen,
    row: dict[Any, Any],
    scores: Mapping[str, str],
    edge: Sequence[str],
    decision: Decision | None,
    picture: Thumbnail,
) -> dict[str, Any]:
    noun = NOUN[chosen.published.task]
    words = row["caption" if noun == "caption" else "label"]
    label = (
        text.plain(words, 80 if noun == "label" else 400) if words else f"{'no' if words is None else 'empty'} {noun}"
    )
    mark = f"≠ {text.plain(row['fault'] or row['truth'] or '', 40)}" if row["wrong"] else ""
    digits = 4 if len(scores) == 1 else 3
    decided = verdict(decision) if decision else ""
    shown = [f"{word} {text.score(row[column], digits)}".strip() for column, word in scores.items()]
    said = [f"{label} {mark}".strip(), *shown, decided, text.plain(row["id"], 80)]
    return {
        "href": "sample?" + urlencode({**chosen.address, "sample": int(row["sample"])}),
        "uri": picture.uri,
        "small": picture.small,
        "reason": picture.reason if chosen.published.has_images else label,
        "wraps": noun == "caption",
        "alt": ", ".join(part for part in said if part),
        "decided": decided,
        "scores": shown,
        "label": label if chosen.published.has_images else "",
        "mark": mark,
        "edge": list(edge),
    }
