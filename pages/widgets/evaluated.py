"""What the Evaluate page and the Overview say of a run: worked out once for everybody, and again after new verdicts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from mimic.evaluation import bands
from mimic.evaluation.advice import Advice, advise
from mimic.evaluation.assess import Assessed, assess
from mimic.evaluation.evidence import evidence_of
from mimic.evaluation.retraining import curves
from mimic.evaluation.truth import Judged, judge
from mimic.reports import text
from mimic.runs import launch
from mimic.workspace.decisions import Decisions
from mimic.workspace.layout import Dataset, Workspace
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.once import once
from mimic.workspace.queries.threshold import line_keeping
from mimic.workspace.retrains import Retrain, retrains, untouched
from pages.widgets import frame


def _started(dataset: Dataset) -> str:
    """Key of the session: the log of the command that retrains on a data set."""
    return f"retraining started {dataset.name}"


def verdicts(workspace: Workspace, dataset: Dataset) -> int:
    """How many decisions there are: what people's verdicts are remembered by."""
    return sum(Decisions(workspace, dataset).counts().values())


def quality(workspace: Workspace, dataset: Dataset, published: Published | None = None) -> Assessed:
    """`assess` of a data set, by a run or by the best there is."""
    newest = tuple(run.id for run in workspace.published(dataset.name))
    run = None if published is None else published.run
    return _quality(workspace.path, dataset.name, run, newest, verdicts(workspace, dataset))


@once(32)
def _quality(path: Path, dataset: str, run: str | None, runs: tuple[str, ...], said: int) -> Assessed:
    workspace = Workspace(path)
    return assess(workspace, workspace.dataset(dataset), run)


@once(16)
def detected(
    path: Path, published: Published, filters: tuple[str, ...], truth: str, said: int
) -> tuple[Judged, dict[str, bands.Found]]:
    """The run's signals, and some filters, judged."""
    judged = judge(Workspace(path), [published.run, *filters], truth)
    return judged, judged.found()


@once(16)
def _curves(path: Path, id: str, done: int) -> pd.DataFrame:
    return curves(next(one for one in retrains(Workspace(path)) if one.id == id).fits())


def retrained(workspace: Workspace, retrain: Retrain) -> pd.DataFrame:
    """`curves` of the fits that are done."""
    return _curves(workspace.path, retrain.id, retrain.jobs - len(retrain.missing))


@once(32)
def _advice(path: Path, published: Published, said: int, fitted: tuple[int, ...]) -> Advice:
    workspace = Workspace(path)
    return advise(evidence_of(workspace, workspace.run(published.run), published))


def _known(chosen: frame.Chosen) -> tuple[Path, Published, int, tuple[int, ...]]:
    """What advice on the chosen run is remembered by: everything that is known by now."""
    workspace, dataset = chosen.workspace, chosen.dataset
    fitted = tuple(one.jobs - len(one.missing) for one in retrains(workspace, dataset.name))
    return workspace.path, chosen.published, verdicts(workspace, dataset), fitted


def advice_box(chosen: frame.Chosen, here: str) -> None:
    """The advice as a paragraph, the way to try it, and those to the other pages that show its numbers.

    Args:
        here: the title of this page.
    """
    given = _advice(*_known(chosen))
    with st.container(border=True):
        st.markdown("**Advice**")
        st.markdown(text.markdown(given.paragraph, 2000))
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            if given.signal in chosen.published.signals:
                scored = line_keeping(chosen.published, given.signal, 0).scored
                st.page_link(
                    "pages/threshold.py",
                    label=f"Try it: keep {given.keep:.0%} by {text.markdown(given.signal)}",
                    icon=":material/play_arrow:",
                    query_params=chosen.address | {"signal": given.signal, "keep": str(round(given.keep * scored))},
                )
            elsewhere = dict.fromkeys(sentence.source for sentence in given.sentences if sentence.source != here)
            if elsewhere:
                st.caption("Its numbers in full:", width="content")
            for title in elsewhere:
                st.page_link(f"pages/{frame.PAGES[title]}.py", label=title, query_params=chosen.address)


def advice_soon(chosen: frame.Chosen) -> None:
    """The Overview's `advice_box` once it is worked out; the page need not wait for it."""
    if _advice.knows(*_known(chosen)):
        advice_box(chosen, "Overview")
        return

    drawn: list[bool] = []

    @st.fragment(run_every=0.5)
    def work_out() -> None:
        if not drawn:  # the page is drawn first, whatever was clicked: to start again here would lose a click
            drawn.append(True)
            st.caption("Advice is being worked out …")
            return
        with frame.sentences():
            _advice(*_known(chosen))
            st.rerun()

    work_out()


def can_retrain(chosen: frame.Chosen) -> bool:
    """Whether there is a model to take, and a split left that no score has seen."""
    runs = chosen.workspace.runs(chosen.dataset.name)
    scored = any(run.facts.get("kind") == "score" and run.state == "published" for run in runs)
    return scored and bool(untouched(chosen.workspace, chosen.dataset))


def begin_retraining(chosen: frame.Chosen, like: Retrain | None = None) -> None:
    """Start a retraining of the data set, or go on with one that is there, and wait for it to show."""
    facts = None if like is None else like.facts
    st.session_state[_started(chosen.dataset)] = launch.retrain(chosen.workspace, chosen.dataset.name, facts)
    st.rerun()


def retraining_going(chosen: frame.Chosen) -> bool:
    """Whether a retraining is going on, or was started here and is not seen yet; how far it is, if so.

    One that was started here and refused is told, and another may be started.
    """
    workspace, dataset, key = chosen.workspace, chosen.dataset.name, _started(chosen.dataset)

    def running() -> Retrain | None:
        return next((one for one in retrains(workspace, dataset) if one.state == "running"), None)

    def started() -> launch.Started | None:
        return st.session_state.get(key)

    if why := (first := started()) and first.failure:
        st.error(text.markdown(why, 600), icon=":material/error:")
    if running() is None and (why or key not in st.session_state):
        return False

    @st.fragment(run_every=2)
    def watch() -> None:
        with frame.sentences():
            mine, now = started(), running()
            if now is not None:
                done = now.jobs - len(now.missing)
                st.progress(done / now.jobs, f"{done} of {now.jobs} parts done. You may leave this page.")
            elif mine is None or mine.ended_well:
                st.session_state.pop(key, None)
                st.rerun()
            elif mine.failure:
                st.rerun()
            else:
                st.caption("The retraining is being prepared …")

    watch()
    return True
