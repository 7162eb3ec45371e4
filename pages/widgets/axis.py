"""Where an axis has its marks."""

from __future__ import annotations

import math


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers from `low` to `high`, which is more, about `count` of them."""
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(times * unit for times in (1, 2, 5, 10) if times * unit >= rough)
    return [float(f"{place * step:.12g}") for place in range(math.ceil(low / step), math.floor(high / step) + 1)]


def words(tick: float) -> str:
    """A mark as it is written."""
    return f"{tick:.12g}".replace("-", "−")
