"""The paper's own tables: ViT-B/16 with ImageNet weights on six sets of torchvision's, linear probe and fine-tuning.

Batch 32, AdamW 1e-4, five epochs (ten on DTD and Flowers102), symmetric noise 0.4, 0.5 and 0.6, and a reference that
was trained in the same way on the same pictures with clean labels. It needs the sets, the weights and, for fine-tuning,
a GPU; here it is tested with a small network on made-up pictures. Rows: the paper's figures beside ours.

    python -m benchmarks.gradmimic --cache C --paper --root DATA [--download] [--device cuda] [--sets DTD CIFAR10 …]
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.gradmimic_cells import ORACLE, arms
from benchmarks.gradmimic_probe import Data, Recipe, train
from benchmarks.gradmimic_weights import Arm
from benchmarks.quality_frozen import symmetric
from benchmarks.tables import Section, markdown, write_csv, write_section
from mimic import GradMimic

NOISES = (0.4, 0.5, 0.6)
MODEL = "vit_base_patch16_224"
Build = Callable[[int], nn.Module]  # number of classes → network; 0: features instead of logits
Load = Callable[[Path, bool, bool, Callable[[Any], Tensor]], Dataset[Any]]


@dataclass(frozen=True)
class PaperSet:
    """One of the paper's sets.

    Attributes:
        load: folder, whether the training part, whether it may be downloaded, transform → pictures and labels.
        epochs: of every training.
        sgd, mimic, reference: the paper's accuracies in the linear probe, per cent, by `NOISES`.
    """

    load: Load
    epochs: int = 5
    sgd: tuple[float, ...] = ()
    mimic: tuple[float, ...] = ()
    reference: float = float("nan")


def by_split(name: str, train_split: str = "train") -> Load:
    """Sets whose parts torchvision tells apart by a word."""

    def load(root: Path, training: bool, download: bool, transform: Callable[[Any], Tensor]) -> Dataset[Any]:
        from torchvision import datasets

        split = train_split if training else "test"
        found: Dataset[Any] = getattr(datasets, name)(str(root), split=split, download=download, transform=transform)
        return found

    return load


def by_flag(name: str) -> Load:
    """Sets whose parts torchvision tells apart by yes and no."""

    def load(root: Path, training: bool, download: bool, transform: Callable[[Any], Tensor]) -> Dataset[Any]:
        from torchvision import datasets

        found: Dataset[Any] = getattr(datasets, name)(str(root), train=training, download=download, transform=transform)
        return found

    return load


SETS = {
    "DTD": PaperSet(by_split("DTD"), 10, (51.9, 47.7, 44.4), (54.7, 54.1, 50.4), 60.0),
    "Flowers102": PaperSet(by_split("Flowers102"), 10, (28.6, 21.5, 15.4), (42.8, 37.1, 31.7), 57.0),
    "STL10": PaperSet(by_split("STL10"), 5, (96.3, 95.5, 93.6), (97.2, 97.0, 96.9), 97.4),
    "OxfordIIITPet": PaperSet(by_split("OxfordIIITPet", "trainval"), 5, (87.3, 85.6, 83.5), (88.8, 88.3, 87.1), 89.5),
    "CIFAR10": PaperSet(by_flag("CIFAR10"), 5, (92.9, 92.1, 91.2), (94.2, 93.9, 93.8), 94.2),
    "CIFAR100": PaperSet(by_flag("CIFAR100"), 5, (75.6, 74.4, 73.3), (77.2, 76.8, 76.1), 77.9),
}


@dataclass(frozen=True)
class Bench:
    """How a set is worked on.

    Attributes:
        build: the network.
        transform: of a picture.
        root: where torchvision keeps its sets.
        device: of the network; linear heads are trained on the CPU.
        download: whether torchvision may fetch what is missing.
        batch, rate: of every training.
    """

    build: Build
    transform: Callable[[Any], Tensor]
    root: Path
    device: str = "cpu"
    download: bool = False
    batch: int = 32
    rate: float = 1e-4

    def parts(self, chosen: PaperSet) -> tuple[Dataset[Any], Dataset[Any]]:
        """Training and test pictures."""
        train_set, test_set = (chosen.load(self.root, each, self.download, self.transform) for each in (True, False))
        return train_set, test_set


class Relabelled(Dataset[tuple[Tensor, int, int]]):
    """The same pictures with other labels, and each one's number."""

    def __init__(self, pictures: Dataset[Any], labels: np.ndarray) -> None:
        self.pictures, self.labels = pictures, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int, int]:
        return self.pictures[i][0], int(self.labels[i]), i


def timm_bench(root: Path, device: str, download: bool, model: str = MODEL) -> Bench:
    """The paper's network with timm's ImageNet weights, and the preprocessing that belongs to them."""
    import timm

    config = timm.data.resolve_model_data_config(timm.create_model(model, pretrained=False))
    transform = timm.data.create_transform(**config, is_training=False)
    colour = lambda picture: transform(picture.convert("RGB"))  # noqa: E731
    return Bench(lambda k: timm.create_model(model, pretrained=True, num_classes=k), colour, root, device, download)


@torch.no_grad()
def outputs(network: nn.Module, pictures: Dataset[Any], device: str) -> tuple[Tensor, Tensor]:
    """What the network makes of every picture, (N, …), and the labels (N,)."""
    network.eval().to(device)
    found, labels = [], []
    for images, given, *_ in DataLoader(pictures, batch_size=128):
        found.append(network(images.to(device)).float().cpu())
        labels.append(torch.as_tensor(given))
    return torch.cat(found), torch.cat(labels)


def probe(name: str, chosen: PaperSet, bench: Bench, seed: int) -> Iterator[dict[str, object]]:
    """Every arm on frozen features, (set, noise, arm, accuracy)."""
    network = bench.build(0)
    (features, truth), (test, test_truth) = (outputs(network, each, bench.device) for each in bench.parts(chosen))
    classes = int(truth.max()) + 1
    labels = {
        f"symmetric {noise}": torch.from_numpy(symmetric(truth.numpy(), noise, seed, classes)) for noise in NOISES
    }
    data = Data(features, labels | {"clean": truth}, classes, test, {"": test_truth})
    recipe = Recipe(chosen.epochs, bench.batch, bench.rate, points=1)
    (reference,) = train(data, [Arm("reference", "uniform", "clean")], recipe, seed)
    full = Data(data.features, data.labels, classes, test, data.test_labels, {ORACLE: reference.head},
                {ORACLE: (features, truth)})  # fmt: skip
    asked = [arm for version in labels for arm in arms(version) if arm.reference in ("", ORACLE)]
    for each in [reference, *train(full, asked, recipe, seed)]:
        yield _row(name, "linear probe", each.arm.labels, each.arm.name, 100 * each.accuracy, seed)


def finetune(name: str, chosen: PaperSet, bench: Bench, seed: int) -> Iterator[dict[str, object]]:
    """Reference, SGD and Grad-Mimic with every parameter in training.

    As in the paper's code the classifier's weights are scored, and the weighted gradient goes to them alone.
    """
    train_set, test_set = bench.parts(chosen)
    truth = np.array([int(label) for _, label in train_set])
    classes = int(truth.max()) + 1

    def trained(labels: np.ndarray, reference: nn.Module | None = None) -> nn.Module:
        torch.manual_seed(seed)
        return _train(bench.build(classes), Relabelled(train_set, labels), chosen.epochs, bench, seed, reference)

    def accuracy(network: nn.Module) -> float:
        logits, labels = outputs(network, test_set, bench.device)
        return 100 * float((logits.argmax(dim=1) == labels).float().mean())

    reference = trained(truth)
    yield _row(name, "fine-tuning", "clean", "reference", accuracy(reference), seed)
    for noise in NOISES:
        labels = symmetric(truth, noise, seed, classes)
        for arm, guide in (("SGD", None), ("Grad-Mimic", reference)):
            yield _row(name, "fine-tuning", f"symmetric {noise}", arm, accuracy(trained(labels, guide)), seed)


def _train(
    network: nn.Module, pictures: Relabelled, epochs: int, bench: Bench, seed: int, reference: nn.Module | None
) -> nn.Module:
    network.to(bench.device)
    reweight = GradMimic(network, reference.state_dict(), scope="last-weight") if reference is not None else None
    optimiser = torch.optim.AdamW(network.parameters(), lr=bench.rate)
    loader = DataLoader(pictures, bench.batch, shuffle=True, generator=torch.Generator().manual_seed(seed))
    for _ in range(epochs):
        network.train()
        for images, labels, _ in loader:
            losses = F.cross_entropy(network(images.to(bench.device)), labels.to(bench.device), reduction="none")
            optimiser.zero_grad()
            if reweight is None:
                losses.mean().backward()
            else:
                reweight.backward(losses, parameters="scored")
            optimiser.step()
    if reweight is not None:
        reweight.close()
    return network


def _row(name: str, protocol: str, labels: str, arm: str, accuracy: float, seed: int) -> dict[str, object]:
    return {"dataset": name, "protocol": protocol, "labels": labels, "arm": arm, "accuracy": accuracy, "seed": seed}


def beside_the_paper(table: pd.DataFrame) -> pd.DataFrame:
    """A row a set, protocol and noise: ours, and the paper's linear probe."""
    means = table.groupby(["dataset", "protocol", "labels", "arm"], sort=False).accuracy.mean()
    rows = []
    for name, protocol in dict.fromkeys(zip(table.dataset, table.protocol, strict=True)):
        theirs = SETS.get(name, PaperSet(by_flag(name)))
        known = protocol == "linear probe" and bool(theirs.sgd)
        for i, noise in enumerate(NOISES):
            ours = means[name, protocol, f"symmetric {noise}"]
            rows.append(
                {"dataset": name, "protocol": protocol, "noise": noise, "SGD": ours["SGD"],
                 "Grad-Mimic": ours["Grad-Mimic"], "reference": means[name, protocol, "clean", "reference"],
                 "paper: SGD": theirs.sgd[i] if known else np.nan,
                 "paper: Grad-Mimic": theirs.mimic[i] if known else np.nan,
                 "paper: reference": theirs.reference if known else np.nan}
            )  # fmt: skip
    return pd.DataFrame(rows)


def run(
    bench: Bench, cache: Path, names: list[str], seeds: int, sets: dict[str, PaperSet] | None = None
) -> pd.DataFrame:
    """Every set, protocol and seed, from the cache where finished; a set that is not there is named and left out."""
    sets = SETS if sets is None else sets
    rows: list[dict[str, object]] = []
    for name in names:
        try:
            bench.parts(sets[name])
        except (RuntimeError, FileNotFoundError) as error:
            print(f"{name} is left out: {str(error).partition(chr(10))[0]}")
            continue
        for seed in range(seeds):
            for protocol in (probe, finetune):
                path = cache / f"paper-{name}-{protocol.__name__}-{seed}.json"
                if not path.exists():
                    found = json.dumps(list(protocol(name, sets[name], bench, seed)))
                    path.with_suffix(".tmp").write_text(found)
                    path.with_suffix(".tmp").replace(path)
                    print(f"{path.stem}: done", flush=True)
                rows += json.loads(path.read_text())
    return pd.DataFrame(rows)


def report(table: pd.DataFrame) -> None:
    """Prints; writes results/gradmimic_paper.csv and a section of docs/results.md."""
    if table.empty:
        raise SystemExit("none of the paper's sets is there: name torchvision's folder by --root, or give --download")
    shown = beside_the_paper(table)
    print(shown.round(1).to_string(index=False))
    write_csv("gradmimic_paper", table)
    body = f"""ViT-B/16 with timm's ImageNet weights, a head from zero in the linear probe; seeds:
{table.seed.nunique()}.

{markdown(shown, 1)}"""
    command = "python -m benchmarks.gradmimic --cache CACHE --paper --root DATA"
    print(write_section(Section("gradmimic_paper", "The paper's tables", command, body)))
