"""Evaluate: does a filter find the wrong labels, does a model get better by it, how good is the data; and advice."""

import shlex

import pandas as pd
import streamlit as st

from mimic.data import NOUN
from mimic.evaluation import bands
from mimic.evaluation.detection import about_zero_f1
from mimic.evaluation.evidence import sources
from mimic.evaluation.retraining import best
from mimic.evaluation.truth import COLUMN, REVIEWS
from mimic.reports import evaluate_figures, text
from mimic.reports.drawing import Drawing
from mimic.workspace.filters import list_filters
from mimic.workspace.retrains import NEEDED, retrains, untouched
from pages.widgets import copied, curves, evaluated, frame, state

chosen = frame.choose("evaluate", "Evaluate")
workspace, dataset, published, colours = chosen.workspace, chosen.dataset, chosen.published, frame.colours()
where = workspace.option
JUDGES = {COLUMN: "the truth column", REVIEWS: "reviews"}
form: curves.Form = st.session_state.get("form") or "png"  # chosen at the page's foot


def draw(figure: Drawing, name: str, alt: str) -> None:
    """A figure that can be saved."""
    curves.show(figure, colours, key=f"figure {name}", alt=alt, file=f"{name}-{chosen.run.id}", form=form)


def download(table: pd.DataFrame, name: str) -> None:
    """A table as CSV."""
    st.download_button(
        "Download as CSV", table.to_csv(index=False), f"{name}.csv", "text/csv", icon=":material/download:", key=name
    )


evaluated.advice_box(chosen, "Evaluate")

# --- does it find the wrong labels? ---------------------------------------------------------------------------------
noun = NOUN[chosen.published.task]
st.subheader(f"Does it find the wrong {noun}s?", anchor=False)
asked, judged = sources(workspace, dataset), None
if asked:
    left, middle, right = st.columns([1.2, 2.4, 2], vertical_alignment="bottom")
    truth = left.selectbox(
        "Judged by",
        asked,
        key=state.one_of("truth", asked),
        format_func=lambda name: JUDGES.get(name) or text.plain(name.replace(":", " ", 1), 40),
    )
    saved = [one.name for one in list_filters(workspace, dataset.name)]
    filters = middle.multiselect("Named filters beside the run's signals", saved, key=state.some_of("filters", saved))
    said = evaluated.verdicts(workspace, dataset)
    try:
        judged, found = evaluated.detected(workspace.path, published, tuple(filters), truth, said)
    except bands.TooFewKnown as few:
        st.info(text.markdown(f"Not enough is known yet: {few}.", 600), icon=":material/info:")
else:
    st.info(
        f"Nobody has said of any {noun} yet whether it is right. Review some samples, or audit a filter; or import "
        "the data with a column `truth`.",
        icon=":material/info:",
    )
if judged is None:
    with st.container(horizontal=True):
        for page, title, icon in (("review", "Review", ":material/rule:"), ("audit", "Audit", ":material/casino:")):
            st.page_link(f"pages/{page}.py", label=title, icon=icon, query_params=chosen.address, width="content")
else:
    figures_of = bands.table(found)
    against = right.selectbox("Compared with", list(found), key=state.one_of("against", list(found), chosen.signal))
    best_ones = [name for name in figures_of["signal"] if name not in judged.drop][: evaluate_figures.MOST_CURVES - 1]
    lines = list(dict.fromkeys([*best_ones, *([against] if against not in judged.drop else [])]))
    roc, pr = st.columns(2, gap="small")
    with roc.container(border=True):
        st.markdown("**ROC**")
        shown = {name: found[name].roc for name in lines}
        draw(evaluate_figures.curves(shown, colours, "roc"), "roc", "ROC curves with 95% bands")
    with pr.container(border=True):
        st.markdown("**Precision and recall**")
        shown = {name: found[name].pr for name in lines}
        draw(evaluate_figures.curves(shown, colours, "pr"), "pr", "Precision-recall curves with 95% bands")
    wrong = int(judged.known.wrong.sum())
    words = (
        f"By {judged.known.source}: {text.count(len(judged.known.wrong))} samples, {text.count(wrong)} of them wrong"
    )
    words += f", drawn from {text.count(judged.drawn_from)}" if judged.drawn_from else ""
    words += f"; {text.count(judged.left_out)} without some score left out" if judged.left_out else ""
    st.caption(f"{text.markdown(words, 300)}. Signals drop as many as are wrong, filters what they drop. Bands: 95%.")
    gaps = bands.differences(found, against)
    table = figures_of.merge(gaps.drop(columns="verdict"), on="signal", how="left", suffixes=("", "_of_difference"))
    st.dataframe(
        pd.DataFrame(
            {
                "Signal": figures_of["signal"],
                **{
                    figure.replace("_", " "): [
                        text.estimated(value, low, high)
                        for value, low, high in zip(
                            figures_of[figure], figures_of[f"{figure}_low"], figures_of[f"{figure}_high"], strict=True
                        )
                    ]
                    for figure in bands.FIGURES
                },
                f"AUROC against {text.plain(against, 30)}": [
                    "–"
                    if pd.isna(row.difference)
                    else f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]".replace("-", "−")
                    for row in table.itertuples()
                ],
            }
        ),
        hide_index=True,
        column_config={
            name: {"auroc": "AUROC", "f1": "F1"}.get(name, name.capitalize())
            for name in (figure.replace("_", " ") for figure in bands.FIGURES)
        },
        alt="Detection figures of every signal with 95% intervals",
    )
    if why := about_zero_f1(figures_of):
        st.caption(text.markdown(why, 600))
    download(table, "detection")

# --- does a model get better by it? ---------------------------------------------------------------------------------
st.subheader("Does a model get better by it?", anchor=False)
tried = retrains(workspace, dataset.name)
if tried:
    ids = [one.id for one in tried]
    picked = st.selectbox("Retraining", ids, key=state.one_of("retraining", ids))
    retrain = next(one for one in tried if one.id == picked)
    results = evaluated.retrained(workspace, retrain)
    if retrain.state == "interrupted":
        st.caption(f"Stopped with {retrain.jobs - len(retrain.missing)} of {retrain.jobs} parts done, which are kept.")
        if st.button("Go on", key=f"go on {retrain.id}", icon=":material/play_arrow:"):
            evaluated.begin_retraining(chosen, retrain)
    gains = results[results["arm"] == "kept"].groupby("filter")["gain"].max()
    names = gains.sort_values(ascending=False).index.tolist()
    some = st.multiselect("Filters", names, key=state.some_of("retrained", names)) or names[:4]
    with st.container(border=True):
        shown = evaluate_figures.retraining(results, colours, some, retrain.outcome)
        draw(shown, "retraining", f"Test {retrain.outcome} against the share kept")
    top = best(results)
    if top is not None:
        st.markdown(text.markdown(top.sentence, 500))
    facts = retrain.facts
    heads = "a linear head" if noun == "label" else "two matrices"
    how = "the run's own model" if facts["path"] == "model" else f"{heads} on frozen features"
    st.caption(
        f"{text.count(facts['fits'])} fits of {how}, {facts['seeds']} seeds, {text.count(facts['samples'])} samples, "
        f"tested on {text.count(facts['test'])} of split {text.markdown(facts['test_split'])} that no score has seen. "
        "Bars: one standard error, over seeds and test samples. Every fit takes as many steps."
    )
    download(results, "retraining")
elif untouched(workspace, dataset):
    st.caption("Nothing is retrained yet. On frozen features it takes a minute or two, and goes on where it stopped.")
else:
    st.caption(f"No split is left to test a model on that no score has seen: {NEEDED}.")
if evaluated.can_retrain(chosen) and not evaluated.retraining_going(chosen):
    if st.button("Retrain", icon=":material/play_arrow:", help="Every signal at five budgets, with five seeds"):
        evaluated.begin_retraining(chosen)
    st.caption("The same in a terminal, where more can be asked for:")
    copied.show(f"mimic evaluate retrain {shlex.quote(dataset.name)}{where}", key="command retrain")

# --- how good is the data? ------------------------------------------------------------------------------------------
st.subheader("How good is the data?", anchor=False)
names = [one.name for one in workspace.datasets() if any(r.state == "published" for r in workspace.runs(one.name))]
beside = st.multiselect(
    "Beside it", [name for name in names if name != dataset.name], key=state.some_of("beside", names)
)
own = evaluated.quality(workspace, dataset, published)
every = [own, *(evaluated.quality(workspace, workspace.dataset(name)) for name in beside)]
rows = pd.DataFrame(
    [
        {"part": one.dataset, "samples": one.quality.samples, "share": one.quality.share, "low": one.quality.low,
         "high": one.quality.high, **({} if one.true is None else {"true": one.true}), "by": one.quality.method}
        for one in every
    ]
).sort_values("share", ascending=False, ignore_index=True)  # fmt: skip
card, chart = st.columns([1, 2.6], gap="small")
with card:
    st.metric(
        f"{noun.capitalize()}s that are right",
        text.percent(own.quality.share),
        delta=f"{text.percent(own.quality.low)} to {text.percent(own.quality.high)}",
        delta_color="off",
        delta_arrow="off",
        border=True,
        help="Estimated, with its 95% interval",
    )
    if own.true is not None:
        st.caption(f"In truth {text.percent(own.true)}.")
    st.caption(text.markdown(own.quality.note, 400))
    if (before := own.without_audit) is not None:
        ends = f"{text.percent(before.low)} to {text.percent(before.high)}"
        st.caption(f"Without the verdicts: {text.percent(before.share)} ({ends}).")
options = ["data set", *(["class"] if own.fit is not None else []), *(published.columns if own.fit is not None else [])]
with chart.container(border=True):
    by = st.selectbox("By", options, key=state.one_of("by", options), format_func=lambda name: text.plain(name, 40))
    parts = rows if by == "data set" else own.by_class() if by == "class" else own.by_column(by)
    draw(evaluate_figures.shares(parts, colours), "quality", f"Estimated share of right {noun}s by {by}")
    if len(parts) > evaluate_figures.MOST_PARTS:
        st.caption(f"The worst {evaluate_figures.MOST_PARTS} of {text.count(len(parts))}; the download has all.")
    download(parts, "quality")

# --- take it along --------------------------------------------------------------------------------------------------
st.subheader("Take it along", anchor=False)
st.segmented_control(
    "The button above a figure saves it as", ["png", "svg"], default="png", key="form", width="content"
)
st.caption("All of this as one file that needs no server:")
copied.show(f"mimic report {chosen.run.id} --out report.html{where}", key="command report")
state.leave(
    "evaluate",
    chosen.address
    | {name: state.get(name) for name in ("truth", "filters", "against", "retraining", "retrained", "beside", "by")},
)
