"""Explore: how a signal is spread; brush the bars and the gallery follows."""

import math

import streamlit as st

from mimic.data import NOUN
from mimic.reports import figures, text
from mimic.workspace.queries import gallery as samples
from mimic.workspace.queries.histogram import histogram, snap
from mimic.workspace.queries.summary import signal_summary
from pages.widgets import frame, gallery, state

SPLITS = {"none": "Together", "class": "By class", "truth": "By truth"}
ORDERS = {"lowest": "Lowest first", "highest": "Highest first", "nearest": "Nearest to", "random": "Random"}
ORDERS |= {"unscored": "Not scored"}

chosen = frame.choose("explore", "Explore")
published, signal, colours = chosen.published, chosen.signal, frame.colours()
noun, classes = NOUN[published.task], chosen.dataset.classes
truths = {"any": "Any", "wrong": f"Wrong {noun}", "right": f"Right {noun}"}
scope = f"{chosen.run.id} {signal}"
if state.get("scope") not in (None, scope):  # a brush or a place in the gallery belongs to one signal of one run
    state.put(low=None, high=None, after=None, before=None)
state.put(scope=scope)
low, high = state.number("low"), state.number("high")
bounds = (-math.inf if low is None else low, math.inf if high is None else high)
brushed = bounds != (-math.inf, math.inf)
chart_key = f"bars {scope} {state.get('cleared') or 0}"


def to_first_page() -> None:
    """What is asked for has changed, so the place in the old order means nothing."""
    state.change(after=None, before=None)


def brush() -> None:
    """The chart's selection has changed: take its whole bars, or everything where it was lifted."""
    boxes = st.session_state[chart_key]["selection"]["box"]
    start, stop = boxes[0]["x"] if boxes else (-math.inf, math.inf)
    ends = snap(histogram(published, signal), float(start), float(stop)) if boxes else (start, stop)
    state.change(**{name: None if math.isinf(end) else end for name, end in zip(("low", "high"), ends, strict=True)})
    to_first_page()


def clear() -> None:
    """Lift the brush. The chart gets a new key, or it would go on showing the old one."""
    state.change(low=None, high=None, cleared=(state.get("cleared") or 0) + 1)
    to_first_page()


# --- the bars -------------------------------------------------------------------------------------------------------
state.switch("log")
splits = [name for name in SPLITS if {"truth": published.has_truth, "class": bool(classes)}.get(name, True)]
facts = signal_summary(published).set_index("signal").loc[signal]
with st.container(horizontal=True, vertical_alignment="center", gap="small"):
    split = st.segmented_control(
        "Bars", splits, key=state.one_of("split", splits), format_func=SPLITS.get, label_visibility="collapsed",
        required=True,
    )  # fmt: skip
    logarithmic = split != "class" and st.toggle("Log heights", key=state.key("log"))
    if brushed:
        st.badge(f"{signal} {text.interval(*bounds)}", icon=":material/select:", color="primary")
        st.button("Clear the brush", icon=":material/close:", type="tertiary", on_click=clear)
    else:
        st.caption("Drag across the bars to choose scores.", width="content")
    st.space("stretch")
    st.caption(
        f"{text.count(facts['scored'])} scored · {text.count(facts['not_scored'])} not scored · "
        f"median {text.score(facts['median'])} · {text.percent(facts['positive'])} above 0",
        width="content",
    )
bars = histogram(published, signal, split)
window = bounds if brushed else None
if split == "class":
    figure = figures.histogram_by_class(bars, colours, signal, chosen=window)
else:
    decided = frame.decided(chosen)
    figure = figures.histogram(bars, colours, signal, chosen=window, logarithmic=logarithmic, decided=decided)
figure.update_layout(dragmode="select", selectdirection="h")
st.plotly_chart(
    figure,
    key=chart_key,
    on_select=frame.on_change(brush),
    selection_mode="box",
    config=figures.CONFIG,
    alt=f"Histogram of {signal}, {SPLITS[split].lower()}",
)

# --- what the gallery shows -----------------------------------------------------------------------------------------
near, truth = 0.0, "any"
labels: list[str] = []
with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
    wanted = {"format_func": ORDERS.get, "on_change": to_first_page, "width": 150}
    order = st.selectbox("Order", list(ORDERS), key=state.one_of("order", list(ORDERS)), **wanted)
    if order == "nearest":
        state.number("near", float(facts["median"]))
        near = st.number_input("Score", key=state.key("near"), format="%.5g", width=130, on_change=to_first_page)
    elif order == "random":
        state.number("seed", 0)
        st.number_input("Draw", 0, 9999, key=state.key("seed"), step=1, format="%d", width=110, on_change=to_first_page)
    if classes:
        labels = st.multiselect(
            "Classes", classes, key=state.some_of("class", classes), placeholder="All", width=200,
            on_change=to_first_page,
        )  # fmt: skip
    columns = "in caption, id, columns" if noun == "caption" else "in id or columns"
    words = st.text_input("Text", key=state.text("text"), placeholder=columns, width=160, on_change=to_first_page)
    if published.has_truth:
        wanted["format_func"] = truths.get
        truth = st.selectbox("Truth", list(truths), key=state.one_of("truth", list(truths)), **wanted)
    others = [name for name in published.signals if name != signal]
    state.some_of("limit", others)
    limited = {name: [state.number(f"{name}.{end}") for end in ("from", "to")] for name in state.get("limit")}
    st.space("stretch")
    with st.popover(f"Other signals ({len(limited)})" if limited else "Other signals", icon=":material/tune:"):
        st.multiselect("Limit", others, key=state.key("limit"), placeholder="Signals", on_change=to_first_page)
        for name in limited:
            for column, end in zip(st.columns(2), ("from", "to"), strict=True):
                label = f"{text.markdown(name)} {end}"
                column.number_input(
                    label, value=None, key=state.key(f"{name}.{end}"), format="%.5g", on_change=to_first_page
                )
seed = int(state.get("seed") or 0) if order == "random" else 0
state.text("after")
state.text("before")
where = samples.Where(
    ranges=(
        *([(signal, *bounds)] if brushed and order != "unscored" else []),
        *((name, -math.inf if a is None else a, math.inf if b is None else b) for name, (a, b) in limited.items()),
    ),
    labels=tuple(labels),
    text=words.strip(),
    wrong={"wrong": True, "right": False}.get(truth),
)


def turn(name: str, cursor: samples.Cursor | None) -> None:
    """Turn the page: `name` says which way."""
    state.change(**{"after": "", "before": "", name: str(cursor)})


# what Review takes from here: the brush, classes, text and truth
queue = {"queue": order, "low": low, "high": high, "class": labels, "text": words}
queue |= {
    "near": near if order == "nearest" else None,
    "seed": seed or None,
    "truth": truth if truth != "any" else None,
}


@st.fragment
def page_of_samples() -> None:
    """The count, the pager and the tiles: paging draws nothing else again."""
    with frame.sentences():
        at = {name: samples.Cursor.parse(state.get(name)) if state.get(name) else None for name in ("after", "before")}
        page = samples.gallery_page(published, signal, order, where, **at, near=near, seed=seed)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            matching = text.count(samples.count_matching(published, signal, where, scored=order != "unscored"))
            said = "says what is wrong with a caption" if noun == "caption" else "gives the true label of a wrong one"
            legend = f" · ≠ {said}" if published.has_truth else ""
            st.markdown(f"**{matching}** samples:small[{legend}]", width="stretch")
            st.page_link(
                "pages/review.py",
                label="Review these",
                icon=":material/rate_review:",
                query_params=chosen.address | state.written_out(queue),
                help="Settle them one by one, in this order",
            )
            ways = {"Previous": ("before", page.before, "chevron_left"), "Next": ("after", page.after, "chevron_right")}
            for words_, (name, cursor, icon) in ways.items():
                st.button(
                    words_, icon=f":material/{icon}:", disabled=cursor is None, on_click=turn, args=(name, cursor)
                )
        gallery.show(chosen, page.rows, colours, key="gallery", name=f"Samples by {signal}, {ORDERS[order].lower()}")
        view = {"split": split if split != "none" else None, "log": logarithmic, "low": low, "high": high}
        view |= {"order": order, "near": near if order == "nearest" else None, "seed": seed or None}
        view |= {"class": labels, "text": words, "truth": truth if truth != "any" else None}
        view |= {"limit": list(limited)}
        view |= {
            f"{name}.{end}": value for name in limited for end, value in zip(("from", "to"), limited[name], strict=True)
        }
        state.leave("explore", chosen.address | view | {name: state.get(name) for name in at})


page_of_samples()
