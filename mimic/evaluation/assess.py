"""The quality of a data set of the workspace: whichever evidence it has, the strongest first.

An audit's verdicts with at least 30 sure ones → the reference's views kept by a run of `mimic score` → two groups of
the newest run's main signal, over its visits where it recorded any.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mimic.data import counted
from mimic.errors import MimicError
from mimic.evaluation.quality import Fit, Quality, fit_quality
from mimic.evaluation.quality_other import LEAST_VERDICTS, JudgedZone, mixture_quality, with_audit
from mimic.evaluation.quality_parts import quality_by_class, quality_by_group
from mimic.evaluation.verdicts import judge_lines, recorded
from mimic.workspace.audits import Audit, list_audits
from mimic.workspace.decisions import Decisions
from mimic.workspace.layout import Dataset, Workspace
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.dense import Dense
from mimic.workspace.queries.views import Views, groups, has_views, reference_views


@dataclass(frozen=True)
class Assessed:
    """What is known of a data set's quality.

    Attributes:
        dataset, run: whose labels, and the run whose reference, audit or scores it rests on.
        quality: the estimate.
        without_audit: what the estimate would be without the verdicts; None where they play no part.
        true: the share of right labels among those whose truth is known; None where no truth is known.
        published, views, fit: what the parts are estimated from; views and fit are None for a mixture.
    """

    dataset: str
    run: str
    quality: Quality
    without_audit: Quality | None
    true: float | None
    published: Published
    views: Views | None
    fit: Fit | None

    def by_class(self) -> pd.DataFrame:
        """`quality_by_class`, with `true` where it is known; empty where only a mixture is there."""
        if self.fit is None or self.views is None:
            return pd.DataFrame(columns=["part", "samples", "share", "low", "high"])
        names = np.array(self.views.names, dtype=object)
        table = quality_by_class(self.fit, self.published.classes)
        return self._with_truth(table, names[self.views.labels])

    def by_column(self, column: str) -> pd.DataFrame:
        """`quality_by_group` of a further column, with `true` where it is known.

        Raises:
            MimicError: there is no such column, or no reference to judge by.
        """
        if self.fit is None or self.views is None:
            raise MimicError(f"run {self.run} has no predictions of a reference, so its groups cannot be told apart")
        values = groups(self.published, column, self.views.samples)
        return self._with_truth(quality_by_group(self.fit, values), values)

    def _with_truth(self, table: pd.DataFrame, values: np.ndarray) -> pd.DataFrame:
        if self.true is None or self.views is None:
            return table
        known = self.views.right >= 0
        texts = np.array([str(value) for value in values], dtype=object)
        shares = pd.Series(self.views.right[known]).groupby(texts[known]).mean()
        return table.assign(true=table["part"].map(shares))


def assess(workspace: Workspace, dataset: Dataset, run: str | None = None) -> Assessed:
    """Estimate the share of right labels of a data set.

    Args:
        run: the run to go by; None: the first of `Workspace.published` whose reference's predictions were kept, else
            the first.

    Raises:
        MimicError: nothing of it is published.
    """
    published = _published(workspace, dataset, run)
    if dataset.classes and has_views(published):
        views = reference_views(published)
        fit = fit_quality(views.log_probs, views.labels, views.codes, len(views.names))
        known = views.right >= 0
        true = float(views.right[known].mean()) if known.any() else None
        audited = _audited(workspace, dataset, views, fit)
        quality, before = (audited, fit.quality) if audited else (fit.quality, None)
        return Assessed(dataset.name, published.run, quality, before, true, published, views, fit)
    dense = Dense(workspace, dataset)
    columns = (
        list(dense.visits(published.run, "score"))
        if dense.visits_of(published.run)
        else [dense.scores(published.run, published.main)]
    )
    truth = dense.truth()
    true = float(1 - truth.wrong[truth.known].mean()) if truth is not None and truth.known.any() else None
    mixture = mixture_quality(np.stack(columns, axis=1))
    audited = _audited(workspace, dataset)
    quality, before = (audited, mixture) if audited else (mixture, None)
    return Assessed(dataset.name, published.run, quality, before, true, published, None, None)


def _published(workspace: Workspace, dataset: Dataset, run: str | None) -> Published:
    if run is not None:
        return Dense(workspace, dataset).published(run)
    found = [Published.of(one, dataset) for one in workspace.published(dataset.name)]
    if not found:
        raise MimicError(f"data set {dataset.name!r} has no published run: `mimic score` makes one")
    return next((one for one in found if has_views(one)), found[0])


def _audited(
    workspace: Workspace, dataset: Dataset, views: Views | None = None, fit: Fit | None = None
) -> Quality | None:
    """The newest audit of the data set that has enough verdicts, with the model or, where that cannot help, without."""
    decisions = Decisions(workspace, dataset)
    for audit in list_audits(workspace):
        if audit.dataset != dataset.name:
            continue
        said = {sample: word == "good" for sample, word in recorded(decisions, audit).items() if word != "unsure"}
        if len(said) < LEAST_VERDICTS:
            continue
        if views is None or fit is None:
            return _exact(workspace, dataset, audit, decisions)
        zones = [_zone(zone.size, [s for s in zone.samples if s in said], said, views, fit) for zone in audit.zones]
        if all(len(zone.right) >= 2 or not zone.size for zone in zones):
            return with_audit(fit, [zone for zone in zones if zone.size])
        return _exact(workspace, dataset, audit, decisions)
    return None


def _zone(size: int, samples: list[int], said: dict[int, bool], views: Views, fit: Fit) -> JudgedZone:
    places = np.searchsorted(views.samples, samples)
    seen = [
        (int(place), said[sample])
        for place, sample in zip(places, samples, strict=True)
        if place < len(views.samples) and views.samples[place] == sample
    ]
    rows = np.array([place for place, _ in seen], dtype=int)
    return JudgedZone(size, fit.good[rows], np.array([right for _, right in seen], dtype=np.bool_))


def _exact(workspace: Workspace, dataset: Dataset, audit: Audit, decisions: Decisions) -> Quality:
    """The audit's own exact bounds, which need no model."""
    published = Published.of(workspace.run(audit.run), dataset)
    (judged,) = judge_lines(published, audit, recorded(decisions, audit), [audit.line])
    bad = judged.bad_share
    return Quality(
        1 - bad.estimate, 1 - bad.high, 1 - bad.low, published.size, "audit", None, None,
        f"From {counted(judged.verdicts, 'verdict')} on a random draw alone.",
    )  # fmt: skip
