"""Who says which labels are wrong, and what signals and filters are judged on it: the workspace's side of `bands`.

Truth is a column of the data set, people's review verdicts (of the samples they chose to look at), or an audit's (a
random draw, weighted by what each sample stands for).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mimic.data import DROP
from mimic.errors import MimicError
from mimic.evaluation.bands import FIGURES, Found, Known, detect, table
from mimic.evaluation.verdicts import recorded
from mimic.filters.rules import read_rule
from mimic.workspace.audits import load_audit
from mimic.workspace.decisions import Decisions
from mimic.workspace.filters import load_filter
from mimic.workspace.layout import Dataset, Workspace
from mimic.workspace.queries.dense import Dense
from mimic.workspace.queries.views import groups

LIMIT = 200_000  # samples: more than that narrows an interval by less than it costs
COLUMN, REVIEWS = "column", "reviews"


@dataclass(frozen=True)
class Judged:
    """Signals and filters on the samples that all of them score and somebody knows the truth of.

    Attributes:
        signals: name → (N,) scores; of a filter 1 for kept and 0 for dropped.
        drop: name → the share that it drops, for filters; signals take the common budget.
        known: what is known of the N samples.
        labels: (N,) class names of the given labels, None where there is none.
        left_out: samples of known truth that some of them does not score.
        drawn_from: how many samples are known, where these are a draw of them; else None.
    """

    signals: dict[str, NDArray[np.float32]]
    drop: dict[str, float]
    known: Known
    labels: NDArray[np.object_]
    left_out: int
    drawn_from: int | None

    def found(self, budget: float | None = None, rows: NDArray[np.bool_] | None = None) -> dict[str, Found]:
        """Figures on all samples, or on some rows; `budget`: the share that each signal drops."""
        known = self.known if rows is None else self.known.only(rows)
        signals = self.signals if rows is None else {name: each[rows] for name, each in self.signals.items()}
        base = float(known.weight[known.wrong].sum() / max(known.weight.sum(), 1e-300))
        common = base if budget is None else budget
        return detect(signals, known, {name: self.drop.get(name, common) for name in signals})


def subjects(workspace: Workspace, names: Sequence[str]) -> tuple[Dataset, list[tuple[str, str, str]]]:
    """What names mean: runs (all signals), RUN:SIGNAL, and filters.

    Returns:
        The data set they share, and for each the name shown, its run and signal, or the filter's name and "".

    Raises:
        MimicError: no names, one that is neither, or more than one data set.
    """
    found: list[tuple[str, str, str]] = []
    datasets: set[str] = set()
    filters = {path.stem for path in workspace.filters()}
    for name in names:
        if name in filters:
            datasets.add(load_filter(workspace, name).dataset)
            found.append((name, name, ""))
            continue
        run_id, _, signal = name.partition(":")
        run = workspace.run(run_id)
        datasets.add(run.dataset)
        several = len(names) > 1
        chosen = [signal] if signal else run.signals
        found += [(f"{run.id}:{each}" if several and each in {f[2] for f in found} else each, run.id, each)
                  for each in chosen]  # fmt: skip
    if len(datasets) != 1:
        raise MimicError(
            f"{', '.join(names) or 'nothing'} belong to {len(datasets)} data sets: give runs or filters of one"
        )
    return workspace.dataset(datasets.pop()), found


def judge(workspace: Workspace, names: Sequence[str], truth: str | None = None) -> Judged:
    """Signals and filters with what is known.

    Args:
        names: see `subjects`.
        truth: ``"column"``, ``"reviews"``, or ``"audit:NAME"``; None: the column, else the newest verdicts there are.

    Raises:
        MimicError: nobody knows anything; a name, run or audit that is not there.
    """
    dataset, wanted = subjects(workspace, names)
    dense = Dense(workspace, dataset)
    columns: dict[str, NDArray[np.float32]] = {}
    drop = {}
    for shown, run, signal in wanted:
        if signal:
            columns[shown] = dense.scores(run, signal)
        else:
            votes = read_rule(load_filter(workspace, run).rule).votes(dense).votes
            columns[shown] = (votes != DROP).astype(np.float32)
            drop[shown] = float((votes == DROP).mean())
    known = known_labels(workspace, dataset, dense, truth)
    drawn_from = len(known.samples) if len(known.samples) > LIMIT else None
    if drawn_from:
        rows = np.zeros(drawn_from, dtype=np.bool_)
        rows[np.random.default_rng(0).choice(drawn_from, LIMIT, replace=False)] = True
        known = known.only(rows)
    taken = {name: values[known.samples] for name, values in columns.items()}
    scored = ~np.any([np.isnan(values) for values in taken.values()], axis=0)
    left_out, known = int((~scored).sum()), known.only(scored)
    codes, classes = dense.labels()
    names_of = np.array([*classes, None], dtype=object)
    for name in drop:  # of these samples, so that the filter's own line is met exactly
        kept = taken[name][scored]
        drop[name] = float((known.weight * (kept == 0)).sum() / max(known.weight.sum(), 1e-300))
    signals = {name: values[scored] for name, values in taken.items()}
    return Judged(signals, drop, known, names_of[codes[known.samples]], left_out, drawn_from)


def known_labels(workspace: Workspace, dataset: Dataset, dense: Dense, truth: str | None = None) -> Known:
    """What is known of a data set's labels.

    Raises:
        MimicError: nothing is, by that source.
    """
    source = truth or (COLUMN if dataset.has_truth else REVIEWS)
    if source == COLUMN:
        found = dense.truth()
        if found is None:
            raise MimicError(
                f"data set {dataset.name} has no column that tells wrong labels: review or audit some samples,"
                " then use --truth reviews or --truth audit:NAME"
            )
        rows = np.flatnonzero(found.known)
        return _plain(rows, found.wrong[rows], "the data set's own column")
    decisions = Decisions(workspace, dataset)
    if source == REVIEWS:
        decided = decisions.decided()
        rows = decided["sample"].to_numpy().astype(np.int64)
        wrong = np.array([action != "keep" for action in decided["action"].to_pylist()], dtype=np.bool_)
        return _plain(rows, wrong, "people's reviews of samples that they chose")
    kind, _, name = source.partition(":")
    if kind != "audit" or not name:
        raise MimicError(f"--truth {source} is not known: use column, reviews, or audit:NAME")
    return _audited(workspace, dataset, decisions, name)


def _audited(workspace: Workspace, dataset: Dataset, decisions: Decisions, name: str) -> Known:
    audit = load_audit(workspace, name)
    if audit.dataset != dataset.name:
        raise MimicError(f"audit {name} is of data set {audit.dataset}, not {dataset.name}: choose another")
    said = {sample: word for sample, word in recorded(decisions, audit).items() if word != "unsure"}
    parts = [[sample for sample in zone.samples if sample in said] for zone in audit.zones]
    weight = [zone.size / len(part) for zone, part in zip(audit.zones, parts, strict=True) for _ in part]
    return Known(
        samples=np.array([sample for part in parts for sample in part], dtype=np.int64),
        wrong=np.array([said[sample] == "bad" for part in parts for sample in part], dtype=np.bool_),
        weight=np.array(weight, dtype=np.float64),
        stratum=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        source=f"audit {name}, weighted",
    )


def _plain(samples: NDArray[np.int64], wrong: NDArray[np.bool_], source: str) -> Known:
    return Known(samples, wrong, np.ones(len(samples)), np.zeros(len(samples), dtype=np.int64), source)


def by_class(judged: Judged, budget: float | None = None) -> pd.DataFrame:
    """`bands.table` within every given class that has enough of both kinds, with a column part; at the same budget."""
    parts = {str(name): judged.labels == name for name in sorted({name for name in judged.labels if name is not None})}
    return _parts(judged, parts, budget)


def by_fault(judged: Judged, dense: Dense, column: str, run: str, budget: float | None = None) -> pd.DataFrame:
    """`bands.table` for every kind of fault, a further column's values among the wrong, against all the right ones."""
    kinds = groups(dense.published(run), column, judged.known.samples.astype(np.int32))
    wrong = judged.known.wrong
    names = sorted({str(kind) for kind in kinds[wrong] if kind is not None})
    return _parts(judged, {name: ~wrong | (kinds == name) for name in names}, budget)


def membership(judged: Judged, dense: Dense, column: str, run: str) -> pd.DataFrame:
    """How well each signal tells samples that the reference was trained on: columns of `bands.table`, high = member.

    Args:
        column: a further column, true (true, yes, 1) where the sample was in the reference's training set.
    """
    values = groups(dense.published(run), column, judged.known.samples.astype(np.int32))
    known = np.array([value is not None for value in values], dtype=np.bool_)
    member = np.array([str(value).strip().lower() in {"true", "yes", "1", "1.0"} for value in values])
    chosen = judged.known.only(known)
    outside = Known(chosen.samples, ~member[known], chosen.weight, chosen.stratum, f"column {column}")
    signals = {name: each[known] for name, each in judged.signals.items() if name not in judged.drop}
    return table(detect(signals, outside))


def _parts(judged: Judged, parts: dict[str, NDArray[np.bool_]], budget: float | None) -> pd.DataFrame:
    tables = []
    for name, rows in parts.items():
        wrong = judged.known.wrong[rows]
        if min(wrong.sum(), (~wrong).sum()) >= 2:
            one = table(judged.found(budget, rows))
            tables.append(one.assign(part=name, wrong=int(wrong.sum()), samples=len(wrong)))
    if not tables:
        return pd.DataFrame(columns=["part", "signal", *FIGURES])
    return pd.concat(tables, ignore_index=True)
