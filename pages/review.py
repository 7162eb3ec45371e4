"""Review: settle doubtful samples one by one, by key, together with others."""

import math

import streamlit as st

from mimic.evaluation import ruling
from mimic.filters.expression import expression
from mimic.filters.rules import read_rule
from mimic.reports import text
from mimic.workspace.decisions import Decisions
from mimic.workspace.filters import list_filters
from mimic.workspace.queries.dense import Dense
from mimic.workspace.queries.gallery import Where
from mimic.workspace.queries.review import Known, Queue
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
queues = {"lowest": "Lowest scores first", "highest": "Highest scores first", "random": "At random"}
queues |= {f"line {name}": f"Nearest to the line of {name}" for name, rule in rules.items() if rule.is_line}
queues |= {f"dropped {name}": f"What {name} drops, from the highest score down" for name in rules}


def queue_of(which: str) -> Queue:
    """The queue of that name, over the brushed region where there is one."""
    low, high = state.number("low"), state.number("high")
    bounds = (-math.inf if low is None else low, math.inf if high is None else high)
    where = Where(ranges=((chosen.signal, *bounds),) if bounds != (-math.inf, math.inf) else ())
    kind, _, name = which.partition(" ")
    if not name:
        return Queue(published, chosen.signal, which, where)
    table, rule = Dense(chosen.workspace, chosen.dataset), rules[name]
    drawn = rule.line(table) if kind == "line" else None
    if drawn is not None:
        column, score = drawn
        return Queue(published, column.signal, "nearest", where, near=score)
    own = [column.signal for column in rule.columns if column.run == chosen.run.id]
    return Queue(published, (own or [chosen.signal])[0], "highest", Where(), listed=ruling.dropped(rule, table))


with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
    which = st.selectbox(
        "Queue", list(queues), key=state.one_of("queue", list(queues)), format_func=queues.get, width=360
    )
    view = st.selectbox("View", list(VIEWS), key=state.one_of("view", list(VIEWS)), format_func=VIEWS.get, width=130)
    who = judge.person()
wanted = queue_of(which)
if wanted.where.ranges and which in ("lowest", "highest", "random"):
    st.badge(
        f"{text.markdown(chosen.signal)} {text.interval(*wanted.where.ranges[0][1:])}", icon=":material/select:",
    )  # fmt: skip
rule = rules.get(which.partition(" ")[2])
key = (
    f"queue {published.published_at} {published.run} {wanted.signal} {which} {wanted.where} {rule and expression(rule)}"
)
queue = st.session_state.setdefault(key, wanted)
known = st.session_state.setdefault(
    f"known {published.published_at} {published.run} {queue.signal}", Known(published, queue.signal)
)
desk = judge.Desk(chosen, published, decisions, who, text.plain(queues[which], 200))


@st.fragment
def work() -> None:
    """What is done so far, and what is in hand: a key draws only this."""
    with frame.sentences():
        counts = decisions.counts()
        relabel = "L relabel, " if chosen.dataset.classes else ""
        st.caption(
            f"Decided in this data set: {text.count(counts['keep'])} keep · {text.count(counts['drop'])} drop · "
            f"{text.count(counts['relabel'])} relabel. Keys: K keep, D drop, {relabel}S skip, U undo, arrows look on."
        )
        samples = judge.again(queue.take(decisions, who, IN_HAND if view == "one" else judge.GRID))
        if not samples:
            st.success("This queue is done, or the rest is in other people's hands.", icon=":material/done_all:")
            st.button("Undo", icon=":material/undo:", shortcut="U", on_click=judge.undo, args=(desk,))
            return
        found = known.get(samples, queue.page)
        (judge.one if view == "one" else judge.grid)(desk, found)


work()
if st.toggle("Show the log", key="log"):
    log = decisions.history(limit=500)
    st.dataframe(log, hide_index=True, alt="Every decision and undoing, the latest first")
    st.caption("The newest 500 events; nothing is ever overwritten.")
state.leave(
    "review",
    chosen.address
    | {"queue": which, "view": view if view != "one" else None, "low": state.get("low"), "high": state.get("high")},
)
