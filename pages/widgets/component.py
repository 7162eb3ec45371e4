"""A part of a page that is ours: markup, style and script of its own, which lie beside this file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

_HERE = Path(__file__).parent


def component(name: str, html: str | None = None) -> Callable[..., Any]:
    """The component whose script is shared.js and NAME.js, and whose style, if it has markup, is NAME.css."""
    return st.components.v2.component(
        f"mimic-{name.replace('_', '-')}",
        html=html,
        css=_read(f"{name}.css") if html else None,
        js=_read("shared.js") + _read(f"{name}.js"),
    )


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
