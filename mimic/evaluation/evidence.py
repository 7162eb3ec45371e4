"""Everything that is known of a run's data set by now, as advice takes it."""

from __future__ import annotations

import pandas as pd

from mimic.data import NOUN
from mimic.errors import MimicError
from mimic.evaluation.advice import Evidence
from mimic.evaluation.assess import assess
from mimic.evaluation.bands import table
from mimic.evaluation.quality import Quality
from mimic.evaluation.quality_other import LEAST_VERDICTS, known_quality
from mimic.evaluation.retraining import best, curves
from mimic.evaluation.truth import COLUMN, REVIEWS, judge
from mimic.workspace.audits import list_audits
from mimic.workspace.decisions import Decisions
from mimic.workspace.layout import Dataset, Run, Workspace
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.dense import Dense
from mimic.workspace.retrains import NEEDED, retrains, untouched


def evidence_of(workspace: Workspace, run: Run, published: Published) -> Evidence:
    """What is known; None for what is not, or where too little is."""
    dataset = workspace.dataset(run.dataset)
    finished = next((one for one in retrains(workspace, dataset.name) if one.state == "finished"), None)
    return Evidence(
        signals=published.signals,
        quality=_quality(workspace, dataset, published),
        check=run.check,
        detection=_detection(workspace, dataset, published),
        best=best(curves(finished.fits())) if finished is not None else None,
        noun=NOUN[published.task],
        needed=None if untouched(workspace, dataset) else NEEDED,
    )


def sources(workspace: Workspace, dataset: Dataset) -> list[str]:
    """Who may be asked which labels are wrong, as `mimic.evaluation.truth.judge` takes it, the best first."""
    found = [COLUMN] if dataset.has_truth else []
    decisions = Decisions(workspace, dataset)
    if any(decisions.counts().values()):
        audits = [audit for audit in list_audits(workspace) if audit.dataset == dataset.name]
        found += [f"audit:{audit.name}" for audit in audits if len(decisions.decided(audit.source))]
        found.append(REVIEWS)
    return found


def _quality(workspace: Workspace, dataset: Dataset, published: Published) -> Quality | None:
    """The estimate; where that is no more than how the scores are spread, what truth there is instead."""
    try:
        found = assess(workspace, dataset, published.run).quality
    except MimicError:
        return None
    dense = Dense(workspace, dataset)
    truth = dense.truth()
    if found.method != "mixture" or truth is None:
        return found
    inside = dense.inside(frozenset([published.run]))
    wrong = truth.wrong[inside & truth.known]
    return known_quality(~wrong, int(inside.sum())) if len(wrong) >= LEAST_VERDICTS else found


def _detection(workspace: Workspace, dataset: Dataset, published: Published) -> pd.DataFrame | None:
    for source in sources(workspace, dataset):
        try:
            return table(judge(workspace, [published.run], source).found())
        except MimicError:
            continue  # too few verdicts of one kind: the next source may have more
    return None
