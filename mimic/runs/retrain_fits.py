"""The fits of a retraining: many linear heads on frozen features at once, or the user's model one at a time.

Every arm takes as many steps on batches of the same samples in the same order; a sample that an arm leaves out has
weight 0 in it. So arms differ in what they see, and in nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mimic.files import replacing
from mimic.models.calling import evaluating, run
from mimic.runs.config import ScoreConfig
from mimic.scores.heads import Frozen, standardised, weighted_heads
from mimic.workspace.layout import Workspace

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from mimic.runs.prepare import Prepared

B = TypeVar("B")

_BATCH = 64
_RATE, _DECAY = 1e-3, 1e-2


@dataclass(frozen=True)
class Bench:
    """What is trained on, and what is tested.

    Attributes:
        samples: (N,) numbers of the training samples.
        features, labels: (N, D) and (N,) class codes of the given labels.
        right: (N,) whether the given label is right; None where no truth is known.
        test_samples, test_features, test_labels: the same of the T test samples; true labels where they are known.
        classes: K.
        epochs: of every fit.
        workspace: where the images' data set lies.
        config: of the run whose model is trained; None: heads on the features.
    """

    samples: NDArray[np.int32]
    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    right: NDArray[np.bool_] | None
    test_samples: NDArray[np.int32]
    test_features: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    classes: int
    epochs: int
    workspace: Path
    config: dict[str, Any] | None

    @property
    def tested(self) -> int:
        return len(self.test_labels)

    def fit(self, fits: list[Fit]) -> list[dict[str, Any]]:
        """Fits of one seed: all at once on features, one after the other with the run's model."""
        return (fit_features if self.config is None else fit_model)(self, fits)


@dataclass(frozen=True)
class Fit:
    """One model to train.

    Attributes:
        arm: everything, oracle, random, kept or weights.
        filter: whose scores decide; "" where none does.
        budget: the share of the samples that it may see.
        seed: of the batches' order.
        weights: (N,) 0 … 1.
    """

    arm: str
    filter: str
    budget: float
    seed: int
    weights: NDArray[np.float32]

    def row(self, correct: NDArray[np.bool_]) -> dict[str, Any]:
        """The fit as the table of fits holds it, given what of the test it got right."""
        return {
            "arm": self.arm, "filter": self.filter, "budget": self.budget, "seed": self.seed,
            "kept": float(self.weights.sum()), "accuracy": float(correct.mean()), "correct": correct,
        }  # fmt: skip


def fit_features(bench: Bench, fits: list[Fit]) -> list[dict[str, Any]]:
    """Linear heads on frozen features, all fits of one seed at once."""
    mean, deviation = bench.features.mean(axis=0), bench.features.std(axis=0)
    test = (bench.test_features - mean) / np.where(deviation > 0, deviation, np.inf)
    frozen = Frozen(bench.features, bench.labels, bench.classes, seed=fits[0].seed, epochs=bench.epochs)
    heads = weighted_heads(standardised(bench.features), frozen, np.stack([fit.weights for fit in fits], axis=1))
    inputs = torch.from_numpy(test.astype(np.float32))
    return [
        fit.row(head(inputs).argmax(dim=1).numpy() == bench.test_labels) for fit, head in zip(fits, heads, strict=True)
    ]


def fit_model(bench: Bench, fits: list[Fit]) -> list[dict[str, Any]]:
    """The user's model from its start, all parameters, AdamW; one fit after another."""
    from mimic.runs.prepare import prepare

    rows = []
    for fit in fits:
        torch.manual_seed(fit.seed)
        prepared = prepare(Workspace(bench.workspace), ScoreConfig(**(bench.config or {})))
        module = prepared.weights.built.module
        outputs = torch.from_numpy(prepared.classes.labels(bench.labels.astype(np.int32)))
        weights = torch.from_numpy(fit.weights)
        optimiser = torch.optim.AdamW(module.parameters(), lr=_RATE, weight_decay=_DECAY)
        order = torch.Generator().manual_seed(fit.seed)
        module.train()
        for _ in range(bench.epochs):
            for batch in torch.randperm(len(outputs), generator=order).split(_BATCH):  # type: ignore[no-untyped-call]
                chosen = batch[weights[batch] > 0]
                if not len(chosen):
                    continue
                images = _images(prepared, bench.samples[chosen.numpy()])
                losses = F.cross_entropy(run(module, images), outputs[chosen].to(images.device), reduction="none")
                own = weights[chosen].to(images.device)
                optimiser.zero_grad(set_to_none=True)
                ((losses * own).sum() / own.sum()).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
        known = torch.from_numpy(prepared.classes.labels(np.arange(bench.classes, dtype=np.int32)))
        with evaluating(module), torch.inference_mode():
            found = [
                run(module, _images(prepared, part))[:, known.to(prepared.device)].argmax(dim=1).cpu().numpy()
                for part in _pieces(bench.test_samples)
            ]
        rows.append(fit.row(np.concatenate(found) == bench.test_labels))
    return rows


def _pieces(samples: NDArray[np.int32]) -> Iterator[NDArray[np.int32]]:
    for first in range(0, len(samples), _BATCH):
        yield samples[first : first + _BATCH]


def _images(prepared: Prepared, samples: NDArray[np.int32]) -> Tensor:
    """(B, …) inputs in the order of the samples, on the run's device."""
    from mimic.workspace.samples import read_inputs

    rising = np.argsort(samples)  # inputs are read in the order of their numbers
    keys = prepared.images.keys(read_inputs(prepared.dataset, samples[rising]))
    inputs: list[Tensor] = [torch.empty(0)] * len(samples)
    for place, key in zip(rising, keys, strict=True):
        inputs[int(place)] = prepared.images(key)
    return torch.stack(inputs).to(prepared.device)


def save_bench(folder: Path, bench: DataclassInstance) -> tuple[Path, dict[str, Any]]:
    """A bench's arrays as a file that other processes read; its path, and the bench's other fields."""
    path = folder / "bench.npz"
    held = {f.name: getattr(bench, f.name) for f in fields(bench)}
    arrays = {name: value for name, value in held.items() if isinstance(value, np.ndarray)}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return path, {name: value for name, value in held.items() if name not in arrays}


def load_bench(kind: type[B], path: Path, facts: dict[str, Any]) -> B:
    """What `save_bench` wrote, of the kind that it was."""
    with np.load(path) as kept:
        return kind(**facts, **{name: kept[name] for name in kept.files})
