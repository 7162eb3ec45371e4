"""A part of a page that is ours: markup, style and script of its own, which lie beside this file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

_HERE = Path(__file__).parent


def component(name: str, html: str | None = None) -> Callable[..., Any]:
    """The component whose script is NAME.js, and whose style, if it has markup, is NAME.css."""
    script, style = (_HERE / f"{name}.{ending}" for ending in ("js", "css"))
    return st.components.v2.component(
        f"mimic-{name.replace('_', '-')}",
        html=html,
        css=style.read_text(encoding="utf-8") if html else None,
        js=script.read_text(encoding="utf-8"),
    )
