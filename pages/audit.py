"""Audit: from a few blind verdicts on random samples, how good a filter is, with intervals that cover."""

from functools import partial

import streamlit as st

from mimic.data import NOUN
from mimic.evaluation import verdicts as judged
from mimic.evaluation.audit import Interval
from mimic.filters.rules import read_rule
from mimic.reports import evaluate_figures, text
from mimic.workspace.audits import list_audits
from mimic.workspace.decisions import Decisions
from mimic.workspace.queries.dense import Dense
from mimic.workspace.queries.review import Known
from pages.widgets import curves, frame, judge, state

IN_HAND = 8

chosen = frame.choose("audit", "Audit", by_filter=True)
decisions, colours = Decisions(chosen.workspace, chosen.dataset), frame.colours()
found = frame.filters_of(chosen, "audit")
with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
    name = st.selectbox(
        "Filter", list(found), key=state.one_of("filter", list(found)), format_func=text.plain, width=260
    )
    who = judge.person()
    asked = st.number_input("Samples to judge", 10, 100_000, 200, 10, key="asked", width=150)
    draw = st.button(
        "Draw",
        icon=":material/casino:",
        key="draw",
        help="Again with a larger number: as many more; the verdicts so far stay",
    )
rule = read_rule(found[name].rule)
table = Dense(chosen.workspace, chosen.dataset)
if draw:
    with frame.sentences():
        judged.begin(table, name, rule, int(asked))
audit = next((one for one in list_audits(chosen.workspace) if one.name == name), None)
if audit is None:
    st.info(
        "How good is this filter? Choose how many samples you will judge, and press Draw. Half of them come from what "
        "it drops, half from what it keeps; they are judged in a random order, without their scores.",
        icon=":material/casino:",
    )
    state.leave("audit", chosen.address | {"filter": name})
    st.stop()
published = table.published(audit.run)
signal = audit.signal or published.main
frame.rule_words(name, rule)
noun = NOUN[published.task]
st.caption(
    f"Is the given {noun} right? About half of the samples are dropped by the filter, half are kept. "
    f"Keys: K good, D bad, {'L relabel, ' if noun == 'label' else ''}S cannot tell, U undo."
)
known = st.session_state.setdefault(
    f"known {published.published_at} {published.run} {signal}", Known(published, signal)
)
desk = judge.Desk(chosen, published, decisions, who, audit.source, blind=True, names=("Good", "Bad"))


def result(title: str, share: Interval, meaning: str, hint: str) -> None:
    """One share with its interval, and what would narrow it."""
    st.metric(title, f"{text.percent(share.low, 0)} – {text.percent(share.high, 0)}", border=True, help=meaning)
    st.caption(f"estimate {text.percent(share.estimate)}{hint}")


def narrower(more: int | None) -> str:
    """What would narrow an interval to ±5 points."""
    if more == 0:
        return " · within ±5 points"
    return f" · ±5 points take {'far' if more is None else f'about {text.count(more)}'} more verdicts"


@st.fragment
def work() -> None:
    """The next sample to judge, then what the verdicts say so far."""
    with frame.sentences():
        said = judged.recorded(decisions, audit)
        st.progress(len(said) / len(audit.samples), f"{len(said):,} of {len(audit.samples):,} judged")
        waiting = [sample for sample in audit.samples if sample not in said]
        samples = judge.again(decisions.claim(who, waiting, IN_HAND, source=audit.source))
        if samples:
            judge.one(desk, known.get(samples, waiting))
        else:
            st.success("Every drawn sample is judged, or in other people's hands.", icon=":material/done_all:")
            st.button("Undo", icon=":material/undo:", shortcut="U", on_click=frame.on_change(partial(judge.undo, desk)))


work()
if st.toggle("Show what the verdicts say", key="results"):
    said = judged.recorded(decisions, audit)
    (at_line,) = judged.judge_lines(published, audit, said, [audit.line])
    st.markdown(text.markdown(at_line.sentence, 400))
    if at_line.enough:
        columns = st.columns(3, gap="small")
        with columns[0]:
            hint = narrower(at_line.more_for_precision())
            result("Precision", at_line.precision, "The bad ones among the dropped", hint)
        with columns[1]:
            result("Recall", at_line.recall, "The dropped ones among the bad", narrower(at_line.more_for_recall()))
        with columns[2]:
            result("Bad in all", at_line.bad_share, "The bad ones among all scored samples", "")
        if audit.signal is not None:
            lines = judged.curve(published, audit, said)
            curves.show(
                evaluate_figures.audit(lines, colours, audit.signal, audit.line),
                colours,
                key=f"curve {audit.name}",
                alt="Precision and recall of other lines, with their intervals",
            )
    st.caption(
        "An interval holds for a number of verdicts settled beforehand, not for stopping when it looks good. Verdicts "
        "are decisions too: at export they overrule the filter, unless that is switched off."
    )
state.leave("audit", chosen.address | {"filter": name})
