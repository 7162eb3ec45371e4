"""The view's state in the address: a link reopens what it shows, and Back undoes a step.

Who is right when they differ? Where the address is not the one we left (a link, Back, another page), the address is;
otherwise the widgets are, and the address follows. (Streamlit's own binding leaves entries that Back stumbles over.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.scriptrunner import get_script_run_ctx

from mimic.reports import text as words

# What goes along from page to page; everything else belongs to one page.
CARRIED = ("dataset", "run", "signal")

_LEFT = "state: as left"
_FRESH = "state: arrived"
_KEPT = "state: carried"
_NOTES = "state: notes"
_CHANGED = "state: changed"
_THEME = "state: theme"

# What a part of the address names, as a sentence calls it.
_NOUNS = {"dataset": "data set", "run": "published run of this data set", "signal": "signal in this run"}
_NOUNS |= {"a": "filter", "b": "other signal or filter", "also": "further signal or filter", "training": "training run"}


def arrive(page: str, notes: DeltaGenerator) -> None:
    """Call first on every page: finds out whether the address or the widgets are right.

    Args:
        notes: where sentences go about parts of the address that name nothing.
    """
    left = st.session_state.get(_LEFT)
    changed = st.session_state.pop(_CHANGED, False) and left is not None and left[0] == page
    # A dark browser asks for a page twice, and may draw the second answer alone: that too must set its widgets.
    theme = st.context.theme.type
    themed = st.session_state.get(_THEME) != theme
    st.session_state[_THEME] = theme
    st.session_state[_FRESH] = (left != (page, _address()) or themed) and not changed
    st.session_state.setdefault(_KEPT, {})
    st.session_state[_NOTES] = notes


def key(name: str) -> str:
    """The session's key of a part of the state, fit to be a widget's."""
    return f"state: {name}"


def one_of(name: str, options: Sequence[str], default: str | None = None) -> str:
    """Set a choice before its widget is made: from the address, else the widget, else the last page, else the default.

    Returns:
        The widget's key.
    """
    present = st.query_params.get(name) if st.session_state[_FRESH] else st.session_state.get(key(name))
    for value in (present, st.session_state[_KEPT].get(name), default, *options):
        if value in options:
            put(**{name: value})
            if st.session_state[_FRESH] and present not in (None, value):
                _note(f"No {_NOUNS.get(name, name)} {present!r} here; showing {value}.")
            break
    return key(name)


def some_of(name: str, options: Sequence[str]) -> str:
    """The same for a choice of several, by default none."""
    present = st.query_params.get_all(name) if st.session_state[_FRESH] else st.session_state.get(key(name), [])
    put(**{name: [value for value in present if value in options]})
    for value in set(present) - set(options):
        _note(f"No {_NOUNS.get(name, name)} {value!r} here; it is left out.")
    return key(name)


def text(name: str, default: str = "") -> str:
    """The same for a text."""
    present = st.query_params.get(name) if st.session_state[_FRESH] else st.session_state.get(key(name))
    put(**{name: default if present is None else present})
    return key(name)


def number(name: str, default: float | None = None) -> float | None:
    """The same for a number, whether a widget holds it or not; what is not a finite number counts as `default`."""
    present = st.query_params.get(name) if st.session_state[_FRESH] else st.session_state.get(key(name))
    try:
        value = default if present is None else float(present)
    except ValueError:
        value = default
        _note(f"{present!r} in the address is no number for {name!r}; it is left out.")
    put(**{name: value if value is not None and math.isfinite(value) else default})
    return st.session_state[key(name)]


def switch(name: str) -> bool:
    """The same for something that is on or off, by default off."""
    present = st.query_params.get(name) == "True" if st.session_state[_FRESH] else st.session_state.get(key(name))
    put(**{name: bool(present)})
    return bool(present)


def get(name: str) -> Any:
    """A part of the state as it is now."""
    return st.session_state.get(key(name))


def put(**values: Any) -> None:
    """Set parts of the state before their widgets are made.

    What is so already is left alone: a widget that is set takes that value, and someone who types or drags on while the
    page is drawn would be thrown back. On arrival all is set, for another page's widget of that name is another widget;
    and so is what the browser has never sent along: it may have lost the first answer for the second before it had the
    widget's code, which then showed its own default and made that the choice.
    """
    for name, value in values.items():
        if (
            st.session_state.get(_FRESH)
            or key(name) not in st.session_state
            or get(name) != value
            or not _is_shown(key(name))
        ):
            st.session_state[key(name)] = value


def _is_shown(widget: str) -> bool:
    """Whether the browser sent the widget's value along with what is being answered: Streamlit has no word for it."""
    context = get_script_run_ctx()
    if context is None:
        return False
    try:
        state = context.session_state._state
        return state._key_id_mapper.get_id_from_key(widget) in state._new_widget_state.states
    except AttributeError:  # another version of Streamlit: a chooser that comes late is then on its own
        return True


def change(**values: Any) -> None:
    """`put` from a callback, for what somebody has just done on this page.

    A browser that has not yet heard of the address that was left last sends the one before it along; without this it
    would be taken for a link, and thrown back to what that says.
    """
    st.session_state[_CHANGED] = True
    put(**values)


def leave(page: str, values: Mapping[str, Any]) -> None:
    """Call last: the address takes the page's state; None, empty and false parts are left out.

    A page that was only arrived at keeps its address, or Back could never leave it.
    """
    for name in CARRIED:
        if values.get(name):
            st.session_state[_KEPT][name] = values[name]
    written = written_out(values)
    if not st.session_state[_FRESH] and written != _address():
        st.query_params.from_dict(written)
    st.session_state[_LEFT] = (page, _address())
    st.session_state[_FRESH] = st.session_state[_CHANGED] = False  # a part of a page is drawn anew without `arrive`


def written_out(values: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """A state as an address holds it: what is None, empty or false is left out."""
    return {name: _written(value) for name, value in values.items() if value not in (None, "", [], (), False)}


def _note(sentence: str) -> None:
    st.session_state[_NOTES].warning(words.markdown(sentence, 400), icon=":material/link_off:")


def _written(value: Any) -> str | list[str]:
    if isinstance(value, (list, tuple)):
        return [str(part) for part in value]
    return repr(value) if isinstance(value, float) else str(value)


def _address() -> dict[str, str | list[str]]:
    every = {name: st.query_params.get_all(name) for name in st.query_params}
    return {name: values[0] if len(values) == 1 else values for name, values in every.items()}
