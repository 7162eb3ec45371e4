"""What a training learns: which samples can teach it, what a batch's targets are, and every sample's loss.

The loop knows none of that, so another task is one class and one line in `TASKS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mimic.losses import NO_LABEL, CrossEntropy, Loss
from mimic.models.calling import logits_of, pairs_of
from mimic.runs.classes import ClassMap
from mimic.runs.inputs import Texts
from mimic.runs.prepare import Fitted
from mimic.runs.train.config import TrainConfig
from mimic.scores.pairs import finds_its_own
from mimic.workspace.samples import Inputs


@dataclass(frozen=True)
class Outcome:
    """What a model made of a batch.

    Attributes:
        losses: (B,) nats, with their graph where there is one.
        right: (B,) bool, whether the model's best guess is the target.
        labels: (B,) outputs of the given labels, for margins; None where the task has none.
    """

    losses: Tensor
    right: Tensor
    labels: Tensor | None = None


class Task(ABC):
    """A kind of training.

    Attributes:
        coupled: whether a sample's loss depends on the others of its batch.
    """

    coupled: bool

    @abstractmethod
    def unusable(self, inputs: Inputs) -> list[str | None]:
        """Why each sample cannot be learnt from; None where it can."""

    @abstractmethod
    def targets(self, inputs: Inputs, rows: NDArray[np.int64]) -> Tensor:
        """The targets of some rows of the inputs, (B, …), on the CPU."""

    @abstractmethod
    def __call__(self, module: nn.Module, images: Tensor, targets: Tensor) -> Outcome:
        """One forward pass of a batch."""


class Labels(Task):
    """Cross-entropy at the given label."""

    coupled = False

    def __init__(self, classes: ClassMap, loss: CrossEntropy) -> None:
        self._classes = classes
        self._loss = loss

    def unusable(self, inputs: Inputs) -> list[str | None]:
        return ["has no label" if label == NO_LABEL else None for label in self._classes.labels(inputs.codes).tolist()]

    def targets(self, inputs: Inputs, rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self._classes.labels(inputs.codes[rows]))

    def __call__(self, module: nn.Module, images: Tensor, targets: Tensor) -> Outcome:
        logits = logits_of(module(images), len(images))
        return Outcome(self._loss(logits, targets), logits.detach().argmax(dim=1) == targets, targets)


def _labels(config: TrainConfig, fitted: Fitted) -> Labels:
    return Labels(fitted.classes, CrossEntropy(label_smoothing=config.label_smoothing))


class Captions(Task):
    """A contrastive loss of images with captions, each among those of its batch."""

    coupled = True

    def __init__(self, texts: Texts, loss: Loss) -> None:
        self._texts = texts
        self._loss = loss

    def unusable(self, inputs: Inputs) -> list[str | None]:
        return self._texts.unusable(inputs)

    def targets(self, inputs: Inputs, rows: NDArray[np.int64]) -> Tensor:
        return self._texts(inputs, rows)

    def __call__(self, module: nn.Module, images: Tensor, targets: Tensor) -> Outcome:
        towers = pairs_of(module(images, targets), len(images))
        # Half-precision cosines differ by less than they are rounded by.
        towers = tuple(each.float() if each.dtype.itemsize < 4 else each for each in towers)
        return Outcome(self._loss(towers, None), finds_its_own(tuple(each.detach() for each in towers)))


def _captions(config: TrainConfig, fitted: Fitted) -> Captions:
    assert fitted.texts is not None
    return Captions(fitted.texts, fitted.loss)


# loss → the task that trains by it
TASKS: dict[str, Callable[[TrainConfig, Any], Task]] = {
    "cross_entropy": _labels,
    "clip": _captions,
    "siglip": _captions,
}
