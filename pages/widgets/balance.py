"""What a line does to each class: a bar a class, kept and dropped, the least kept first."""

from __future__ import annotations

import pandas as pd

from mimic.reports import text
from mimic.reports.palette import Palette
from pages.widgets.component import component

_figure = component(
    "balance", "<figure><ol></ol><figcaption>share of the class's scored samples, %</figcaption></figure>"
)


def show(balance: pd.DataFrame, colours: Palette, *, key: str, most: int = 10) -> None:
    """Draw the bars.

    Args:
        balance: as `queries.threshold.class_balance` gives it.
        most: classes shown at most.
    """
    shown = balance.head(most)
    rows = [
        {"name": text.plain(label, 40) if label else "no label", "kept": int(kept), "dropped": int(dropped)}
        for label, kept, dropped in zip(shown["label"], shown["kept"], shown["dropped"], strict=True)
    ]
    _figure(key=key, data={"rows": rows, "kept": colours.kept, "dropped": colours.dropped})
