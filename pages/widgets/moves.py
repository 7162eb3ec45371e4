"""What somebody has moved in the browser, told with a number: a page that answers an older move throws nothing back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from pages.widgets import frame


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
