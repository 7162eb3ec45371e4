"""Explore: how a signal is spread; brush the bars and the gallery follows."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from mimic.data import NOUN
from mimic.filters.expression import expression
from mimic.filters.steps import within
from mimic.reports import text
from mimic.workspace.queries import gallery as samples
from mimic.workspace.queries.summary import signal_summary
from pages.widgets import bars, frame, gallery, state

SPLITS = {"none": "Together", "class": "By class", "truth": "By truth"}
ORDERS = {"lowest": "Lowest first", "highest": "Highest first", "nearest": "Nearest to", "random": "Random"}
ORDERS |= {"unscored": "Not scored"}
EVERYTHING = (-math.inf, math.inf)

chosen = frame.choose("explore", "Explore")
published, signal, colours = chosen.published, chosen.signal, frame.colours()
noun, classes = NOUN[published.task], chosen.dataset.classes
truths = {"any": "Any", "wrong": f"Wrong {noun}", "right": f"Right {noun}"}
scope = f"{chosen.run.id} {signal}"
if state.get("scope") not in (None, scope):  # a brush or a place in the gallery belongs to one signal of one run
    state.put(low=None, high=None, after=None, before=None)
state.put(scope=scope)
summary = signal_summary(published).set_index("signal")
facts = summary.loc[signal]


def to_first_page() -> None:
    """What is asked for has changed, so the place in the old order means nothing."""
    state.change(after=None, before=None)


def brush(low: float | None, high: float | None) -> None:
    """Show the samples between two scores; None where open."""
    if state.get("scope") == scope:  # not that of bars that are gone, which a browser that is drawn late has sent
        state.change(low=low, high=high)
        to_first_page()


def as_rule(where: samples.Where) -> str | None:
    """What keeps these samples alone, to be saved and exported; None where labels, text or truth take part."""
    if where.needs_samples or not where.ranges:
        return None
    return expression(within(chosen.run.id, where.ranges, summary["low"]), chosen.run.id)


def turn(name: str, cursor: samples.Cursor | None) -> None:
    """Turn the page: `name` says which way."""
    state.change(**{"after": "", "before": "", name: str(cursor)})


@dataclass(frozen=True)
class Asked:
    """What the gallery shows, and the part of the address that says so."""

    where: samples.Where
    order: samples.Order
    near: float
    seed: int
    address: dict[str, Any]


# --- the bars -------------------------------------------------------------------------------------------------------
def spread(bounds: tuple[float, float]) -> dict[str, Any]:
    """The signal's bars, to be brushed. Returns the part of the address that says how they are drawn."""
    brushed = bounds != EVERYTHING
    state.switch("log")
    splits = [name for name in SPLITS if {"truth": published.has_truth, "class": bool(classes)}.get(name, True)]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        split = st.segmented_control(
            "Bars", splits, key=state.one_of("split", splits), format_func=SPLITS.get, label_visibility="collapsed",
            required=True,
        )  # fmt: skip
        logarithmic = split != "class" and st.toggle("Log heights", key=state.key("log"))
        if brushed:
            st.badge(f"{signal} {text.interval(*bounds)}", icon=":material/select:", color="primary")
        else:
            st.caption("Drag across the bars to choose scores.", width="content")
        # there without a brush too, or the bars would move down under the hand that brushes them
        st.button(
            "Clear the brush", icon=":material/close:", type="tertiary", disabled=not brushed, on_click=brush,
            args=(None, None),
        )  # fmt: skip
        st.space("stretch")
        st.caption(
            f"{text.count(facts['scored'])} scored · {text.count(facts['not_scored'])} not scored · "
            f"median {text.score(facts['median'])} · {text.percent(facts['positive'])} above 0",
            width="content",
        )
    bars.brushed(
        published, signal, split, bounds, colours, brush, decided=frame.decided(chosen), logarithmic=logarithmic
    )
    return {"split": split if split != "none" else None, "log": logarithmic}


# --- what the gallery shows -----------------------------------------------------------------------------------------
def ask(low: float | None, high: float | None) -> Asked:
    """Order and filters."""
    near, truth = 0.0, "any"
    labels: list[str] = []
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        wanted: dict[str, Any] = {"format_func": ORDERS.get, "on_change": to_first_page, "width": 150}
        order = st.selectbox("Order", list(ORDERS), key=state.one_of("order", list(ORDERS)), **wanted)
        if order == "nearest":
            state.number("near", float(facts["median"]))
            near = st.number_input("Score", key=state.key("near"), format="%.5g", width=130, on_change=to_first_page)
        elif order == "random":
            state.number("seed", 0)
            st.number_input(
                "Draw", 0, 9999, key=state.key("seed"), step=1, format="%d", width=110, on_change=to_first_page
            )
        if classes:
            labels = st.multiselect(
                "Classes", classes, key=state.some_of("class", classes), placeholder="All", width=200,
                on_change=to_first_page,
            )  # fmt: skip
        columns = "in caption, id, columns" if noun == "caption" else "in id or columns"
        words = st.text_input(
            "Text", key=state.text("text"), placeholder=columns, width=160, on_change=to_first_page
        ).strip()
        if published.has_truth:
            wanted["format_func"] = truths.get
            truth = st.selectbox("Truth", list(truths), key=state.one_of("truth", list(truths)), **wanted)
        limited = limits()
    seed = int(state.get("seed") or 0) if order == "random" else 0
    ends = [(signal, *bounds_of(low, high))] if (low, high) != (None, None) and order != "unscored" else []
    where = samples.Where(
        ranges=(*ends, *((name, *bounds_of(*both)) for name, both in limited.items())),
        labels=tuple(labels),
        text=words,
        wrong={"wrong": True, "right": False}.get(truth),
    )
    address: dict[str, Any] = {"low": low, "high": high, "near": near if order == "nearest" else None}
    address |= {"seed": seed or None, "class": labels, "text": words, "truth": truth if truth != "any" else None}
    address |= {"limit": list(limited)}
    for name, both in limited.items():
        address |= dict(zip((f"{name}.from", f"{name}.to"), both, strict=True))
    return Asked(where, order, near, seed, address)


def limits() -> dict[str, tuple[float | None, float | None]]:
    """Limits of the run's other signals, from and to."""
    others = [name for name in published.signals if name != signal]
    state.some_of("limit", others)
    limited = {name: (state.number(f"{name}.from"), state.number(f"{name}.to")) for name in state.get("limit")}
    st.space("stretch")
    with st.popover(f"Other signals ({len(limited)})" if limited else "Other signals", icon=":material/tune:"):
        st.multiselect("Limit", others, key=state.key("limit"), placeholder="Signals", on_change=to_first_page)
        for name in limited:
            for column, end in zip(st.columns(2), ("from", "to"), strict=True):
                column.number_input(
                    f"{text.markdown(name)} {end}", value=None, key=state.key(f"{name}.{end}"), format="%.5g",
                    on_change=to_first_page,
                )  # fmt: skip
    return limited


def bounds_of(low: float | None, high: float | None) -> tuple[float, float]:
    return -math.inf if low is None else low, math.inf if high is None else high


@frame.part
def view() -> None:
    """Bars, filters and tiles: a brush draws all of these, for they are what it changes."""
    low, high = state.number("low"), state.number("high")
    shown = spread(bounds_of(low, high))
    asked = ask(low, high)
    state.text("after")
    state.text("before")
    matching = samples.count_matching(published, signal, asked.where, scored=asked.order != "unscored")
    frame.part(partial(page_of_samples, shown, asked, matching, as_rule(asked.where)))()


def page_of_samples(shown: dict[str, Any], asked: Asked, matching: int, rule: str | None) -> None:
    """The count, the pager and the tiles: paging draws nothing else again."""
    order = asked.order
    at = {name: samples.Cursor.parse(state.get(name)) if state.get(name) else None for name in ("after", "before")}
    page = samples.gallery_page(published, signal, order, asked.where, **at, near=asked.near, seed=asked.seed)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        said = "says what is wrong with a caption" if noun == "caption" else "gives the true label of a wrong one"
        legend = f" · ≠ {said}" if published.has_truth else ""
        st.markdown(f"**{text.count(matching)}** samples:small[{legend}]", width="stretch")
        st.page_link(
            "pages/review.py",
            label="Review these",
            icon=":material/rate_review:",
            query_params=chosen.address | state.written_out(asked.address | {"queue": order}),
            help="Settle them one by one, in this order",
        )
        if rule:
            st.page_link(
                "pages/combine.py",
                label="As a filter",
                icon=":material/filter_alt:",
                query_params=chosen.address | {"rule": rule},
                help="A rule that keeps these alone: look at it, save it, export it",
            )
        ways = {"Previous": ("before", page.before, "chevron_left"), "Next": ("after", page.after, "chevron_right")}
        for words, (name, cursor, icon) in ways.items():
            st.button(words, icon=f":material/{icon}:", disabled=cursor is None, on_click=turn, args=(name, cursor))
    gallery.show(chosen, page.rows, colours, key="gallery", name=f"Samples by {signal}, {ORDERS[order].lower()}")
    state.leave("explore", chosen.address | shown | asked.address | {"order": order} | dict(at))


view()
