"""A part of a page that is ours: markup, style and script of its own, which lie beside this file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from pages.widgets import frame

_HERE = Path(__file__).parent


def component(name: str, html: str | None = None) -> Callable[..., Any]:
    """The component whose script is shared.js and NAME.js, and whose style, if it has markup, is NAME.css."""
    return st.components.v2.component(
        f"mimic-{name.replace('_', '-')}",
        html=html,
        css=_read(f"{name}.css") if html else None,
        js=_read("shared.js") + _read(f"{name}.js"),
    )


def on_move(key: str, name: str, take: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
    """A callback for what somebody has moved in the browser, told as the trigger `name` with a number, its turn.

    Args:
        take: called with what the browser told, which may be whatever it likes.
    """

    def moved() -> None:
        told = st.session_state[key].get(name)
        if isinstance(told, dict) and isinstance(told.get("turn"), int):
            st.session_state[f"{key} turn"] = told["turn"]
            take(told)

    return frame.on_change(moved)


def turn(key: str) -> int:
    """The turn that the page which is drawn now answers."""
    return int(st.session_state.get(f"{key} turn", 0))


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
