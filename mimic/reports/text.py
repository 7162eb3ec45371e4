"""Numbers and other people's words as pages show them: readable, aligned, and text whatever characters they hold."""

from __future__ import annotations

import math
import re

_MINUS = "−"
_SHORT_CODE = re.compile(r"\\:(?=[\w\\])")
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def count(value: float) -> str:
    """A number of things: ``12,345``."""
    return f"{round(value):,}".replace("-", _MINUS)


def score(value: float | None, significant: int = 4) -> str:
    """A score with so many significant digits and a true minus sign: ``−0.01234``; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else f"{_MINUS}∞"
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{significant - 1}e}".replace("-", _MINUS)
    digits = max(significant - 1 - math.floor(math.log10(abs(value))), 0) if value else significant - 1
    return f"{value:,.{digits}f}".replace("-", _MINUS)


def percent(share: float | None, digits: int = 1) -> str:
    """A share of 0 … 1 as ``73.4%``; a dash where there is none. Only a true 0 or 1 shows as 0 or 100."""
    if share is None or math.isnan(share):
        return "–"
    shown, step = 100 * share, 10.0**-digits
    if 0 < share < 1:
        shown = min(max(shown, step), 100 - step)
    return f"{shown:.{digits}f}%".replace("-", _MINUS)


def estimated(value: float, low: float, high: float) -> str:
    """A figure of 0 … 1 with its interval, ``0.952 (0.943–0.960)``; a dash for what is not known."""
    if math.isnan(value):
        return "–"
    return f"{value:.3f} ({'–' if math.isnan(low) or math.isnan(high) else f'{low:.3f}–{high:.3f}'})"


def duration(seconds: float | None) -> str:
    """A span of time in its two largest units: ``3 h 20 min``, ``4 min 05 s``, ``12 s``; a dash where there is none."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"


def interval(low: float, high: float) -> str:
    """A range of scores: ``−0.1 … 0.2``, ``below 0.2``, ``from −0.1``, or ``all scores``."""
    if math.isinf(low) and math.isinf(high):
        return "all scores"
    if math.isinf(low):
        return f"below {score(high)}"
    return f"from {score(low)}" if math.isinf(high) else f"{score(low)} … {score(high)}"


def plain(text: str, longest: int = 200) -> str:
    """Somebody's text on one line: control and direction marks out, cut where it is long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def markdown(text: str, longest: int = 200) -> str:
    """Somebody's text inside Markdown, without its effects: no link, image, formula, icon or HTML comes of it."""
    # A joiner after a colon before a word: short codes such as :smile: are looked for after escapes are gone.
    return _SHORT_CODE.sub("\\:\u2060", _PUNCTUATION.sub(r"\\\1", plain(text, longest)))
