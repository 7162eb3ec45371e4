"""Colours with one meaning each, told apart by colour-blind eyes (after Okabe & Ito) and readable on light and dark.

No colour stands alone: a word, a place or a line says the same.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Palette:
    """What each colour means.

    Attributes:
        kept, dropped: the two sides of a line.
        reference: the reference model and what it says.
        right, wrong: given labels whose truth is known.
        neutral, faint: counts without a meaning of their own, and what lies outside a selection.
        text, muted, grid, ground: writing, secondary writing, lines, and what lies behind all.
        ramp: from nothing to most, for densities.
    """

    kept: str
    dropped: str
    reference: str
    right: str
    wrong: str
    neutral: str
    faint: str
    text: str
    muted: str
    grid: str
    ground: str
    ramp: tuple[str, ...]


LIGHT = Palette(
    kept="#0072B2",
    dropped="#D55E00",
    reference="#00805C",
    right="#8A97AB",
    wrong="#B2468C",
    neutral="#6C7A92",
    faint="#CBD2DC",
    text="#1C2130",
    muted="#5B6577",
    grid="#E4E8EF",
    ground="#FFFFFF",
    ramp=("#FFFFFF", "#DCE3EE", "#A9B8D0", "#6F86AB", "#3C5480", "#1C2A4A"),
)
DARK = Palette(
    kept="#56B4E9",
    dropped="#F28E4B",
    reference="#5BE0B5",
    right="#7E8CA3",
    wrong="#E58CC4",
    neutral="#93A1B8",
    faint="#3A4456",
    text="#E8EBF2",
    muted="#A3ADBF",
    grid="#2A3242",
    ground="#11141B",
    ramp=("#12161F", "#232E42", "#3B4E70", "#6480AE", "#9DB6DD", "#E3ECFA"),
)


def palette(theme: str | None) -> Palette:
    """The palette of a theme, ``"light"`` or ``"dark"``; light where it is not known."""
    return DARK if theme == "dark" else LIGHT
