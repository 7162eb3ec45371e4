"""Train: learning curves against equal weights, what the weights did, and how the scores went from epoch to epoch."""

import shlex

import pandas as pd
import streamlit as st

from mimic.reports import text, training_figures
from mimic.reports.drawing import Drawing
from mimic.workspace.curves import read_curves, standing
from mimic.workspace.layout import Run
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.progress import progress
from mimic.workspace.queries.training import score_strips
from pages.widgets import copied, curves, frame, plane, state
from pages.widgets.runs import short_names

chosen = frame.look("train", "Train", by_filter=True)
workspace, colours = frame.the_workspace(), frame.colours()
every = [run for run in workspace.runs() if run.facts.get("kind") == "train"]
runs = [run for run in every if chosen is None or run.dataset == chosen.dataset.name]


def course(run: Run) -> None:
    """The curves so far."""
    points, steps = read_curves(run), int(run.facts["epoch_steps"])
    exhausted = (run.facts.get("exhausted") or {}).get("step")
    if points.empty:
        st.caption("The first point of the curves is yet to come.")
        return
    accuracy, loss = st.columns(2, gap="small")
    splits = [split for split in ("truth", "validation") if (points["split"] == split).any()][:1] or ["train"]
    draw(accuracy, run, "Accuracy", training_figures.curves(points, colours, "accuracy", "accuracy, %", splits, steps))
    draw(loss, run, "Loss", training_figures.curves(points, colours, "loss", "loss, nats", ["train", splits[0]], steps))
    three = st.columns(3, gap="small")
    for column, (measure, title, axis) in zip(
        three,
        [
            ("mean_score", "Mean Mimic Score", "mean score"),
            ("ess", "Effective sample size", "share of the batch, %"),
            ("distance", "Distance to the reference", "‖v‖"),
        ],
        strict=True,
    ):
        draw(column, run, title, training_figures.course(points, colours, measure, axis, steps, exhausted))


def draw(place: st.delta_generator.DeltaGenerator, run: Run, title: str, figure: Drawing) -> None:
    """A figure with its title in a place of its own."""
    with place.container(border=True, height="stretch"):
        st.markdown(f"**{title}**")
        curves.show(figure, colours, key=f"{title} {run.id}", alt=f"{title} by epoch")


def summary(run: Run) -> None:
    """What was asked for, and what each arm came to."""
    asked = run.config
    words = [
        f"model {(run.facts.get('model') or {}).get('spec', '–')}",
        f"reference {(run.facts.get('reference') or {}).get('name', '–')}",
        f"scope {asked['scope']}",
        f"policy {asked['policy']}"
        + (f", temperature {asked['temperature']:g}" if asked["policy"] == "softmax" else ""),
        f"{asked['optimizer']}, learning rate {asked['lr']:g}, batch {asked['batch_size']}",
        f"{text.count(run.size)} samples, {text.count(asked['epochs'])} epochs, seed {asked['seed']}",
    ]
    st.caption(text.markdown(" · ".join(words), 600))
    if exhausted := run.facts.get("exhausted"):
        what = {
            "continue": "it went on",
            "uniform": "equal weights from there on",
            "stop": "the training stopped there",
        }
        st.warning(
            f"The mean Mimic Score was {text.score(exhausted['mean'], 3)} over the steps up to "
            f"{text.count(exhausted['step'] + 1)}: the model has caught up with its reference, and later "
            f"scores rank badly ({what[asked['on_exhausted']]}).",
            icon=":material/hourglass_bottom:",
        )


def results(points: pd.DataFrame) -> pd.DataFrame:
    """Where each arm stands, on each split."""
    last = standing(points)
    last["accuracy"] *= 100
    last["arm"] = last["arm"].map(training_figures.ARMS)
    return last[["arm", "split", "samples", "accuracy", "loss", "mean_score"]]


@st.fragment(run_every=2)
def watch(id: str) -> None:
    """A run that is going, looked at every two seconds."""
    with frame.sentences():
        run = workspace.run(id)
        if run.state != "running":
            st.rerun()
        how_far(run)
        course(run)


def how_far(run: Run) -> None:
    """Progress in words and as a bar."""
    told = progress(run)
    words = [f"{run.state}: {text.count(told.done)} of {text.count(told.size)} visits"]
    if told.rate:
        words += [f"{text.count(told.rate)} visits/s", f"{text.duration(told.remaining)} remaining"]
    st.caption(" · ".join([*words, text.markdown(told.note, 300)]))
    st.progress(told.share)
    if run.error:
        st.error(text.markdown(run.error, 600), icon=":material/error:")


def asked(chosen: frame.Chosen | None) -> str:
    """Model, reference and start as the data set's scored runs know them, as options of `mimic train`."""
    known = {"model": "MODEL", "reference": "reference.safetensors"}
    if chosen is not None:
        scored = (run for run in workspace.runs(chosen.dataset.name) if run.facts.get("kind") == "score")
        names = ("model", "reference", "start", "features")
        config = next((run.config for run in scored), {})
        known |= {name: str(config[name]) for name in names if config.get(name)}
    return "".join(f" --{name} {shlex.quote(value)}" for name, value in known.items())


carried = chosen.address if chosen else {}
if not runs:
    name = chosen.dataset.name if chosen else "NAME"
    on = f"on {text.markdown(name)}" if chosen else "here"
    st.info(
        f"No model has been trained {on} yet. Grad-Mimic re-weighs every batch by the Mimic Score:",
        icon=":material/info:",
    )
    copied.show(f"mimic train {name}{asked(chosen)} --compare uniform{workspace.option}", key="command")
    for other in sorted({run.dataset for run in every}):
        st.page_link(
            "pages/train.py",
            label=f"Trainings on {text.markdown(other)}",
            icon=":material/arrow_forward:",
            query_params={"dataset": other},
        )
    if chosen is None:  # there may be nothing to train on
        frame.nothing_yet(workspace)
    state.leave("train", carried)
    st.stop()
ids = [run.id for run in runs]
wanted = state.one_of("training", ids, chosen.run.id if chosen and chosen.run.id in ids else ids[0])
called = short_names(runs)
help = f"`{st.session_state[wanted]}`"
run = workspace.run(st.selectbox("Training run", ids, key=wanted, format_func=called.get, help=help, width=480))
summary(run)
if run.state == "running":
    watch(run.id)
elif run.state != "published":
    how_far(run)
    st.caption("The same mimic train command takes it up again from its checkpoint.")
    course(run)
else:
    course(run)
    dataset = workspace.dataset(run.dataset)
    strips = score_strips(Published.of(run, dataset))
    left, right = st.columns([3, 2], gap="small")
    with left.container(border=True, height="stretch"):
        st.markdown("**Mimic Scores by epoch** :small[the stronger the shade, the more visits; the mark is the mean]")
        if strips.empty:
            st.caption("No visit has a score.")
        else:
            plane.epochs(strips, colours, "Mimic Score of a visit", key=f"strips {run.id}")
    with right.container(border=True, height="stretch"):
        st.markdown("**What came of it**")
        st.dataframe(
            results(read_curves(run)),
            hide_index=True,
            column_config={
                "arm": "Arm",
                "split": st.column_config.TextColumn("Split", help="truth: held-back samples at their true labels"),
                "samples": st.column_config.NumberColumn("Samples", format="localized"),
                "accuracy": st.column_config.NumberColumn("Accuracy", format="%.1f%%"),
                "loss": st.column_config.NumberColumn("Loss", format="%.3f"),
                "mean_score": st.column_config.NumberColumn("Mean score", format="%.3g"),
            },
            placeholder="–",
            alt="The last point of each arm",
        )
        st.caption("The final models lie in the run's folder, to be start or reference of another run:")
        for file in run.facts["models"].values():
            copied.show(str(run.folder / file), key=f"file {file}")
        st.page_link(
            "pages/explore.py",
            label="Look at its samples",
            icon=":material/grid_view:",
            query_params={"dataset": run.dataset, "run": run.id},
        )
state.leave("train", carried | {"training": run.id})
