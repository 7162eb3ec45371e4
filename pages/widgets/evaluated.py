"""What the Evaluate page and the Overview say of a run: worked out once for everybody, and again after new verdicts."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pandas as pd
import streamlit as st

from mimic.errors import MimicError
from mimic.evaluation import bands
from mimic.evaluation.advice import Advice, Evidence, advise
from mimic.evaluation.assess import Assessed, assess
from mimic.evaluation.retraining import best, curves
from mimic.evaluation.truth import Judged, judge
from mimic.reports import text
from mimic.workspace.audits import list_audits
from mimic.workspace.decisions import Decisions
from mimic.workspace.layout import Dataset, Workspace
from mimic.workspace.queries.connection import Published
from mimic.workspace.retrains import Retrain, retrains
from pages.widgets import frame

OUR_COLUMN = "column"


def verdicts(workspace: Workspace, dataset: Dataset) -> int:
    """How many decisions there are: what people's verdicts are remembered by."""
    return sum(Decisions(workspace, dataset).counts().values())


def quality(workspace: Workspace, dataset: Dataset, published: Published | None = None) -> Assessed:
    """`assess` of a data set, by a run or by the best there is."""
    newest = tuple(run.id for run in workspace.runs(dataset.name) if run.state == "published")
    run = None if published is None else published.run
    return _quality(workspace.path, dataset.name, run, newest, verdicts(workspace, dataset))


@lru_cache(maxsize=32)
def _quality(path: Path, dataset: str, run: str | None, runs: tuple[str, ...], said: int) -> Assessed:
    workspace = Workspace(path)
    return assess(workspace, workspace.dataset(dataset), run)


def sources(workspace: Workspace, dataset: Dataset) -> list[str]:
    """Who may be asked which labels are wrong: the column, the reviews, audits; as `judge` takes them."""
    found = [OUR_COLUMN] if dataset.has_truth else []
    if verdicts(workspace, dataset):
        found.append("reviews")
        found += [f"audit:{audit.name}" for audit in list_audits(workspace) if audit.dataset == dataset.name]
    return found


@lru_cache(maxsize=16)
def detected(
    path: Path, published: Published, filters: tuple[str, ...], truth: str, said: int
) -> tuple[Judged, dict[str, bands.Found]]:
    """The run's signals, and some filters, judged."""
    judged = judge(Workspace(path), [published.run, *filters], truth)
    return judged, judged.found()


@lru_cache(maxsize=16)
def _curves(path: Path, id: str, done: int) -> pd.DataFrame:
    return curves(next(one for one in retrains(Workspace(path)) if one.id == id).fits())


def retrained(workspace: Workspace, retrain: Retrain) -> pd.DataFrame:
    """`curves` of the fits that are done."""
    return _curves(workspace.path, retrain.id, retrain.jobs - len(retrain.missing))


def advice(chosen: frame.Chosen) -> Advice:
    """Advice on the chosen run, from everything that is known by now."""
    workspace, dataset, published = chosen.workspace, chosen.dataset, chosen.published
    try:
        share = quality(workspace, dataset, published).quality
    except MimicError:
        share = None
    table = None
    asked = sources(workspace, dataset)
    if asked:
        try:
            said = verdicts(workspace, dataset)
            table = bands.table(detected(workspace.path, published, (), asked[0], said)[1])
        except MimicError:
            table = None
    finished = next((one for one in retrains(workspace, dataset.name) if one.state == "finished"), None)
    top = best(retrained(workspace, finished)) if finished is not None else None
    return advise(Evidence(published.signals, share, chosen.run.check, table, top))


def advice_box(chosen: frame.Chosen) -> None:
    """The advice as a paragraph, and which page shows the numbers."""
    given = advice(chosen)
    with st.container(border=True):
        st.markdown("**Advice**")
        st.markdown(text.markdown(given.paragraph, 2000))
        pages = dict.fromkeys(sentence.source for sentence in given.sentences)
        st.caption(f"The numbers are on: {', '.join(pages)}.")
