"""Overview: what there is, how far it is, and how far to trust it."""

from collections.abc import Callable

import pandas as pd
import streamlit as st

from mimic.data import NOUN
from mimic.reports import text
from mimic.runs import launch
from mimic.workspace.events import events
from mimic.workspace.layout import Run
from mimic.workspace.queries.histogram import histogram
from mimic.workspace.queries.progress import progress, running_histogram
from mimic.workspace.queries.rows import judged
from mimic.workspace.queries.summary import failure_reasons, failures, signal_summary
from mimic.workspace.removal import needed_by, remove_run
from pages.widgets import bars, evaluated, frame, levels, remembered, state
from pages.widgets.runs import short_names

VERDICTS = {
    "Good": ("green", "check_circle"),
    "Weak": ("orange", "warning"),
    "Do not use": ("red", "block"),
}
WHY_ALIKE = "averaged along the whole path, the Mimic Score is the loss that the reference saves."
STATES = {"running": ("blue", "sync"), "failed": ("red", "error"), "interrupted": ("orange", "pause_circle")}

chosen = frame.look("overview", "Overview")
workspace, colours = frame.the_workspace(), frame.colours()


def made_by(run: Run) -> str:
    """Model, reference, scope and method of a run, in one line."""
    facts = run.facts
    model, reference, direction = (facts.get(name) or {} for name in ("model", "reference", "direction"))
    words = [f"model {model.get('spec', '–')}", f"reference {reference.get('name', '–')}"]
    words.append(
        f"scope {facts.get('scope', '–')}"
        + (f" ({text.count(n)} parameters)" if (n := direction.get("parameters")) else "")
    )
    words.append(f"method {facts.get('method', '–')}")
    return text.markdown(" · ".join(words), 400)


def begin(run: Run, **changes: object) -> None:
    """Start the run's command as a process of its own, and wait for its run to show."""
    st.session_state["started"] = launch.again(workspace, run, **changes)
    st.rerun()


@st.fragment(run_every=1)
def await_start() -> None:
    """Between the start of a command and the first sight of its run: some seconds, or the sentence it refused with."""
    with frame.sentences():
        started: launch.Started = st.session_state["started"]
        if failure := started.failure:
            st.error(text.markdown(failure, 600), icon=":material/error:")
        elif any(run.state == "running" for run in workspace.runs()) or started.ended_well:
            del st.session_state["started"]
            st.rerun()
        else:
            st.caption("The run is being prepared …")


def unfinished(run: Run) -> None:
    """A run that is not published: how far it is, and what to do about it."""
    told = progress(run)
    colour, icon = STATES[told.state]
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge(told.state, icon=f":material/{icon}:", color=colour)
            st.markdown(f"**{text.markdown(run.id)}** :small[on {text.markdown(run.dataset)}]", width="stretch")
            words = [f"{text.count(told.done)} of {text.count(told.size)}"]
            if told.state == "running" and told.rate:
                unit = "visits" if run.facts.get("kind") == "train" else "samples"
                words += [f"{text.count(told.rate)} {unit}/s", f"{text.duration(told.remaining)} remaining"]
            st.caption(" · ".join(words), width="content")
        st.progress(told.share)
        if told.note:
            st.caption(text.markdown(told.note, 300))
        if run.error:
            st.error(text.markdown(run.error, 600), icon=":material/error:")
        if told.state != "running":
            command = run.facts.get("kind")
            if command in launch.AGAIN:
                st.caption(f"The same mimic {command} command takes it up again from here: what is done is kept.")
            if command in launch.AGAIN and st.button("Go on", key=f"go on {run.id}", icon=":material/play_arrow:"):
                begin(run)
        elif not (drawn := running_histogram(run, run.main)).empty:
            bars.looked_at(drawn, colours, f"{run.main} so far", key=f"so far {run.id}", height=132)


going = [run.id for run in workspace.runs() if run.state == "running"]


@st.fragment(run_every=2 if going else None)
def watch() -> None:
    """Runs that are going, looked at every two seconds; when one of them ends the page starts again."""
    with frame.sentences():
        runs = [workspace.run(run) for run in going]
        if any(run.state != "running" for run in runs):
            st.rerun()
        for run in runs:
            unfinished(run)


@st.dialog("Delete a run")
def delete(run: Run) -> None:
    """Ask, naming what no longer works without it; then remove the run."""
    words = f"{run.state}, {text.count(run.size)} samples of {text.markdown(run.dataset)}"
    st.markdown(f"**{text.markdown(run.id)}** ({words}) goes with all its scores. This cannot be undone.")
    if needs := needed_by(workspace, run):
        st.warning(
            f"Without it these no longer work: {text.markdown(', '.join(needs), 600)}.", icon=":material/link_off:"
        )
    gone = frame.on_change(lambda: remove_run(run))
    if st.button("Delete", icon=":material/delete:", key="delete for good", on_click=gone):
        st.rerun()


def ended() -> None:
    """Runs that stopped before they were published."""
    for run in stopped:
        unfinished(run)


if "started" in st.session_state:
    await_start()
if going:
    watch()
stopped = [run for run in workspace.runs() if run.state in ("failed", "interrupted")]
if chosen is None:
    ended()
    frame.nothing_yet(workspace)
    state.leave("overview", {})
    st.stop()

if stopped:
    newest = stopped[0]  # `runs` has the newest first
    why = f": {newest.error}" if newest.error else ""
    happened = "failed" if newest.state == "failed" else "was interrupted"
    st.warning(
        f"Run {text.markdown(newest.id)} {happened}{text.markdown(why, 400)} · How to go on stands below.",
        icon=":material/error:",
    )

# --- the chosen run -------------------------------------------------------------------------------------------------
published, run, dataset = chosen.published, chosen.run, chosen.dataset
known = judged(published) if published.has_truth else None
ranked = known is not None and 0 < known.wrong.sum() < known.wrong.size  # else no signal can be told from another


def folded(label: str, icon: str, draw: Callable[[], None]) -> None:
    """A part that is drawn once somebody opens it: closed ones cost the page nothing."""

    @frame.part
    def part() -> None:
        with st.expander(label, icon=f":material/{icon}:", key=label, on_change="rerun") as fold:
            if fold.open:
                draw()

    part()


def spread(height: int) -> None:
    """How the main signal is spread."""
    st.markdown(f"**How {text.markdown(published.main)} is spread**")
    drawn = histogram(published, published.main)
    bars.looked_at(drawn, colours, published.main, key=f"main {run.id}", height=height)


summary = signal_summary(published)
check = run.check or {}
cards = st.columns(5 if dataset.classes else 4, gap="small")
cards[0].metric("Samples", text.count(dataset.size), border=True)
if dataset.classes:
    cards[1].metric("Classes", text.count(len(dataset.classes)), border=True)
elsewhere = dataset.size - published.scored - published.not_scored
cards[-3].metric(
    "Scored",
    text.count(published.scored),
    border=True,
    help=f"The other {text.count(elsewhere)} samples are not part of this run (split {run.facts.get('split')})."
    if elsewhere
    else None,
)
cards[-2].metric("Not scored", text.count(published.not_scored), border=True)
cards[-1].metric("Took", text.duration(run.facts.get("seconds")), border=True)

evaluated.advice_soon(chosen)
noun = NOUN[published.task]
left, right = st.columns(2, gap="small")
with left.container(border=True, height="stretch"):
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown("**Reference check**", width="content")
        if check:
            colour, icon = VERDICTS.get(check["verdict"], ("gray", "help"))
            by = f"{check['verdict']}, by {text.count(check['samples'])} samples"
            st.badge(by, icon=f":material/{icon}:", color=colour)
    if check:
        st.markdown(text.markdown(check["sentence"], 600))
        shares = [
            ("reference", check["reference_agreement"], "reference"),
            ("start", check["start_agreement"], "neutral"),
        ]
        if check["majority_agreement"] is not None:
            shares.append(("commonest class", check["majority_agreement"], "faint"))
        levels.agreement(shares, colours, key=f"agreement {run.id}")
        numbers = st.columns(4, gap="small")
        numbers[0].metric(
            "Mean score",
            text.score(check["mean"], 3),
            delta=f"± {text.score(check['mean_high'] - check['mean'], 2)}",
            delta_color="off",
            delta_arrow="off",
            help="With its 95% interval, in loss per unit of weight distance",
        )
        numbers[1].metric("Above 0", text.percent(check["positive_share"], 0))
        numbers[2].metric("‖v‖", text.score(check["norm"], 3), help="Weight distance from start to reference")
        numbers[3].metric("cos(−ḡ, v)", text.score(check["cosine"], 3), help="Of the mean gradient and the direction")
    else:
        st.caption("This run has no reference check.")
    st.caption(made_by(run))
    if ranked:
        spread(132)
with right.container(border=True, height="stretch"):
    if ranked:
        st.markdown(f"**Which signal finds the wrong {noun}s?**")
        ranking, ahead, sentence = remembered.detection(published)
        (st.warning if ahead else st.markdown)(text.markdown(sentence, 400))
        levels.detection(ranking, colours, published.main, noun, key=f"detection {run.id}")
        drawn = f" (drawn from {text.count(known.drawn_from)})" if known.drawn_from else ""
        best = f" The best {levels.DETECTED} of {len(ranking)} signals; the table below has all."
        st.caption(
            f"Against what is known of {text.count(known.wrong.size)} samples{drawn}, "
            f"{text.count(known.wrong.sum())} of them wrong. No score has seen them."
            + (best if len(ranking) > levels.DETECTED else "")
        )
        for first, second in remembered.twins(published):
            st.caption(text.markdown(f"{first} and {second} rank the samples alike: {WHY_ALIKE}", 400))
    else:
        spread(240)
        if known is None:
            st.caption(
                f"The data set has no column “{'fault' if noun == 'caption' else 'truth'}”, "
                f"so nothing here says which signal finds wrong {noun}s best."
            )
        else:
            st.caption(
                f"The truth is known of {text.count(known.wrong.size)} samples and "
                f"{'every' if known.wrong.any() else 'no'} {noun} among them is wrong, "
                f"so nothing here says which signal finds wrong {noun}s best."
            )

st.subheader("Signals", anchor=False)
st.dataframe(
    pd.DataFrame(
        {
            "Signal": summary["signal"],
            "Spread": [
                histogram(published, name, bars=40).set_index("bar")["n"].reindex(range(40), fill_value=0).tolist()
                for name in summary["signal"]
            ],
            "Mean": summary["mean"],
            "Median": summary["median"],
            "Lowest": summary["low"],
            "Highest": summary["high"],
            "Above 0": 100 * summary["positive"],
            **({"AUROC": summary["signal"].map(ranking.set_index("signal")["auroc"])} if ranked else {}),
        }
    ),
    hide_index=True,
    column_config={
        "Spread": st.column_config.BarChartColumn("Spread", width="medium", color=colours.neutral, y_min=0),
        **{
            name: st.column_config.NumberColumn(name, format="%.4g") for name in ("Mean", "Median", "Lowest", "Highest")
        },
        "AUROC": st.column_config.NumberColumn("AUROC", format="%.3f", help=f"Of finding wrong {noun}s; 0.5 is chance"),
        "Above 0": st.column_config.NumberColumn("Above 0", format="%.1f%%"),
    },
    alt="Summary of every signal",
)
if meanings := run.facts.get("meanings"):  # runs of older versions do not say

    def what_they_mean() -> None:
        """Every signal in a sentence."""
        said = [
            f"- **{text.markdown(name)}** {text.markdown(meanings.get(name, '–'), 400)}" for name in summary["signal"]
        ]
        st.markdown("\n".join(said))
        st.caption("Of every signal, higher counts as better: filters drop the lowest scores.")

    folded("What the signals mean", "menu_book", what_they_mean)

if published.not_scored:
    st.subheader("Not scored", anchor=False)
    reasons, examples = st.columns([1, 2])
    reasons.dataframe(failure_reasons(published), hide_index=True, alt="Reasons for not being scored")
    examples.dataframe(failures(published, 100), hide_index=True, alt="The first samples that were not scored")

st.subheader("Runs", anchor=False)
st.dataframe(
    pd.DataFrame(
        [
            {
                "Run": one.id,
                "Data set": one.dataset,
                "State": one.state,
                "Check": (one.check or {}).get("verdict"),
                "Created": str(one.facts["created"])[:16].replace("T", " "),
                "Samples": one.size,
                "Not scored": one.counts.get("not_scored"),
                "Model": (one.facts.get("model") or {}).get("spec"),
                "Reference": (one.facts.get("reference") or {}).get("name"),
                "Scope": one.facts.get("scope"),
            }
            for one in workspace.runs()[:200]
        ]
    ),
    hide_index=True,
    placeholder="–",
    column_config={name: st.column_config.NumberColumn(name, format="localized") for name in ("Samples", "Not scored")},
    alt="Runs of this workspace, the newest first",
)
ended()


def what_happened() -> None:
    """The run's events."""
    st.dataframe(
        pd.DataFrame(
            {
                "At (UTC)": [event["at"][:19].replace("T", " ") for event in happened[::-1]],
                "Event": [event["event"] for event in happened[::-1]],
                "Shard": [event.get("shard") for event in happened[::-1]],
                "Samples": [event.get("samples") for event in happened[::-1]],
                "Seconds": [event.get("seconds") for event in happened[::-1]],
                "By process": [event.get("process") for event in happened[::-1]],
                "Why": [event.get("error") for event in happened[::-1]],
            }
        ),
        hide_index=True,
        alt="The run's latest events, the latest first",
    )


def unwanted_run() -> None:
    """Choose a run to delete."""
    idle = short_names(one for one in workspace.runs()[:200] if one.state != "running")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        unwanted = st.selectbox(
            "Run to delete", list(idle), index=None, placeholder="choose one", width=420, key="unwanted",
            format_func=idle.get,
        )  # fmt: skip
        if st.button("Delete …", disabled=unwanted is None, key="delete"):
            delete(workspace.run(str(unwanted)))


def another_run() -> None:
    """Start a run like this one, or copy the commands for another."""
    if run.facts.get("config", {}).get("scopes"):
        with st.form("again", border=False):
            st.markdown("The same model, reference and start, over other parameters:")
            scope = st.selectbox("Scope", ["last", "last-weight", "last:2", "full"], help="See docs/models.md")
            if st.form_submit_button("Start", icon=":material/play_arrow:"):
                begin(run, scopes=[scope])
    st.markdown("Or another model, in a terminal:")
    frame.commands(workspace)


if happened := events(run):
    folded("What happened to this run", "history", what_happened)
folded("Delete a run", "delete", unwanted_run)
folded("Start another run", "play_arrow", another_run)
state.leave("overview", chosen.address)
