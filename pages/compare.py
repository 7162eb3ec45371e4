"""Compare: signals that keep as many samples, and named filters: where they agree, and where the argument is."""

from dataclasses import dataclass

import pyarrow as pa
import streamlit as st

from mimic.data import NOUN
from mimic.evaluation import ruling
from mimic.filters.expression import expression
from mimic.filters.rule import Rule
from mimic.filters.rules import AndRule, MinusRule, OrRule, read_rule
from mimic.filters.signal_rules import Best, ShareRule
from mimic.reports import evaluate_figures, text
from mimic.workspace.decisions import overruling, standing
from mimic.workspace.filters import list_filters
from mimic.workspace.queries.compare import CELLS, MOST, Agreement, Crossing
from mimic.workspace.queries.decided import decided_pairs
from mimic.workspace.queries.dense import Dense
from mimic.workspace.queries.gallery import rows_of
from pages.widgets import curves, frame, gallery, plane, state, upset
from pages.widgets.runs import short_names

TILES, CLASSES = 12, 200
# cell → what it means, and what A and B decide
MEANING = {
    "only A drops": ("B would keep these", "dropped", "kept"),
    "only B drops": ("A would keep these", "kept", "dropped"),
    "both drop": ("both call these bad", "dropped", "dropped"),
    "both keep": ("both call these good", "kept", "kept"),
}
FILTER = "filter "  # what a named filter is called among signals

chosen = frame.choose("compare", "Compare")
colours, dataset = frame.colours(), chosen.dataset
table = Dense(chosen.workspace, dataset)
filters = {FILTER + one.name: read_rule(one.rule) for one in list_filters(chosen.workspace, dataset.name)}
columns = {
    column.signal if column.run == chosen.run.id else f"{column.run}:{column.signal}": column
    for column in ruling.columns_of(table)
}
runs = short_names(chosen.workspace.run(run) for run in {column.run for column in columns.values()})


def called(name: str) -> str:
    """A member as choosers and figures show it."""
    if name in filters:
        return text.plain(name, 60)
    column = columns[name]
    return text.plain(column.signal, 40) + ("" if column.run == chosen.run.id else f" · {runs[column.run]}")


def at(name: str, keep: int) -> Rule:
    """A member as a rule: a filter's own, or the best of a signal."""
    if name in filters:
        return filters[name]
    return ShareRule(**columns[name].model_dump(), best=Best(count=keep))


@dataclass(frozen=True)
class Compared:
    """Who is compared, and what came of it.

    Attributes:
        names, rules: of A, B and further ones.
        keep: how many samples each signal keeps; 0 where only filters are compared.
        crossing, found: how their votes agree; A's and B's.
        alike: how alike A and B rank the samples; None where one has no score.
        decided: people's decisions, as `decisions.overruling` gives them.
        own_truth: whether these stand in for the truth.
    """

    names: list[str]
    rules: list[Rule]
    keep: int
    crossing: Crossing
    found: Agreement
    alike: ruling.Likeness | None
    decided: pa.Table
    own_truth: bool


# --- who is compared, at which budget -------------------------------------------------------------------------------
def ask() -> tuple[list[str], int]:
    """The members' names, A and B first, and how many samples each signal keeps."""
    own = chosen.signal
    others = [name for name, column in columns.items() if name != own]
    others.sort(key=lambda name: columns[name].run != chosen.run.id)  # those of the run at hand first
    st.caption("A is the signal chosen above, or a named filter. Every signal keeps the same number of samples.")
    place = st.columns([1.6, 1.6, 2, 2.4], vertical_alignment="bottom")
    firsts = ["the signal", *filters]
    first = place[0].selectbox(
        "A",
        firsts,
        key=state.one_of("a", firsts),
        format_func=lambda name: called(own if name not in filters else name),
    )
    a = own if first not in filters else first
    seconds = [name for name in [*others, *filters] if name != a] or [own]
    b = place[1].selectbox("B", seconds, key=state.one_of("b", seconds), format_func=called)
    more = [name for name in [own, *others, *filters] if name not in (a, b)]
    also = place[2].multiselect(
        "And also", more, key=state.some_of("also", more), format_func=called, max_selections=MOST - 2,
        placeholder="signals and filters",
    )  # fmt: skip
    names = [a, b, *also]
    signals = [columns[name] for name in names if name in columns]
    keep = 0
    if signals:
        most = min(len(column.rising(table)) for column in signals)
        fixed = next(
            (ruling.outcome(filters[name], table).kept for name in names if name in filters), round(0.8 * most)
        )
        state.number("keep", fixed)
        state.put(keep=min(max(round(state.get("keep")), 0), most))
        keep = place[3].slider("Samples that each signal keeps", 0, most, key=state.key("keep"), on_change=state.change)
    return names, keep


def compare(names: list[str], keep: int) -> Compared:
    """Count it all."""
    rules = [at(name, keep) for name in names]
    decided = overruling(chosen.workspace, dataset)
    people = None if dataset.has_truth else ruling.verdicts(table, decided)
    crossing = ruling.crossing(rules, table, people)
    alike = ruling.likeness(rules[0], rules[1], table)
    return Compared(names, rules, keep, crossing, crossing.agreement(0, 1), alike, decided, people is not None)


# --- how alike they are ---------------------------------------------------------------------------------------------
def figures_of(one: Compared) -> None:
    """Four figures of A and B."""
    found, alike = one.found, one.alike
    cards = st.columns(4, gap="small")
    cards[0].metric("Same decision", text.percent(found.agreeing), border=True, height="stretch")
    cards[1].metric(
        "Overlap of what is dropped",
        text.percent(found.jaccard_dropped),
        delta=f"{text.percent(found.jaccard_by_chance)} by chance",
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
        help="Dropped by both, of those dropped by either (Jaccard)",
    )
    cards[2].metric(
        "Rank correlation",
        text.score(alike.spearman) if alike else "–",
        delta=f"on {text.count(alike.pairs.a.size)} of {text.count(alike.pairs.shared)} samples" if alike else None,
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
        help=f"Spearman's ρ over all scores, whatever the budget; Kendall's τ is {text.score(alike.kendall, 3)}"
        if alike
        else "A filter that combines several rules goes by their votes: it has no score to be ranked by",
    )
    cards[3].metric(
        "Not compared",
        text.count(found.left_out),
        border=True,
        height="stretch",
        help="Samples that A or B has no score for",
    )


def scatter(one: Compared) -> None:
    """Where samples lie on A's and B's scores; their rules, where one has none."""
    (a, b, *_), rules, alike = one.names, one.rules, one.alike
    lines = [drawn[1] if drawn else None for drawn in (rule.line(table) for rule in rules[:2])]
    if alike:
        decided = decided_pairs(one.decided, rules[0].score(table), rules[1].score(table))
        names = called(a), called(b)
        plane.density(alike.density, colours, names, (lines[0], lines[1]), decided=decided, key=f"density {a} {b}")
        if not decided.empty:
            some = f" of {text.count(one.decided.num_rows)}" if one.decided.num_rows > len(decided) else ""
            st.caption(
                f"The marks are {text.count(len(decided))}{some} samples that people decided about: "
                "a triangle up is kept, a cross dropped, a diamond relabelled."
            )
    else:
        for letter, name, rule in zip("AB", (a, b), rules, strict=False):
            st.markdown(f"**{letter}: {text.markdown(called(name))}** :small[keeps: {text.markdown(rule.words, 400)}]")
        st.caption("A filter that combines several rules goes by their votes, so there are no scores to draw.")


def agreement(one: Compared) -> None:
    """What A and B do at this budget."""
    found = one.found
    st.markdown("**Agreement** :small[at this budget]")
    for row in (CELLS[:2], CELLS[2:]):
        for column, cell in zip(st.columns(2, gap="small"), row, strict=True):
            share = found.wrong[cell] / found.known[cell] if found.known[cell] else None
            column.metric(
                cell[0].upper() + cell[1:],
                text.count(found.counts[cell]),
                delta=f"{text.percent(share)} wrong"
                if share is not None
                else text.percent(found.counts[cell] / found.compared),
                delta_color="off",
                delta_arrow="off",
                border=True,
                height="stretch",
            )
    if all(found.known[cell] for cell in ("only A drops", "only B drops")):
        shares = [text.percent(found.wrong[c] / found.known[c], 0) for c in ("only A drops", "only B drops")]
        st.markdown(
            f"Of what only A drops **{shares[0]}** are wrong {NOUN[chosen.published.task]}s; "
            f"of what only B drops **{shares[1]}**."
        )
    if one.own_truth:
        st.caption("Wrong and right by people's decisions, which are no random draw.")


# --- who drops together ---------------------------------------------------------------------------------------------
def together(one: Compared) -> None:
    """Which of more than two drop the same samples."""
    names, crossing = one.names, one.crossing
    st.markdown("**Who drops together**")
    everyone = crossing.combinations()
    nobody = everyone[everyone["drops"].map(len) == 0]["samples"].sum()
    members = [called(name) for name in names]
    upset.show(everyone, crossing.dropped().tolist(), members, colours, key=f"upset {len(names)}")
    st.caption(
        f"{text.count(nobody)} samples that nobody drops are left out, and so is what somebody has no score for."
        + (f" The {upset.LARGEST} most frequent of {len(everyone)}." if len(everyone) > upset.LARGEST + 1 else "")
    )


def budgets(one: Compared, alike: ruling.Likeness) -> None:
    """How far A and B drop the same at every budget."""
    a, b = one.names[:2]
    st.markdown("**At every budget** :small[A and B]")
    same = one.keep / alike.pairs.shared if a in columns and b in columns else None
    drawing = evaluate_figures.overlap(alike.overlaps, colours, same)
    alt = "Overlap of what A and B drop at every budget, beside chance"
    curves.show(drawing, colours, key=f"overlap {a} {b}", alt=alt)
    if alike.pairs.a.size < alike.pairs.shared:
        st.caption(f"On {text.count(alike.pairs.a.size)} samples drawn from {text.count(alike.pairs.shared)}.")


def classes(one: Compared) -> None:
    """What becomes of each class."""
    by_class = one.crossing.by_class(dataset.classes)
    some = f", {CLASSES} of {len(by_class)}" if len(by_class) > CLASSES else ""
    st.markdown(f"**By class** :small[the most disputed first{some}]")
    shares = {str(number): st.column_config.NumberColumn(f"{called(name)} drops", format="%.1f%%")
              for number, name in enumerate(one.names)}  # fmt: skip
    shown = by_class.head(CLASSES)
    numbers = ["wrong", "disputed", *shares]
    shown = shown.assign(**100 * shown[numbers])
    st.dataframe(
        shown.drop(columns="wrong") if shown["wrong"].isna().all() else shown,
        hide_index=True,
        height=300,
        column_config={
            "label": "Class",
            "samples": st.column_config.NumberColumn("Samples", format="localized"),
            "wrong": st.column_config.NumberColumn("Wrong", format="%.1f%%"),
            "disputed": st.column_config.NumberColumn("Disputed", format="%.1f%%"),
            **shares,
        },
        alt="What each drops of every class",
    )


# --- the four galleries, the disputed ones first --------------------------------------------------------------------
def quadrant(rules: list[Rule], cell: str) -> dict[str, str]:
    """What Review needs to bring up a quadrant: a rule, and whether it keeps or drops the quadrant's samples."""
    left, right = rules[:2]
    made = {
        "only A drops": MinusRule(of=right, without=left),
        "only B drops": MinusRule(of=left, without=right),
        "both drop": OrRule(rules=(left, right)),
        "both keep": AndRule(rules=(left, right)),
    }[cell]
    side = "dropped" if cell == "both drop" else "kept"
    return {"queue": "rule", "rule": expression(made, chosen.run.id), "side": side}


def galleries(one: Compared, seed: int) -> None:
    """Examples of what both, one or neither of A and B drops."""
    rules, found = one.rules, one.found
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.button(
            "Another draw", icon=":material/casino:",
            on_click=lambda: state.change(seed=(round(state.get("seed") or 0) + 1) % 10_000),
        )  # fmt: skip
        st.caption(
            f"Up to {TILES} drawn from each group. The edge of a tile shows A's decision on the left, B's on the right."
        )
    drawn = ruling.examples(rules[0], rules[1], table, TILES, seed)
    every = [sample for samples in drawn.values() for sample in samples]
    decided = standing(chosen.workspace, chosen.dataset, every)
    cards = rows_of(chosen.published, every)
    cards = cards.assign(a=rules[0].score(table)[every], b=rules[1].score(table)[every]).set_index("sample", drop=False)
    ranked = {key: key.upper() for key, rule in zip("ab", rules, strict=False) if ruling.has_score(rule)} or {"a": ""}
    for row in (("only A drops", "only B drops"), ("both drop", "both keep")):
        for column, cell in zip(st.columns(2, gap="large"), row, strict=True):
            with column:
                meaning, *decisions = MEANING[cell]
                st.markdown(f"**{cell[0].upper() + cell[1:]}** · {text.count(found.counts[cell])} :small[{meaning}]")
                gallery.show(
                    chosen,
                    cards.loc[drawn[cell]],
                    colours,
                    key=f"cell {cell}",
                    name=f"Samples that {cell}",
                    scores=ranked,
                    edge=[getattr(colours, decision) for decision in decisions],
                    tile=104,
                    empty="No sample.",
                    decided=decided,
                )
                if found.counts[cell]:
                    st.page_link(
                        "pages/review.py",
                        label="Review these",
                        icon=":material/rate_review:",
                        query_params=chosen.address | quadrant(rules, cell),
                    )


@frame.part
def body() -> None:
    """All that a budget changes."""
    one = compare(*ask())
    figures_of(one)
    left, right = st.columns([3, 2], gap="large")
    with left:
        scatter(one)
    with right:
        agreement(one)
    if len(one.names) > 2:
        together(one)
    alike = one.alike
    left, right = st.columns([2, 3], gap="large") if alike and dataset.classes else (st.container(), st.container())
    if alike:
        with left:
            budgets(one, alike)
    if dataset.classes:
        with right:
            classes(one)
    seed = abs(round(state.number("seed", 0) or 0))
    galleries(one, seed)
    a, b, *also = one.names
    shown = {"a": a if a in filters else None, "b": b, "also": also, "seed": seed}
    shown["keep"] = one.keep if any(name in columns for name in one.names) else None
    state.leave("compare", chosen.address | shown)


body()
