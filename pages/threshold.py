"""Threshold: one line on one signal, what it keeps, and what lies on both sides of it."""

from collections.abc import Mapping
from functools import partial

import pandas as pd
import streamlit as st

from mimic.errors import MimicError
from mimic.evaluation import verdicts
from mimic.evaluation.audit import Judgement
from mimic.filters.expression import expression
from mimic.filters.rules import read_rule
from mimic.filters.signal_rules import ThresholdRule
from mimic.reports import exports, text
from mimic.workspace.audits import Audit, list_audits
from mimic.workspace.decisions import Decision, Decisions, standing
from mimic.workspace.filters import NamedFilter, list_filters, save_filter
from mimic.workspace.queries.dense import Dense
from mimic.workspace.queries.threshold import Line, beside, class_balance, line_at, line_keeping, truth_at
from pages.widgets import bars, frame, gallery, levels, line_fields, state

TILES = 20
SHOWN = 20

chosen = frame.choose("threshold", "Threshold")
published, signal, colours = chosen.published, chosen.signal, frame.colours()
scored = line_keeping(published, signal, 0).scored
table = Dense(chosen.workspace, chosen.dataset)
frame.cautions(table, ThresholdRule(run=chosen.run.id, signal=signal, threshold=0.0))


def move(unit: line_fields.Unit, value: float) -> None:
    """The line is where this unit says."""
    if unit == "score":
        value = line_at(published, signal, value).kept
    elif unit == "share":
        value = value / 100 * scored
    state.change(keep=round(value))


def save(line: Line) -> None:
    """Keep the line as a named filter."""
    name = st.session_state[state.key("name")].strip()
    rule = ThresholdRule(run=chosen.run.id, signal=signal, threshold=line.score)
    counts = {"kept": line.kept, "dropped": line.dropped, "not_scored": line.not_scored}
    replace = st.session_state.get(state.key("replace"), False)
    save_filter(chosen.workspace, name, chosen.dataset.name, rule.model_dump(), counts, replace=replace)
    st.session_state["saved line"] = (name, chosen.address, line.score)
    st.session_state["just saved"] = True


def saved(one: NamedFilter) -> None:
    """One saved filter: what it does, the way back to it, and its files."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", border=True):
        try:
            rule = read_rule(one.rule)
            table = Dense(chosen.workspace, chosen.workspace.dataset(one.dataset))
            for run in rule.runs:
                table.published(run)
        except MimicError as error:
            st.markdown(f"**{text.markdown(one.name)}**", width="stretch")
            st.caption(text.markdown(str(error), 300), width="content")
            return
        st.markdown(
            f"**{text.markdown(one.name)}** :small[{text.markdown(rule.words, 160)} · "
            f"{text.count(one.counts['kept'])} kept, {text.count(one.counts['dropped'])} dropped, "
            f"{text.count(one.counts['not_scored'])} not scored]",
            width="stretch",
        )
        shown = {"dataset": one.dataset}
        if isinstance(rule, ThresholdRule):
            shown |= {"run": rule.run, "signal": rule.signal, "keep": str(one.counts["kept"])}
        else:
            shown |= {"run": min(rule.runs), "rule": expression(rule)}
        st.page_link(
            f"pages/{'threshold' if 'keep' in shown else 'combine'}.py",
            label="Show",
            icon=":material/visibility:",
            query_params=shown,
        )
        for form in ("parquet", "csv"):
            st.download_button(
                {"parquet": "Parquet", "csv": "CSV"}[form],
                lambda form=form: exports.export_bytes(table, rule, form),
                f"{one.name}.{form}",
                icon=":material/download:",
                key=f"{form} {one.name}",
                on_click="ignore",
                help="Every sample with its score and whether it is kept",
            )
        st.download_button(
            "Rule",
            exports.rule_bytes(one),
            f"{one.name}.json",
            icon=":material/download:",
            key=f"rule {one.name}",
            on_click="ignore",
            help="The rule and its counts",
        )


# --- the line and what it does --------------------------------------------------------------------------------------
@frame.part
def the_line() -> None:
    """All that moves with the line."""
    asked = round(state.number("keep", round(0.8 * scored)) or 0)
    line = line_keeping(published, signal, asked)
    state.put(keep=line.kept)
    audit, judgement = audited(line)
    left, right = st.columns([3, 2], gap="large")
    with left:
        cut(line, judgement)
        line_fields.show(line, signal, move, key=f"fields {chosen.run.id} {signal}")
        if 0 <= asked < line.kept:
            st.caption(
                f"{text.count(line.kept)} are kept, not {text.count(asked)}: samples of the same score are never split."
            )
        naming(line)
    with right:
        counted(line)
        if audit is not None and judgement is not None:
            with st.container(border=True, gap="small"):
                st.markdown(f"**At this line, by audit {text.markdown(audit.name)}**")
                st.markdown(text.markdown(judgement.sentence, 400))
                st.page_link(
                    "pages/audit.py",
                    label="The audit",
                    icon=":material/fact_check:",
                    query_params=chosen.address | {"filter": audit.name},
                )
        if chosen.dataset.classes:
            st.markdown("**Kept of each class** :small[the least kept first]")
            labels, _ = table.labels()  # asked for each time: forty megabytes are not this page's to keep
            balance = class_balance(published, signal, line.score, labels)
            levels.balance(balance, colours, key=f"balance {chosen.run.id} {signal}")
    found = beside(published, signal, line.score, TILES)
    decided = standing(chosen.workspace, chosen.dataset, [*found[0]["sample"], *found[1]["sample"]])
    for column, name, rows in zip(st.columns(2, gap="large"), ("Dropped", "Kept"), found, strict=True):
        with column:
            side(line, name, rows, decided)
    state.leave("threshold", chosen.address | {"keep": str(line.kept)})  # as words, for 0 is a place like any other
    if st.session_state.pop("just saved", False):
        st.rerun()  # the list below has one more


def audited(line: Line) -> tuple[Audit | None, Judgement | None]:
    """The audit of this signal, and what its verdicts say at the line."""
    audit = next((one for one in list_audits(chosen.workspace, chosen.run.id) if one.signal == signal), None)
    if audit is None:
        return None, None
    said = verdicts.recorded(Decisions(chosen.workspace, chosen.dataset), audit)
    return audit, verdicts.judge_lines(published, audit, said, [line.score])[0]


def cut(line: Line, judgement: Judgement | None) -> None:
    """The signal's bars, cut by the line, with what an audit says of it."""
    note = ""
    if judgement is not None and judgement.enough:
        shares = {"precision": judgement.precision, "recall": judgement.recall}
        note = ", ".join(f"{name} {100 * one.low:.0f} – {100 * one.high:.0f}%" for name, one in shares.items())
    bars.lined(published, signal, line, colours, partial(move, "count"), decided=frame.decided(chosen), note=note)


def naming(line: Line) -> None:
    """Where the line is saved as a filter."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.text_input("Save as", key=state.key("name"), placeholder="letters, digits, . _ -", width=260)
        st.button("Save this line", icon=":material/save:", on_click=frame.on_change(partial(save, line)))
        st.checkbox("Replace one of that name", key=state.key("replace"))
    name, *of = st.session_state.get("saved line", (None,))
    if of == [chosen.address, line.score]:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.success(f"Saved {text.markdown(name)}: {text.count(line.kept)} kept.", icon=":material/check:")
            for page, label, icon, asked in (
                ("review", "Review what it drops", "rate_review", {"queue": f"dropped {name}"}),
                ("audit", "Audit it", "fact_check", {"filter": name}),
                ("export", "Export it", "download", {"filter": name}),
            ):
                shown = chosen.address | asked
                st.page_link(f"pages/{page}.py", label=label, icon=f":material/{icon}:", query_params=shown)


def counted(line: Line) -> None:
    """How many are kept and dropped, and how many of them rightly."""
    cards = st.columns(2, gap="small")
    cards[0].metric(":blue[:material/check:] Kept", text.count(line.kept), border=True)
    cards[1].metric(":orange[:material/close:] Dropped", text.count(line.dropped), border=True)
    if published.has_truth:
        truth = truth_at(published, signal, line.score)
        cards = st.columns(2, gap="small")
        cards[0].metric(
            "Dropped that are wrong", text.percent(truth.precision), border=True, help="Precision of dropping"
        )
        cards[1].metric("Wrong ones dropped", text.percent(truth.recall), border=True, help="Recall of dropping")
    if line.not_scored:
        st.caption(f"{text.count(line.not_scored)} are not scored: exported as kept, and counted apart.")


def side(line: Line, name: str, rows: pd.DataFrame, decided: Mapping[int, Decision]) -> None:
    """The samples nearest to the line that are dropped, or kept."""
    dropped = name == "Dropped"
    where = f"just {'below' if dropped else 'above'} the line"
    st.markdown(f"**{name}**, {where}")
    gallery.show(
        chosen,
        rows,
        colours,
        key=f"side {name}",
        name=f"{name} samples {where}",
        edge=[colours.dropped if dropped else colours.kept],
        tile=92,
        empty=f"Nothing is {name.lower()}.",
        decided=decided,
    )
    ends = {"high" if dropped else "low": repr(line.score), "order": "highest" if dropped else "lowest"}
    st.page_link(
        "pages/explore.py",
        label=f"All that is {name.lower()}, in Explore",
        icon=":material/grid_view:",
        query_params=chosen.address | ends,
    )


the_line()

# --- keep it --------------------------------------------------------------------------------------------------------
st.subheader("Named filters", anchor=False)
found = list_filters(chosen.workspace, chosen.dataset.name)
if not found:
    st.caption("None yet. A filter is a rule, not a list: it can be opened again here and exported as Parquet or CSV.")
for one in found[:SHOWN]:
    saved(one)
if len(found) > SHOWN:
    st.caption(f"The newest {SHOWN} of {len(found)}.")
