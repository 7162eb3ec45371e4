"""From visits to filters, judged by the truth: F1 by binariser and aggregator, training on what is kept, clean subsets.

The rule, a line at zero through the mean score over visits, was fixed on Fashion-MNIST and digits, on a seed of its
own: there it lost least to the best line that the truth can pick. The other data sets grade it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gradmimic_cells import CHOSEN, CLEAN, ORACLE, Row, Unit, shown
from benchmarks.gradmimic_probe import Trained, train
from benchmarks.gradmimic_weights import Arm
from mimic.data import DROP
from mimic.evaluation.detection import auroc
from mimic.filters.aggregate import dawid_skene, majority, mean_normal_score, mean_score
from mimic.filters.binarise import Line, binarise, fixed, mixture, two_means
from mimic.scores.heads import Frozen, visit_margins
from mimic.scores.logits import logprob
from mimic.scores.visits import margin_mean

RULE = ("score ≥ 0", "mean score")
SHARES = (0.8, 0.7, 0.6, 0.5)
Floats = NDArray[np.float32]


def half(scores: Floats) -> Line:
    """The median."""
    return Line(float(np.nanmedian(scores)), "below the median")


BINARISERS: dict[str, Callable[[Floats], Line]] = {
    "score ≥ 0": fixed,
    "weight ≥ 1/b": lambda weights: fixed(weights, 1.0),  # of weight × batch size
    "two means": two_means,
    "mixture": mixture,
    "top half": half,
}


def best_f1(scores: NDArray[np.floating], wrong: NDArray[np.bool_]) -> float:
    """The highest F1 that any line reaches, picked with the truth; per cent."""
    order = np.argsort(scores, kind="stable")
    found, dropped = np.cumsum(wrong[order]), np.arange(1, len(wrong) + 1)
    open_line = np.append(np.diff(scores[order]) > 0, True)  # a line parts no ties
    return float(100 * (2 * found / (dropped + wrong.sum()))[open_line].max())


def f1(dropped: NDArray[np.bool_], wrong: NDArray[np.bool_]) -> float:
    """Of calling the dropped ones wrong, per cent."""
    return float(100 * 2 * (dropped & wrong).sum() / max(dropped.sum() + wrong.sum(), 1))


def decisions(scores: Floats, weights: Floats) -> dict[tuple[str, str], NDArray[np.bool_]]:
    """Binariser and aggregator → (N,) which samples are dropped.

    Args:
        scores: (N, V), every visit's.
        weights: (N, V), times the batch's size.
    """
    found = {}
    for name, draw in BINARISERS.items():
        visits = weights if name.startswith("weight") else scores
        votes = binarise(visits, draw)
        found[name, "majority of visits"] = majority(votes).votes == DROP
        found[name, "Dawid-Skene"] = dawid_skene(votes).votes.votes == DROP
        mean = mean_score(visits)
        found[name, "mean score"] = draw(mean).votes(mean).votes == DROP
    for name in ("two means", "mixture", "top half"):
        ranks = mean_normal_score(scores)
        found[name, "mean normal score"] = BINARISERS[name](ranks).votes(ranks).votes == DROP
    return found


def detection(unit: Unit, trained: Trained) -> list[Row]:
    """A row a way to decide, beside the best line through the mean score that the truth can pick."""
    assert trained.scores is not None
    assert trained.weights is not None
    scores, wrong = trained.scores.numpy(), unit.wrong(trained.arm.labels)
    mean = mean_score(scores)
    shared = {
        "dataset": unit.name,
        "labels": trained.arm.labels,
        "reference": shown(trained.arm.reference),
        "seed": unit.seed,
        "wrong": 100 * float(wrong.mean()),
        "mean score": float(mean.mean()),
        "auroc": auroc(mean, wrong),
        "best f1": best_f1(mean, wrong),
    }
    return [
        shared
        | {"binariser": name, "aggregator": how, "f1": f1(dropped, wrong), "dropped": 100 * float(dropped.mean())}
        for (name, how), dropped in decisions(scores, trained.weights.numpy()).items()
    ]


def on_what_is_kept(unit: Unit, recorded: list[Trained]) -> list[Row]:
    """Plain training on what the rule keeps of each version of the labels, by each reference's visits."""
    kept = {
        f"{each.arm.labels}, {each.arm.reference}": torch.from_numpy(mean_score(each.scores.numpy()) >= 0)
        for each in recorded
        if each.scores is not None
    }
    asked = [
        Arm(each.arm.reference, "subset", each.arm.labels, f"{each.arm.labels}, {each.arm.reference}")
        for each in recorded
    ]
    data = replace(unit.data, kept=kept)
    return [
        {
            "dataset": unit.name,
            "labels": each.arm.labels,
            "seed": unit.seed,
            "reference": shown(each.arm.name),
            "arm": "SGD on what the filter keeps",
            "accuracy": 100 * each.accuracy,
            "loss": each.loss,
            "steps": np.nan,
        }
        for each in train(data, asked, replace(unit.recipe, points=1), unit.seed)
    ]


def subsets(unit: Unit) -> list[Row]:
    """Plain training on the best 80 … 50 % of the judged half with clean labels, by several signals."""
    plain = replace(unit.recipe, points=1)
    labels, clean = unit.data.labels[CLEAN], unit.data.references["clean"]
    visits = train(unit.data, [Arm("", "mimic", CLEAN, "clean", CHOSEN["mimic"], record=True)], plain, unit.seed)
    assert visits[0].scores is not None
    frozen = Frozen(unit.data.features.numpy(), labels.numpy(), unit.data.classes, seed=unit.seed)
    margins = margin_mean(visit_margins(frozen))
    signals = {
        "Mimic Score over visits": mean_score(visits[0].scores.numpy()),
        "Mimic Score over visits, lowest": -mean_score(visits[0].scores.numpy()),
        "log-probability of the reference": logprob(clean(unit.data.features), labels).numpy(),
        "mean margin": margins,
        "mean margin, lowest": -margins,
        "random": np.random.default_rng(unit.seed).random(len(labels)),
    }
    kept = {
        f"{name} {share}": torch.from_numpy(scores >= np.quantile(scores, 1 - share))
        for name, scores in signals.items()
        for share in SHARES
    }
    asked = [Arm(name, "subset", CLEAN, name) for name in kept] + [Arm("everything 1.0", "uniform", CLEAN)]
    rows = []
    for each in train(replace(unit.data, kept=kept), asked, plain, unit.seed):
        signal, _, share = each.arm.name.rpartition(" ")
        rows.append(
            {"dataset": unit.name, "seed": unit.seed, "signal": signal, "share": float(share),
             "accuracy": 100 * each.accuracy, "loss": each.loss}
        )  # fmt: skip
    return rows


def judged(recorded: list[Trained]) -> list[Trained]:
    """The arms whose filters are judged: with the oracle, as in the paper, and with the clean reference."""
    return [each for each in recorded if each.arm.reference in (ORACLE, "clean")]
