"""Who drops together (UpSet plot): a bar a combination, the dots below say whose, the bars on the left each one's."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mimic.reports import text
from mimic.reports.palette import Palette
from pages.widgets.component import component

LARGEST = 24  # combinations shown

_figure = component(
    "upset",
    """
<div class="figure" role="group" aria-label="How many samples each combination of the filters drops">
  <ul class="members" aria-label="Dropped by each"></ul>
  <ul class="combinations" aria-label="Dropped together"></ul>
  <span class="tip" aria-hidden="true"></span>
</div>""",
)


def show(
    combinations: pd.DataFrame, dropped: Sequence[int], names: Sequence[str], colours: Palette, *, key: str
) -> None:
    """Draw the bars; one that is pointed at says who drops it, and how much of it is wrong.

    Args:
        combinations: as `Crossing.combinations` gives it; what nobody drops is left out, and so are all but the
            `LARGEST` most frequent ones.
        dropped: how many each member drops.
        names: of the members.
    """
    called = [text.plain(name, 30) for name in names]
    shown = combinations[combinations["drops"].map(len) > 0].head(LARGEST)
    columns = [
        {
            "samples": samples,
            "drops": drops,
            "words": f"{samples:,} dropped by {' and '.join(called[place] for place in drops)} only"
            + (f", {wrong / known:.0%} wrong" if known else ""),
        }
        for drops, samples, known, wrong in shown[["drops", "samples", "known", "wrong"]].itertuples(index=False)
    ]
    members = [
        {"name": name, "dropped": number, "words": f"{name}: {number:,} dropped"}
        for name, number in zip(called, dropped, strict=True)
    ]
    named = {name: getattr(colours, name) for name in ("dropped", "text", "muted", "grid", "ground")}
    _figure(key=key, data={"members": members, "combinations": columns, "colours": named})
