"""Compare: two signals that keep the same number of samples: where they agree, and where the argument is."""

import streamlit as st

from mimic.reports import figures, text
from mimic.workspace.queries.compare import Side, agreement, density, examples, pairs
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.threshold import line_keeping
from pages.widgets import frame, gallery, remembered, state

TILES = 12
# cell → what it means, and what A and B decide
MEANING = {
    "only A drops": ("B would keep these", "dropped", "kept"),
    "only B drops": ("A would keep these", "kept", "dropped"),
    "both drop": ("both call these bad", "dropped", "dropped"),
    "both keep": ("both call these good", "kept", "kept"),
}

chosen = frame.choose("compare", "Compare")
colours = frame.colours()
workspace, dataset = chosen.workspace, chosen.dataset
a = Side(chosen.published, chosen.signal)

# --- the other signal, and the budget of both -----------------------------------------------------------------------
runs = [run.id for run in workspace.runs(dataset.name) if run.state == "published"]
st.caption("A is the run and signal chosen above, B the one chosen here. Both keep the same number of samples.")
left, middle, right = st.columns([2.2, 1, 3], vertical_alignment="bottom")
run_b = workspace.run(left.selectbox("Run B", runs, key=state.one_of("run_b", runs, chosen.run.id)))
others = [name for name in run_b.signals if (run_b.id, name) != (chosen.run.id, chosen.signal)]
signal_b = middle.selectbox("Signal B", others or run_b.signals, key=state.one_of("signal_b", others or run_b.signals))
b = Side(Published.of(run_b, dataset), signal_b)
most = min(line_keeping(side.published, side.signal, 0).scored for side in (a, b))
state.number("keep", round(0.8 * most))
state.put(keep=min(max(round(state.get("keep")), 0), most))
keep = right.slider("Samples that each keeps", 0, most, key=state.key("keep"))
lines = [line_keeping(side.published, side.signal, keep).score for side in (a, b)]
found = agreement(a, b, *lines)
both = pairs(a, b)

# --- how alike they are ---------------------------------------------------------------------------------------------
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
    text.score(remembered.correlation(a, b)),
    delta=f"on {text.count(both.a.size)} of {text.count(both.shared)} samples",
    delta_color="off",
    delta_arrow="off",
    border=True,
    height="stretch",
    help="Spearman's ρ over all scores, whatever the budget",
)
cards[3].metric(
    "Not compared",
    text.count(found.left_out),
    border=True,
    height="stretch",
    help="Samples that A or B has no score for",
)

left, right = st.columns([3, 2], gap="large")
names = (f"{a.signal}", f"{b.signal}")
with left:
    st.plotly_chart(
        figures.density(density(a, b), colours, names, (lines[0], lines[1])),
        config=figures.CONFIG,
        key=f"density {chosen.run.id} {a.signal} {run_b.id} {b.signal}",
        alt=f"Where samples lie on {a.signal} and {b.signal}, with both lines",
    )
with right:
    st.markdown("**Agreement** :small[at this budget]")
    for row in (("both keep", "only A drops"), ("only B drops", "both drop")):
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
        st.markdown(f"Of what only A drops **{shares[0]}** are wrong labels; of what only B drops **{shares[1]}**.")

# --- the four galleries, the disputed ones first --------------------------------------------------------------------
state.number("seed", 0)
with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
    seed = st.number_input("Draw", 0, 9999, key=state.key("seed"), step=1, format="%d", width=120)
    st.caption(
        f"Up to {TILES} drawn from each group. The edge of a tile shows A's decision on the left, B's on the right."
    )
drawn = examples(a, b, lines[0], lines[1], TILES, int(seed))
for row in (("only A drops", "only B drops"), ("both drop", "both keep")):
    for column, cell in zip(st.columns(2, gap="large"), row, strict=True):
        with column:
            meaning, *decisions = MEANING[cell]
            st.markdown(f"**{cell[0].upper() + cell[1:]}** · {text.count(found.counts[cell])} :small[{meaning}]")
            gallery.show(
                chosen,
                drawn[cell],
                colours,
                key=f"cell {cell}",
                name=f"Samples that {cell}",
                scores={"a": "A", "b": "B"},
                edge=[getattr(colours, decision) for decision in decisions],
                tile=104,
                empty="No sample.",
            )
view = {"run_b": run_b.id, "signal_b": b.signal, "keep": keep, "seed": int(seed)}
state.leave("compare", chosen.address | view)
