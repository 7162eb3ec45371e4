"""Cells for benchmarks/evaluate.py: features split into a reference's half, a judged part and a test part, and noise.

A reference, a linear head, learns clean labels of its half; the judged part's labels are spoilt; a model tested on the
third part has never met either. A cell's numbers are kept in the cache, so that an interrupted benchmark goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from benchmarks.quality_frozen import CLASSES, MISTAKEN, asymmetric, cifar10n, fashion, mimic_last, symmetric
from mimic.evaluation.advice import Advice, advise
from mimic.evaluation.evidence import evidence_of
from mimic.evaluation.retraining import curves
from mimic.runs import demo
from mimic.runs.further import add_signals
from mimic.runs.manager import score
from mimic.runs.retrain import Asked, keeping, retrain
from mimic.runs.retrain_fits import Bench, Fit, fit_features
from mimic.scores.ensemble import ensemble
from mimic.scores.heads import Frozen, Head, heads, out_of_fold, standardised, visit_margins
from mimic.scores.neighbours import label_agreement, nearest
from mimic.workspace.layout import Workspace
from mimic.workspace.queries.connection import Published

RATES = tuple(round(0.05 * step, 2) for step in range(15))  # 0 … 0.7
BUDGETS = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
SEEDS = 4
SOURCES = ("fashion", "cifar10n", "digits")
SAMPLE = "sample"
# What the sample is retrained by, as the other sources are.
JUDGES = ("ref_logprob", "mimic", "margin", "confident", "knn", "ensemble")


@dataclass(frozen=True)
class Part:
    """A source split in three.

    Attributes:
        name, split: which.
        features, truth: (N, D) and (N,) of all samples.
        own: the data's own wrong labels, name → (N,).
        theirs, judged, tested: rows of the reference's, the judged and the test part.
    """

    name: str
    split: int
    features: NDArray[np.float32]
    truth: NDArray[np.int64]
    own: dict[str, NDArray[np.int64]]
    theirs: NDArray[np.intp]
    judged: NDArray[np.intp]
    tested: NDArray[np.intp]

    @property
    def reference(self) -> Head:
        *_, last = heads(Frozen(self.features[self.theirs], self.truth[self.theirs], CLASSES))
        return last

    def views(self, reference: Head, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """The reference's log-probabilities."""
        return F.log_softmax(reference(standardised(self.features[rows])), dim=1).numpy()


def parts(name: str, arguments: argparse.Namespace, splits: int, most: int | None = None) -> Iterator[Part]:
    """Every split of a source; `most`: judged samples at most, the others of that half are for testing."""
    if name == "digits":
        digits = load_digits()
        features, truth, given = digits.data.astype(np.float32), digits.target.astype(np.int64), dict
    else:
        photos = {"fashion": fashion, "cifar10n": cifar10n}[name](arguments)
        features, truth, given = photos.features, photos.truth, lambda: photos.given(0)
    features = standardised(features).numpy()
    own = {each: labels for each, labels in given().items() if each in ("aggre", "random1")}
    for split in range(splits):
        order = np.random.default_rng(1 + split).permutation(len(truth))
        theirs, rest = order[: len(truth) // 2], order[len(truth) // 2 :]
        judged = rest if most is None else rest[: min(most, 2 * len(rest) // 3)]
        yield Part(name, split, features, truth, own, theirs, judged, rest[len(judged) :])


def versions(part: Part, rates: tuple[float, ...]) -> dict[str, NDArray[np.int64]]:
    """Name → (N,) labels to judge."""
    made = {f"symmetric {rate}": symmetric(part.truth, rate, part.split) for rate in rates}
    if part.name in MISTAKEN:
        made["asymmetric 0.4"] = asymmetric(part.truth, 0.4, part.split, MISTAKEN[part.name])
    return made | part.own


def signals(part: Part, labels: NDArray[np.int64], reference: Head) -> dict[str, NDArray[np.float32]]:
    """What a user would have after `mimic score` and `mimic signal add`."""
    inputs, given = standardised(part.features[part.judged]), torch.from_numpy(labels)
    frozen = Frozen(part.features[part.judged], labels, CLASSES)
    views, rows = part.views(reference, part.judged), np.arange(len(labels))
    zero = Head(torch.zeros_like(reference.weight), torch.zeros_like(reference.bias))
    return {
        "ref_logprob": views[rows, labels],
        "mimic": mimic_last(zero, reference, inputs, given).numpy(),
        "margin_mean": visit_margins(frozen).mean(axis=1),
        "confident": np.exp(out_of_fold(frozen)[rows, labels]),
        "knn": label_agreement(nearest(frozen.features), labels),
        "ensemble": ensemble(frozen, views),
    }


def retrained(part: Part, labels: NDArray[np.int64], found: dict[str, NDArray[np.float32]]) -> pd.DataFrame:
    """The fits of every signal and budget, with the clean oracle, everything, and as many at random."""
    right = labels == part.truth[part.judged]
    bench = Bench(
        samples=part.judged.astype(np.int32),
        features=part.features[part.judged],
        labels=labels,
        right=right,
        test_samples=part.tested.astype(np.int32),
        test_features=part.features[part.tested],
        test_labels=part.truth[part.tested],
        classes=CLASSES,
        epochs=10,
        workspace=Path(),
        config=None,
    )
    rows = []
    for seed in range(SEEDS):
        ones = np.ones(len(labels), np.float32)
        fits = [Fit("everything", "", 1.0, seed, ones), Fit("oracle", "", 1.0, seed, right.astype(np.float32))]
        for budget in BUDGETS:
            fits += [Fit("kept", name, budget, seed, keeping(scores, budget)) for name, scores in found.items()]
            drawn = np.random.default_rng([seed, round(100 * budget)]).random(len(labels)) < budget
            fits.append(Fit("random", "", budget, seed, drawn.astype(np.float32)))
        rows += fit_features(bench, fits)
    return pd.DataFrame(rows)


def sample_cell(cache: Path, budgets: tuple[float, ...]) -> tuple[pd.DataFrame, Advice]:
    """sample_data by the product's own commands: curves of its retraining, and the advice without that or the truth.

    Its reference has learnt other photos. The workspace stays in the cache, so that it goes on where it stopped.
    """
    workspace = Workspace(cache / "evaluate" / SAMPLE)
    dataset = demo.import_sample(workspace)
    scored = score(workspace, demo.config())
    run = add_signals(workspace, scored, [name for name in JUDGES if name not in scored.signals])
    names = tuple(f"{run.id}:{name}" for name in JUDGES)
    made = retrain(workspace, dataset, Asked(names=names, budgets=budgets, seeds=SEEDS))
    evidence = evidence_of(workspace, run, Published.of(run, dataset))
    return curves(made.fits()), advise(replace(evidence, signals=JUDGES, detection=None, best=None))
