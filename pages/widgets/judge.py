"""Deciding about samples by key: one large image or a grid. Every decision is on the disk before anything is redrawn.

A press decides only what was seen, once. Buttons belong to a turn: a press that comes late meets one of a turn that is
over and does nothing. A held key, a bouncing one, or one within `GUARD` seconds of drawing is swallowed, in the browser
(keys.js) and here. And every showing of a sample has a name, under which the database takes one event.
"""

from __future__ import annotations

import getpass
import math
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from mimic.data import NOUN
from mimic.reports import text
from mimic.workspace.decisions import Action, Decisions, Subject
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.review import Candidate
from mimic.workspace.thumbs import thumbnail
from pages.widgets import signin, state
from pages.widgets.component import component
from pages.widgets.frame import Chosen, on_change, tell

GUARD = 0.15
LARGE, TILE, GRID = 512, 160, 12

_keys = component("keys")


@dataclass(frozen=True)
class Desk:
    """Where somebody sits and decides.

    Attributes:
        published: the run that the samples come from.
        who: the person's name.
        source: the rule or audit that brings the samples up.
        blind: whether score and guesses are hidden.
        names: what keep and drop are called here.
    """

    chosen: Chosen
    published: Published
    decisions: Decisions
    who: str
    source: str
    blind: bool = False
    names: tuple[str, str] = ("Keep", "Drop")


def person() -> str:
    """The field with the person's name: the address of who is signed in; else as typed, by default the account's."""
    if signed_in := signin.address():
        st.text_input("Who decides", value=signed_in, disabled=True, width=170)
        return signed_in  # never what the browser says that the field holds
    if state.key("who") not in st.session_state:
        st.session_state[state.key("who")] = getpass.getuser()
    return str(st.text_input("Who decides", key=state.key("who"), width=170, max_chars=80)).strip() or "somebody"


def undo(desk: Desk) -> None:
    """Take back the person's latest decision, and show that sample again."""
    sample = desk.decisions.undo(desk.who, hold=True)
    if sample is None:
        tell("Nothing left to undo.", ":material/info:")
        return
    _next_turn(sample)


def again(samples: Sequence[int]) -> list[int]:
    """The samples in hand, one that was taken back first."""
    back = st.session_state.get("judge: again")
    return list(samples) if back is None else [back, *(sample for sample in samples if sample != back)]


def one(desk: Desk, candidates: Sequence[Candidate]) -> None:
    """One large image with its keys: K keep, D drop, L relabel, S skip, U undo, arrows to look further."""
    place = min(st.session_state.get("judge: place", 0), len(candidates) - 1)
    candidate = candidates[place]
    classes = desk.chosen.dataset.classes  # without any there is no other label to give
    picture, side = st.columns([5, 6], gap="large")
    with picture:
        _picture(desk.chosen, candidate, LARGE)
    with side:
        _words(desk, candidate)
        keep, drop = desk.names
        with st.container(horizontal=True, gap="small"):
            _button(desk, f"{keep}", "K", ":material/check:", lambda: _decide(desk, [candidate], "keep"), candidate)
            _button(desk, f"{drop}", "D", ":material/close:", lambda: _decide(desk, [candidate], "drop"), candidate)
            if classes:
                _button(desk, "Relabel", "L", ":material/edit:", lambda: _open_labels(candidate), candidate)
            _button(desk, "Skip", "S", ":material/skip_next:", lambda: _decide(desk, [candidate], "skip"), candidate)
            _button(desk, "Undo", "U", ":material/undo:", lambda: undo(desk), candidate)
        with st.container(horizontal=True, gap="small"):
            st.button(
                "Back", icon=":material/arrow_back:", shortcut="Left", key=f"back {candidate.sample}", type="tertiary",
                disabled=place == 0, on_click=_go, args=(place - 1,),
            )  # fmt: skip
            st.button(
                "Look at the next", icon=":material/arrow_forward:", shortcut="Right", key=f"next {candidate.sample}",
                type="tertiary", disabled=place == len(candidates) - 1, on_click=_go, args=(place + 1,),
            )  # fmt: skip
        if st.session_state.get("judge: relabels") == candidate.sample:
            _labels(desk, candidate)
        st.text_input("Why (optional)", key=f"why {candidate.sample}", max_chars=500)
    for following in candidates[place + 1 : place + 4]:  # made now, so that the next key finds them ready
        thumbnail(desk.chosen.dataset.root, following.path, desk.chosen.workspace.cache_folder, LARGE, enlarge=True)
    _drawn("kdlsu" if classes else "kdsu", candidate.sample)


def grid(desk: Desk, candidates: Sequence[Candidate]) -> None:
    """A dozen images to pick from; K and D decide about the picked ones."""
    first = candidates[0]
    keep, drop = desk.names

    def picked() -> list[Candidate]:
        return [one for one in candidates if st.session_state.get(f"pick {one.sample}")]

    def pick_all() -> None:
        for each in candidates:
            st.session_state[f"pick {each.sample}"] = True

    with st.container(horizontal=True, gap="small"):
        _button(desk, f"{keep} picked", "K", ":material/check:", lambda: _decide(desk, picked(), "keep"), first)
        _button(desk, f"{drop} picked", "D", ":material/close:", lambda: _decide(desk, picked(), "drop"), first)
        _button(desk, "Skip picked", "S", ":material/skip_next:", lambda: _decide(desk, picked(), "skip"), first)
        _button(desk, "Pick all", "A", ":material/select_all:", pick_all, first)
        _button(desk, "Undo", "U", ":material/undo:", lambda: undo(desk), first)
    for start in range(0, len(candidates), 6):
        for column, candidate in zip(st.columns(6, gap="small"), candidates[start : start + 6], strict=False):
            with column:
                _picture(desk.chosen, candidate, TILE)
                st.checkbox(text.markdown(_given(desk.chosen, candidate), 80), key=f"pick {candidate.sample}")
                if not desk.blind:
                    st.caption(text.score(candidate.score))
    _drawn("kdsau", first.sample)


def _button(desk: Desk, words: str, shortcut: str, icon: str, act: Callable[[], None], candidate: Candidate) -> None:
    st.button(
        words, icon=icon, shortcut=shortcut, key=f"{shortcut} {_turn()} {desk.source} {candidate.sample}",
        on_click=on_change(_guarded(act)),
    )  # fmt: skip


def _guarded(act: Callable[[], None]) -> Callable[[], None]:
    turn = _turn()

    def guarded() -> None:
        if turn == _turn() and time.monotonic() - st.session_state.get("judge: drawn", 0.0) >= GUARD:
            act()

    return guarded


def _drawn(keys: str, sample: int) -> None:
    """Everything stands: from now on the guard counts."""
    relabels = st.session_state.get("judge: relabels") == sample
    turn = f"{_turn()} {sample}"
    _keys(
        key="keys",
        data={"keys": keys, "guard": 1000 * GUARD, "turn": turn, "focus": f"label-{sample}" if relabels else None},
    )
    st.session_state["judge: drawn"] = time.monotonic()


def _decide(desk: Desk, candidates: Sequence[Candidate], action: Action, label: str | None = None) -> None:
    if not candidates:
        tell("Pick some first.", ":material/info:")
    for candidate in candidates:
        subject = Subject(candidate.sample, candidate.id, candidate.label, desk.published.run, desk.source)
        why = st.session_state.get(f"why {candidate.sample}", "")
        showing = f"{st.session_state['judge: session']}-{_turn()}-{candidate.sample}"
        desk.decisions.record(desk.who, action, subject, label=label, why=why, key=showing)
    if candidates:
        _next_turn(None)


def _turn() -> int:
    """How many decisions this session has seen through."""
    st.session_state.setdefault("judge: session", uuid.uuid4().hex[:16])
    return int(st.session_state.setdefault("judge: turn", 0))


def _next_turn(back: int | None) -> None:
    """What was shown is settled; nothing new is drawn yet."""
    st.session_state.update(
        {
            "judge: again": back,
            "judge: relabels": None,
            "judge: place": 0,
            "judge: turn": _turn() + 1,
            "judge: drawn": math.inf,
        }
    )


def _go(place: int) -> None:
    st.session_state["judge: place"] = place


def _open_labels(candidate: Candidate) -> None:
    st.session_state["judge: relabels"] = candidate.sample


def _labels(desk: Desk, candidate: Candidate) -> None:
    """The new label: type to find it; the reference's guesses come first."""
    first = [name for name in candidate.guesses if name != candidate.label]
    others = [name for name in desk.chosen.dataset.classes if name not in first and name != candidate.label]
    key = f"label-{candidate.sample}"

    def take() -> None:
        _decide(desk, [candidate], "relabel", st.session_state[key])

    st.selectbox(
        "New label", [*first, *others], index=None, key=key, on_change=on_change(take), format_func=text.plain,
        placeholder="type, or ↓ for the list (the reference's guesses first); Enter takes it",
    )  # fmt: skip


def _picture(chosen: Chosen, candidate: Candidate, size: int) -> None:
    image = thumbnail(chosen.dataset.root, candidate.path, chosen.workspace.cache_folder, size, enlarge=True)
    if image.uri:
        said = f"{text.plain(_given(chosen, candidate), 200)}, {text.plain(candidate.id, 80)}"
        st.image(image.uri, width="stretch", alt=said)
    elif chosen.dataset.has_images:
        st.warning(text.markdown(f"No picture: {image.reason}."), icon=":material/broken_image:")


def _given(chosen: Chosen, candidate: Candidate) -> str:
    """The label or caption that is judged."""
    noun = NOUN[chosen.published.task]
    words = candidate.caption if noun == "caption" else candidate.label
    return f"no {noun}" if words is None else words or f"empty {noun}"


def _words(desk: Desk, candidate: Candidate) -> None:
    captions = desk.published.task == "captions"
    if captions:
        st.markdown("**Given caption**")
        st.text(text.plain(_given(desk.chosen, candidate), 4000))
    else:
        label = text.plain(candidate.label, 40) if candidate.label is not None else "none"
        st.metric("Given label", label, border=True)
    if not desk.blind and not captions:
        guesses = ", ".join(text.plain(name, 40) for name in candidate.guesses) or "nothing it knows"
        st.text(f"The reference sees: {guesses}")
    if not desk.blind:
        st.caption(f"{text.markdown(desk.chosen.signal)} {text.score(candidate.score)}")
    st.text(text.plain(candidate.id, 200))
    standing = desk.decisions.decision(candidate.sample)
    if standing is not None and not desk.blind:
        st.caption(text.markdown(f"Decided: {standing.action} by {standing.who}", 200))
