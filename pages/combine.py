"""Combine: a rule over several signals and filters, built step by step or written down, with what each step leaves."""

import json

import streamlit as st

from mimic.errors import MimicError
from mimic.evaluation import ruling
from mimic.filters.expression import expression, notes, parse
from mimic.filters.mean_rules import Draw, MeanRule
from mimic.filters.rule import Rule
from mimic.filters.rules import VotesRule, diagnostics, read_rule
from mimic.filters.signal_rules import Best, ShareRule, SplitRule
from mimic.filters.steps import Step, joined, steps_of
from mimic.reports import text
from mimic.workspace.decisions import overruling
from mimic.workspace.filters import list_filters, save_filter
from mimic.workspace.queries.dense import Dense, Truth
from mimic.workspace.queries.gallery import rows_of
from pages.widgets import copied, frame, gallery, state
from pages.widgets import steps as builder

TILES = 15

chosen = frame.choose("combine", "Combine")
colours, run = frame.colours(), chosen.run.id
table = Dense(chosen.workspace, chosen.dataset)
columns = sorted(ruling.columns_of(table), key=lambda column: column.run != run)  # those at hand first
scope = ruling.scope(table, run)
start = ShareRule(run=run, signal=chosen.signal, best=Best(share=0.8))
saved = {one.name: one for one in list_filters(chosen.workspace, chosen.dataset.name)}
state.text("rule", expression(start))


def taken_up(rule: Rule, *, anew: bool = True) -> dict[str, object]:
    """The state that shows a rule; `anew` begins another turn, so that every widget shows it."""
    said = expression(rule)
    return {"rule": said, "shown": said, "turn": (state.get("turn") or 0) + anew, "mistake": ""}


def show(rule: Rule, *, anew: bool = True) -> None:
    """Somebody has made the rule this one."""
    state.change(**taken_up(rule, anew=anew))


def write() -> None:
    """The expression was edited; a mistake is said under the box, which keeps what was written."""
    try:
        made = parse(st.session_state[f"written {state.get('turn')}"], scope)
    except MimicError as error:
        state.change(mistake=str(error))
    else:
        show(made)


def write_json() -> None:
    """The JSON was edited."""
    try:
        written = json.loads(st.session_state[f"json {state.get('turn')}"])
    except (ValueError, RecursionError) as error:
        raise MimicError(f"this is not JSON ({str(error)[:100]})") from None
    if not isinstance(written, dict):
        raise MimicError("a rule is a JSON object with a kind")
    show(read_rule(written))


def add(step: Step) -> None:
    """One more step at the end."""
    show(joined([*steps_of(rule), step]))


def save() -> None:
    """Keep the rule as a named filter."""
    name = st.session_state[state.key("name")].strip()
    counts = ruling.outcome(rule, table).counts
    replace = st.session_state.get(state.key("replace"), False)
    save_filter(chosen.workspace, name, chosen.dataset.name, rule.model_dump(mode="json"), counts, replace=replace)
    frame.tell(f"Saved as {text.markdown(name)}: {text.count(counts['kept'])} kept.", ":material/check:")


try:
    rule = parse(state.get("rule"), scope)
except MimicError as error:
    st.error(text.markdown(str(error), 600), icon=":material/error:")
    st.caption("Begun anew with the chosen signal.")
    rule = start
if state.get("shown") != expression(rule):  # by a link, or Back
    state.put(**taken_up(rule))
turn = state.get("turn")
frame.cautions(table, rule)

# --- the steps ------------------------------------------------------------------------------------------------------
outcomes = [ruling.outcome(joined(steps_of(rule)[: place + 1]), table) for place in range(len(steps_of(rule)))]
found = outcomes[-1]
left, right = st.columns([5, 3], gap="large")
with left:
    builder.rows(
        rule,
        table,
        columns,
        turn,
        lambda made: show(made, anew=len(steps_of(made)) != len(steps_of(rule))),
        [
            f"leaves {text.count(one.kept)} kept · {text.count(one.dropped)} dropped · "
            f"{text.count(one.not_scored)} not scored"
            for one in outcomes
        ],
    )
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        unused = next((column for column in columns if column not in rule.columns), start.column)
        further = ShareRule(**unused.model_dump(), best=start.best)
        st.button(
            "A signal", icon=":material/add:", on_click=frame.on_change(lambda: add(("and", further))), key="add signal"
        )
        others = [column for column in columns if column != start.column][:1]
        two = (start.column, *others)
        if others:
            st.button(
                "A mean",
                icon=":material/add:",
                key="add mean",
                help="Of the normal scores, ranks or scores of several signals",
                on_click=frame.on_change(lambda: add(("and", MeanRule(signals=two, draw=Draw(by="top", at=0.8))))),
            )
            votes = VotesRule(rules=tuple(SplitRule(**column.model_dump()) for column in two), how="dawid_skene")
            st.button(
                "A vote",
                icon=":material/add:",
                key="add vote",
                help="Several signals, each split by a mixture, by majority or by the label model",
                on_click=frame.on_change(lambda: add(("and", votes))),
            )
        if saved:
            name = st.selectbox("A filter", list(saved), index=None, placeholder="a saved filter", width=220)
            for words, act in (("Add", lambda of: add(("minus", of))), ("Open", show)):
                st.button(
                    words,
                    key=f"filter {words}",
                    disabled=name is None,
                    on_click=frame.on_change(lambda act=act: act(read_rule(saved[name].rule))),
                )
    ready = {"The rule that suits this run": ruling.default_rule(table, run), **ruling.ready_made(table)}
    with st.container(horizontal=True, gap="small"):
        for words, made in ready.items():
            st.button(
                words, icon=":material/bolt:", type="tertiary", on_click=frame.on_change(lambda made=made: show(made)),
            )  # fmt: skip

# --- what it does ---------------------------------------------------------------------------------------------------
with right:
    cards = st.columns(3, gap="small")
    cards[0].metric(":blue[:material/check:] Kept", text.count(found.kept), border=True)
    cards[1].metric(":orange[:material/close:] Dropped", text.count(found.dropped), border=True)
    cards[2].metric("Not scored", text.count(found.not_scored), border=True, help="Exported as kept, counted apart")
    st.caption(f"Drops what is: {text.markdown(rule.votes(table).reason, 400)}")
    truth: Truth | None = table.truth()
    judge = "the truth"
    if truth is None:
        truth = ruling.verdicts(table, overruling(chosen.workspace, chosen.dataset))
        judge = "people's decisions, which are no random draw"
    if truth is not None:
        quality = ruling.against(rule, table, truth)
        cards = st.columns(2, gap="small")
        cards[0].metric("Dropped that are wrong", text.percent(quality.precision), border=True, help=f"By {judge}")
        cards[1].metric("Wrong ones dropped", text.percent(quality.recall), border=True, help=f"By {judge}")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.text_input("Save as", key=state.key("name"), placeholder="letters, digits, . _ -", width=220)
        st.button("Save", icon=":material/save:", on_click=frame.on_change(save))
        st.checkbox("Replace one of that name", key=state.key("replace"))
    kept_as = next((one.name for one in saved.values() if one.rule == rule.model_dump(mode="json")), None)
    if kept_as is not None:
        st.caption(f"This rule is saved as {text.markdown(kept_as)}.")
        with st.container(horizontal=True, gap="small"):
            for page, icon, query in (
                ("compare", "compare_arrows", {"a": f"filter {kept_as}"}),
                ("review", "rate_review", {"queue": f"dropped {kept_as}"}),
                ("audit", "fact_check", {"filter": kept_as}),
                ("export", "download", {"filter": kept_as}),
            ):
                st.page_link(
                    f"pages/{page}.py",
                    label=page.capitalize(),
                    icon=f":material/{icon}:",
                    query_params=chosen.address | query,
                )

# --- the same, written down -----------------------------------------------------------------------------------------
st.session_state.setdefault(f"written {turn}", expression(rule, run))
if state.get("last written") != expression(rule):
    st.session_state[f"written {turn}"] = expression(rule, run)
    st.session_state[f"json {turn}"] = rule.model_dump_json(indent=2)
    state.put(**{"last written": expression(rule)})
st.text_area("The rule, to read and to edit", key=f"written {turn}", on_change=frame.on_change(write), height=80)
if mistake := state.get("mistake"):
    st.error(text.markdown(mistake, 600), icon=":material/error:")
for note in notes(rule, run):
    st.caption(text.markdown(f"Note: {note}.", 300))
with st.expander("As JSON, as a command, and those who have a say"):
    one, other = st.columns(2, gap="large")
    one.text_area("JSON", key=f"json {turn}", on_change=frame.on_change(write_json), height=260)
    with other:
        words = f"mimic filter {run} --rule '{expression(rule, run)}' --name NAME{chosen.workspace.option}"
        copied.show(words, key="command")
        if st.toggle("Who says what", key="voters"):
            good, known = (None, None) if truth is None else (~truth.wrong, truth.known)
            st.dataframe(diagnostics(rule, table, good, known), hide_index=True, alt="Coverage, conflict, accuracy")
            st.caption("Estimated: accuracy by the label model, without any truth. Accuracy: against it, where known.")

# --- both sides -----------------------------------------------------------------------------------------------------
for column, (side, samples) in zip(st.columns(2, gap="large"), ruling.both_sides(rule, table, TILES), strict=True):
    with column:
        low = "lowest" if side == "kept" else "highest"
        st.markdown(f"**{side.capitalize()}** :small[the {low} scores first: the closest calls]")
        cards = rows_of(table.published(min(rule.runs)), samples)
        gallery.show(
            chosen,
            cards.assign(score=rule.score(table)[samples]),
            colours,
            key=f"side {side}",
            name=f"Samples {side}",
            edge=[colours.kept if side == "kept" else colours.dropped],
            tile=92,
            empty=f"Nothing is {side}.",
        )
state.leave("combine", chosen.address | {"rule": expression(rule)})
