"""How many of the labels estimated to be right should be kept: what the advice's share was fixed by, on Fashion-MNIST.

    python -m benchmarks.evaluate_budget --cache C [--packages P]      about two minutes

References of three sizes, judged sets of two, symmetric noise 0.1 … 0.6: a linear head is trained on what the
reference's log-probability keeps, at every share, and a rule is as good as the accuracy that it leaves to the best
share of its cell. Features are 128 principal components of those of benchmarks/quality_frozen.py. The labels are not
those of the cells that the advice is graded on (other splits). Writes results/evaluate_budget.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.evaluate_cells import Part
from benchmarks.quality_frozen import CLASSES, fashion, symmetric
from benchmarks.tables import Section, markdown, write_csv, write_section
from mimic.evaluation.quality import fit_quality
from mimic.runs.retrain import keeping
from mimic.runs.retrain_fits import Bench, Fit
from mimic.scores.heads import standardised

REFERENCES, JUDGED, TESTED = (600, 2000, 8000), (600, 2000), 4000
RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
SHARES = tuple(round(0.05 * step, 2) for step in range(4, 21))
SPLITS, SEEDS, COMPONENTS = 3, 2, 128
FIRST_SPLIT = 101
# A rule: the shares of a cell, by its estimate and by each label's probability to be right.
RULES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "as many as are right": lambda cells: cells["share"],
    **{f"{of:.1%} of them": lambda cells, of=of: of * cells["share"] for of in (0.975, 0.95, 0.925, 0.9, 0.85, 0.8)},
    **{f"{by:.0%} of all less": lambda cells, by=by: cells["share"] - by for by in (0.05, 0.1, 0.15)},
    **{f"right with {p}": lambda cells, p=p: cells[f"sure {p}"] for p in (0.5, 0.6, 0.7, 0.8, 0.9)},
}  # fmt: skip


def cells(asked: argparse.Namespace) -> Iterator[dict[str, float]]:
    """A row a cell: the estimate, and the accuracy at every share."""
    photos = fashion(asked)
    features = standardised(photos.features).numpy()
    *_, axes = np.linalg.svd(features[:4000], full_matrices=False)
    features = standardised(features @ axes[:COMPONENTS].T).numpy()
    truth = photos.truth
    for split in range(FIRST_SPLIT, FIRST_SPLIT + SPLITS):
        order = np.random.default_rng(split).permutation(len(truth))
        for size in REFERENCES:
            for count in JUDGED:
                rest = order[max(REFERENCES) :]
                judged, tested = rest[:count], rest[count : count + TESTED]
                part = Part("fashion", split, features, truth, {}, order[:size], judged, tested)
                views = part.views(part.reference, judged)
                for rate in RATES:
                    labels = symmetric(truth, rate, split)[judged]
                    of = {"split": split, "reference": size, "judged": count, "rate": rate}
                    yield of | cell(part, labels, views)
        print(f"split {split}: done", flush=True)


def cell(part: Part, labels: np.ndarray, views: np.ndarray) -> dict[str, float]:
    """The estimate, and the accuracy at every share."""
    fit = fit_quality(views, labels)
    judged, tested = part.judged, part.tested
    bench = Bench(
        judged.astype(np.int32), part.features[judged], labels, None, tested.astype(np.int32), part.features[tested],
        part.truth[tested], CLASSES, 10, Path(), None,
    )  # fmt: skip
    scores = views[np.arange(len(labels)), labels]
    fits = [Fit("kept", "", share, seed, keeping(scores, share)) for seed in range(SEEDS) for share in SHARES]
    rows = pd.DataFrame([row for seed in range(SEEDS) for row in bench.fit([f for f in fits if f.seed == seed])])
    accuracy = rows.groupby("budget")["accuracy"].mean()
    sure = {f"sure {p}": float((fit.good >= p).mean()) for p in (0.5, 0.6, 0.7, 0.8, 0.9)}
    return {"share": fit.quality.share, **sure, **{str(share): accuracy[share] for share in SHARES}}


def graded(table: pd.DataFrame) -> pd.DataFrame:
    """A rule a row: points of accuracy left to the best share, over all cells and for each size."""
    accuracy = table[[str(share) for share in SHARES]].to_numpy()
    rows = []
    for name, rule in RULES.items():
        shares = rule(table).clip(SHARES[0], 1.0)
        own = [np.interp(share, SHARES, each) for share, each in zip(shares, accuracy, strict=True)]
        lost = pd.Series(100 * (accuracy.max(axis=1) - own), index=table.index)
        sizes = lost.groupby([table["reference"], table["judged"]]).mean()
        rows.append({"keep": name, "mean": lost.mean(), "95 % of cells": lost.quantile(0.95)}
                    | {f"{a} / {b}": value for (a, b), value in sizes.items()})  # fmt: skip
    return pd.DataFrame(rows).sort_values("mean", ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for features")
    parser.add_argument("--packages", type=Path, help="where the backbone's packages were installed into")
    asked = parser.parse_args(namespace=argparse.Namespace(better=False))
    table = pd.DataFrame(cells(asked))
    grades = graded(table)
    print(grades.round(2).to_string(index=False))
    print(write_csv("evaluate_budget", grades))
    body = f"""Points of accuracy that a rule leaves to the best share of its cell, over {len(table)} cells of
Fashion-MNIST: symmetric noise {RATES[0]} to {RATES[-1]}, {SPLITS} splits, what the reference's log-probability keeps.
The last columns are by samples of the reference / samples judged. *right with p*: every label whose probability to be
right is p or more.

{markdown(grades, 2)}
"""
    command = "python -m benchmarks.evaluate_budget --cache CACHE"
    print(write_section(Section("evaluate_budget", "How many to keep", command, body)))


if __name__ == "__main__":
    main()
