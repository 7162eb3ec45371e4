"""cleanlab itself, run as its documentation says, beside our signals on the same labels.

python -m benchmarks.quality_cleanlab fashion --cache C [--packages P]
python -m benchmarks.quality_cleanlab cifar10n --images I --labels L --cache C [--packages P]

Data, splits and our own scores are those of benchmarks.quality_frozen, whose cache is read. cleanlab is given what its
tutorials give it: class probabilities of scikit-learn's logistic regression by cross_val_predict over five folds, and
for Datalab the features too. It decides by itself how many labels are wrong, so its decision is compared with the
lowest scores of our signals at the same number.
"""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Iterator

import numpy as np
import pandas as pd
from cleanlab import Datalab
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from benchmarks.quality_frozen import COMMANDS, PHOTOS, TITLES, Cell, arguments, cells, finished_cells
from benchmarks.tables import Section, markdown, write_csv, write_section
from mimic.evaluation.detection import auroc
from mimic.scores.heads import standardised

RULES = ("prune_by_noise_rate", "prune_by_class", "both", "confident_learning", "low_self_confidence")
OURS = ("ensemble", "ref_logprob", "confident")
FOLDS = 5
FIGURES = ["dropped", "precision", "recall", "f1", "auroc"]
Mask = NDArray[np.bool_]


def decided(dropped: Mask, wrong: Mask) -> dict[str, float]:
    """What somebody who drops these gets; `dropped` as a share of all."""
    hits = float((dropped & wrong).sum())
    precision, recall = hits / max(dropped.sum(), 1), hits / max(wrong.sum(), 1)
    f1 = 2 * hits / max(dropped.sum() + wrong.sum(), 1)
    return {"dropped": float(dropped.mean()), "precision": precision, "recall": recall, "f1": f1}


def lowest(scores: NDArray[np.float32], count: int) -> Mask:
    """The `count` lowest scores."""
    mask = np.zeros(len(scores), dtype=bool)
    mask[np.argsort(scores, kind="stable")[:count]] = True
    return mask


def rows(cell: Cell, features: NDArray[np.float32], labels: NDArray[np.int64]) -> Iterator[dict[str, object]]:
    """cleanlab's decisions and ours for one version of the labels of one half."""
    known = {"labels": cell.labels, "split": cell.split}
    model = LogisticRegression(max_iter=200)
    probabilities = cross_val_predict(model, features, labels, cv=FOLDS, method="predict_proba")
    for rule in RULES:
        dropped = np.asarray(find_label_issues(labels, probabilities, filter_by=rule, n_jobs=1))
        yield known | {"filter": f"find_label_issues, {rule}"} | decided(dropped, cell.wrong)
    with contextlib.redirect_stdout(io.StringIO()):  # Datalab prints a report as it goes
        lab = Datalab(data={"label": labels}, label_name="label")
        lab.find_issues(pred_probs=probabilities, features=features, issue_types={"label": {}})
    found = lab.get_issues("label")
    dropped, scores = found.is_label_issue.to_numpy(dtype=bool), found.label_score.to_numpy(dtype=np.float32)
    yield known | {"filter": "Datalab", "auroc": auroc(scores, cell.wrong)} | decided(dropped, cell.wrong)
    for signal in OURS:
        own = cell.scores[signal]
        as_many = decided(lowest(own, int(dropped.sum())), cell.wrong)
        yield known | {"filter": f"{signal}, as many as Datalab", "auroc": auroc(own, cell.wrong)} | as_many


def report(asked: argparse.Namespace) -> None:
    """Run, print, and write results/quality_cleanlab_NAME.csv with its section of docs/results.md."""
    photos, found = COMMANDS[asked.command](asked), []
    features = standardised(photos.features).numpy()
    for cell in cells(photos, asked.splits, finished_cells(asked)):
        if cell.reference == "clean":  # cleanlab needs no reference: one of them is enough
            judged = np.random.default_rng(1 + cell.split).permutation(PHOTOS)[PHOTOS // 2 :]
            found += list(rows(cell, features[judged], photos.given(cell.split)[cell.labels][judged]))
            print(f"split {cell.split}, {cell.labels}: done", flush=True)
    grouped = pd.DataFrame(found).groupby(["labels", "filter"], sort=False)[FIGURES]
    table = grouped.mean().join(grouped.sem()["f1"].rename("f1_error")).reset_index()
    print(table.round(3).to_string(index=False))
    name = f"quality_cleanlab_{finished_cells(asked).name}"
    write_csv(name, table)
    text = f"""Of {PHOTOS // 2:,} judged labels, mean over {asked.splits} splits. cleanlab decides how many are wrong;
`dropped` is that share. Our signals, the reference trained on true labels of the other half, drop their lowest at
Datalab's number. AUROC where there is a score; Datalab's is the out-of-fold probability of the given label, from
logistic regression, `confident` the same by our own folds and head.

{markdown(table)}
"""
    command = f"python -m benchmarks.quality_cleanlab {asked.command} …"
    print(write_section(Section(name, f"cleanlab itself: {TITLES[asked.command]}", command, text)))


if __name__ == "__main__":
    report(arguments(__doc__))
