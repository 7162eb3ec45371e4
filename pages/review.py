"""Review: settle doubtful samples one by one, by key, together with others."""

import math
from functools import partial

import streamlit as st

from mimic.evaluation import ruling
from mimic.filters.expression import expression, parse
from mimic.filters.rules import read_rule
from mimic.reports import text
from mimic.workspace.decisions import Decisions
from mimic.workspace.filters import list_filters
from mimic.workspace.queries.dense import Dense
from mimic.workspace.queries.gallery import Where
from mimic.workspace.queries.review import Queue
from pages.widgets import frame, judge, state

IN_HAND = 8
VIEWS = {"one": "One image", "grid": "A grid"}

chosen = frame.choose("review", "Review")
published, decisions = chosen.published, Decisions(chosen.workspace, chosen.dataset)
rules = {
    one.name: rule
    for one in list_filters(chosen.workspace, chosen.dataset.name)
    if chosen.run.id in (rule := read_rule(one.rule)).runs
}
ORDERS = {
    "lowest": "Lowest scores first",
    "highest": "Highest scores first",
    "nearest": "Nearest to a score",
    "random": "At random",
    "unscored": "Not scored",
}
queues = dict(ORDERS)
state.text("rule")
state.one_of("side", ("kept", "dropped"))
if written := state.get("rule"):  # a link from Compare: what one rule keeps or drops, which nobody has saved
    queues |= {"rule": f"What {written} " + {"kept": "keeps", "dropped": "drops"}[state.get("side")]}
queues |= {f"line {name}": f"Nearest to the line of {name}" for name, rule in rules.items() if rule.is_line}
queues |= {f"dropped {name}": f"What {name} drops, from the highest score down" for name in rules}


def queue_of(which: str) -> Queue:
    """The queue of that name, over the brushed region where there is one."""
    own = [(chosen.signal, "low", "high")] if which != "unscored" else []
    ranges = []
    for signal, *ends in (*own, *((name, f"{name}.from", f"{name}.to") for name in state.get("limit"))):
        low, high = (state.number(end) for end in ends)
        if (low, high) != (None, None):
            ranges.append((signal, -math.inf if low is None else low, math.inf if high is None else high))
    where = Where(
        ranges=tuple(ranges),
        labels=tuple(state.get("class")),
        text=str(state.get("text")),
        wrong={"wrong": True, "right": False}.get(state.get("truth")),
    )
    kind, _, name = which.partition(" ")
    near, seed = state.number("near", 0.0) or 0.0, int(state.number("seed", 0) or 0)
    if which in ORDERS:
        return Queue(published, chosen.signal, which, where, near=near, seed=seed)
    table = Dense(chosen.workspace, chosen.dataset)
    if which == "rule":
        asked = parse(written, ruling.scope(table, chosen.run.id))
        return Queue(
            published, chosen.signal, "highest", Where(), listed=ruling.on_side(asked, table, state.get("side"))
        )
    rule = rules[name]
    drawn = rule.line(table) if kind == "line" else None
    if drawn is not None:
        column, score = drawn
        return Queue(published, column.signal, "nearest", where, near=score)
    own = [column.signal for column in rule.columns if column.run == chosen.run.id]
    return Queue(
        published, (own or [chosen.signal])[0], "highest", Where(), listed=ruling.on_side(rule, table, "dropped")
    )


state.some_of("class", chosen.dataset.classes)
state.some_of("limit", [name for name in published.signals if name != chosen.signal])
state.text("text")
state.one_of("truth", ("any", "wrong", "right") if published.has_truth else ("any",))


with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
    which = st.selectbox(
        "Queue", list(queues), key=state.one_of("queue", list(queues)), format_func=queues.get, width=360
    )
    view = st.selectbox("View", list(VIEWS), key=state.one_of("view", list(VIEWS)), format_func=VIEWS.get, width=130)
    who = judge.person()
wanted = queue_of(which)
limits = [f"{signal} {text.interval(*bounds)}" for signal, *bounds in wanted.where.ranges]
limits += [f"class {', '.join(wanted.where.labels)}"] if wanted.where.labels else []
limits += [f"with {wanted.where.text}"] if wanted.where.text else []
limits += [{True: "wrong", False: "right"}[wanted.where.wrong]] if wanted.where.wrong is not None else []
if limits:
    st.badge(text.markdown(" · ".join(limits), 300), icon=":material/filter_alt:")
rule = rules.get(which.partition(" ")[2])
what = (which, wanted.where, wanted.near, wanted.seed, written, rule and expression(rule))
key = f"queue {published.published_at} {published.run} {wanted.signal} {what}"
# the queue at hand alone is remembered: of ten million samples its list may take 40 MB a visitor
if st.session_state.get("queue", ("",))[0] != key:
    st.session_state["queue"] = key, wanted
_, queue = st.session_state["queue"]
# what an event says it came from: a filter's name may be given again, so its rule stands beside it
source = [queues[which], *([chosen.signal] if which in ORDERS else []), *limits]
source += [expression(rule, chosen.run.id)] if rule else []
desk = judge.Desk(chosen, published, decisions, who, text.plain(" · ".join(source), 400))


@st.fragment
def work() -> None:
    """What is done so far, and what is in hand: a key draws only this."""
    with frame.sentences():
        counts = decisions.counts()
        relabel = "L relabel, " if chosen.dataset.classes else ""
        other = f" · {text.count(counts['relabel'])} relabel" if relabel else ""
        keys = {"one": f"K keep, D drop, {relabel}S skip, U undo, arrows look on"}
        keys |= {"grid": "A pick all; K keep, D drop, S skip what is picked; U undo"}
        st.caption(
            f"Decided in this data set: {text.count(counts['keep'])} keep · {text.count(counts['drop'])} drop{other}. "
            f"Keys: {keys[view]}."
        )
        samples = judge.again(queue.take(decisions, who, IN_HAND if view == "one" else judge.GRID))
        if not samples:
            st.success("This queue is done, or the rest is in other people's hands.", icon=":material/done_all:")
            st.button("Undo", icon=":material/undo:", shortcut="U", on_click=frame.on_change(partial(judge.undo, desk)))
            return
        found = queue.known.get(samples, queue.page)
        (judge.one if view == "one" else judge.grid)(desk, found)


work()
if st.toggle("Show the log", key="log"):
    log = decisions.history(limit=500)
    st.dataframe(log, hide_index=True, alt="Every decision and undoing, the latest first")
    st.caption("The newest 500 events; nothing is ever overwritten.")
state.leave(
    "review",
    chosen.address
    | {"queue": which, "view": view if view != "one" else None, "side": state.get("side") if written else None}
    | {name: state.get(name) for name in ("low", "high", "near", "seed", "class", "text", "rule", "limit")}
    | {end: state.get(end) for name in state.get("limit") for end in (f"{name}.from", f"{name}.to")}
    | {"truth": state.get("truth") if state.get("truth") != "any" else None},
)
