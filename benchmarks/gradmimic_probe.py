"""Linear heads trained side by side on the same batches: every arm of a comparison, for the price of one.

The arms of a split share features, batch order and optimiser, so a step is one matrix product forward and one backward
for all of them; what differs is the labels, the weights of a batch's samples and what is taught. A test holds the whole
loop against `GradMimic` in an ordinary one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gradmimic_weights import WEIGHERS, Arm, Batch, mimic_scores
from mimic.scores.heads import Head

COMPARED = 64  # samples whose mean gradient a batch is held against, drawn anew at each step
CHUNK = 256  # arms at a time
EVALUATED = 500  # test photos for the learning curve; the last figures are of all


@dataclass(frozen=True)
class Recipe:
    """How every head is trained: the paper's optimiser; learning curves are taken so many times."""

    epochs: int = 5
    batch: int = 32
    rate: float = 1e-4
    points: int = 20


@dataclass(frozen=True)
class Data:
    """What the arms are trained on.

    Attributes:
        features: (N, D).
        labels: version → (N,).
        classes: K.
        test_features: (T, D), what accuracy and loss are measured on.
        test_labels: "" → (T,), or by version of the labels.
        references: name → the reference's head.
        validations: name → features and labels of the samples whose mean gradient some arms follow.
        kept: name → (N,), which samples some arms are trained on.
    """

    features: Tensor
    labels: dict[str, Tensor]
    classes: int
    test_features: Tensor
    test_labels: dict[str, Tensor]
    references: dict[str, Head] = field(default_factory=dict)
    validations: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    kept: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Trained:
    """What became of an arm: its head, accuracy and loss on the test photos, the loss along the way, its visits."""

    arm: Arm
    head: Head
    accuracy: float
    loss: float
    steps: list[int]
    losses: list[float]
    scores: Tensor | None = None  # (N, epochs)
    weights: Tensor | None = None  # (N, epochs), times the batch's size: 1 is neutral


def train(data: Data, arms: list[Arm], recipe: Recipe, seed: int) -> list[Trained]:
    """Trains every arm from a zero head; the seed orders the batches, alike for all."""
    arms = sorted(arms, key=lambda arm: arm.group)
    chunks = [arms[first : first + CHUNK] for first in range(0, len(arms), CHUNK)]
    return [each for chunk in chunks for each in Training(data, chunk, recipe, seed).run()]


class Training:
    """A chunk of arms in training.

    Args:
        data, recipe, seed: as in `train`.
        arms: those of a kind side by side.
    """

    def __init__(self, data: Data, arms: list[Arm], recipe: Recipe, seed: int) -> None:
        self.data, self.arms, self.recipe = data, arms, recipe
        shape = (len(arms), data.classes, data.features.shape[1])
        self.weight, self.bias = torch.zeros(shape), torch.zeros(shape[:2])
        self.order, self.seed = torch.Generator().manual_seed(seed), seed
        self.drawn: dict[int, torch.Generator] = {}  # by how many there are to draw from
        self.optimiser = torch.optim.AdamW([self.weight, self.bias], lr=recipe.rate, fused=True)
        self.labels = torch.stack([data.labels[arm.labels] for arm in arms])
        self.taught = torch.tensor([arm.taught for arm in arms])[:, None, None]
        names = sorted({arm.reference for arm in arms} & set(data.references))
        self.reference_logits = torch.stack([data.references[n](data.features) for n in names]) if names else None
        self.kinds: list[tuple[slice, tuple[Tensor, Tensor] | None, list[int]]] = []
        for _, group in groupby(range(len(arms)), key=lambda i: arms[i].group):
            places = list(group)
            references = [data.references.get(arms[i].reference) for i in places]
            theirs = (
                (torch.stack([each.weight for each in references]), torch.stack([each.bias for each in references]))
                if all(each is not None for each in references)
                else None
            )
            given = [names.index(arms[i].reference) for i in places] if theirs is not None else []
            self.kinds.append((slice(places[0], places[-1] + 1), theirs, given))
        kept = [i for i, arm in enumerate(arms) if arm.record]
        self.records = {i: (torch.full((len(data.features), recipe.epochs), torch.nan),
                            torch.full((len(data.features), recipe.epochs), torch.nan)) for i in kept}  # fmt: skip

    def run(self) -> Iterator[Trained]:
        """Trains, and gives each arm's outcome."""
        rows = len(self.data.features)
        total = self.recipe.epochs * -(-rows // self.recipe.batch)
        marks = {round(total * k / self.recipe.points) for k in range(1, self.recipe.points + 1)}
        curve: list[Tensor] = []
        step = 0
        for epoch in range(self.recipe.epochs):
            order = torch.randperm(rows, generator=self.order)
            for batch in order.split(self.recipe.batch):
                self.step(batch, epoch)
                step += 1
                if step in marks:
                    curve.append(self.evaluate(EVALUATED)[1])
        accuracy, loss = self.evaluate(None)
        for i, arm in enumerate(self.arms):
            scores, weights = self.records.get(i, (None, None))
            along = [float(each[i]) for each in curve]
            head = Head(self.weight[i].clone(), self.bias[i].clone())
            yield Trained(arm, head, float(accuracy[i]), float(loss[i]), sorted(marks), along, scores, weights)

    def step(self, rows: Tensor, epoch: int) -> None:
        """One step on these samples, for every arm."""
        features, classes = self.data.features[rows], self.data.classes
        logits = self._logits(features)
        labels = self.labels[:, rows]
        given = F.one_hot(labels, classes).float()
        log_probs = F.log_softmax(logits, dim=2)
        probs = log_probs.exp()
        errors, losses = probs - given, -(log_probs * given).sum(dim=2)
        weights = torch.empty_like(losses)
        compared = self._compared()
        references = self.reference_logits[:, rows] if self.reference_logits is not None else None
        for places, theirs, given_references in self.kinds:
            arms = self.arms[places]
            lead = (
                references[given_references] - logits[places] if references is not None and theirs is not None else None
            )
            batch = Batch(
                arms, rows, features, logits[places], errors[places], losses[places], lead,
                (self.weight[places], self.bias[places]), theirs, compared, lambda arm: self.data.kept[arm.reference],
            )  # fmt: skip
            weights[places] = WEIGHERS[arms[0].kind](batch)
            self._keep(batch, weights[places], places, rows, epoch)
            if any(arm.taught for arm in arms):
                assert lead is not None
                soft = (logits[places] + lead).softmax(dim=2)
                errors[places] += self.taught[places] * (given[places] - soft)
        pull = (weights[:, :, None] * errors).transpose(0, 1).reshape(len(rows), -1)
        self.weight.grad = (pull.T @ features).view_as(self.weight)
        self.bias.grad = pull.sum(dim=0).view_as(self.bias)
        self.optimiser.step()

    def evaluate(self, count: int | None) -> tuple[Tensor, Tensor]:
        """Accuracy and loss (A,) on so many of the test photos."""
        logits = self._logits(self.data.test_features[:count])
        labels = torch.stack([self.data.test_labels.get(arm.labels, self.data.test_labels[""]) for arm in self.arms])
        labels = labels[:, :count]
        right = (logits.argmax(dim=2) == labels).float().mean(dim=1)
        return right, F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape).mean(
            1
        )

    def _logits(self, features: Tensor) -> Tensor:
        """(A, B, K)."""
        flat = torch.addmm(self.bias.flatten(), features, self.weight.flatten(0, 1).T)
        return flat.view(len(features), *self.bias.shape).transpose(0, 1).contiguous()

    def _compared(self) -> Callable[[Arm], tuple[Tensor, Tensor]]:
        """Samples to compare with, drawn once a step: the same ones wherever there are as many to draw from."""
        places: dict[int, Tensor] = {}
        drawn: dict[int, Tensor] = {}

        def compare(arm: Arm) -> tuple[Tensor, Tensor]:
            own = (self.data.features, self.data.labels[arm.labels])
            features, labels = self.data.validations.get(arm.reference, own)
            count = len(features)
            if count not in places:
                generator = self.drawn.setdefault(count, torch.Generator().manual_seed(1_000_000 + self.seed))
                places[count] = torch.randint(count, (COMPARED,), generator=generator)
            if id(features) not in drawn:
                drawn[id(features)] = features[places[count]]
            return drawn[id(features)], labels[places[count]]

        return compare

    def _keep(self, batch: Batch, weights: Tensor, places: slice, rows: Tensor, epoch: int) -> None:
        if not any(arm.record for arm in batch.arms):
            return
        scores = mimic_scores(batch)
        for i, arm in enumerate(batch.arms):
            if arm.record:
                kept = self.records[places.start + i]
                kept[0][rows, epoch], kept[1][rows, epoch] = scores[i], weights[i] * len(rows)


def blurred(head: Head, deviations: float, seed: int) -> Head:
    """A head with noise added: so many times the spread of its own weights, and of its biases."""
    generator = torch.Generator().manual_seed(seed)
    return Head(
        *(each + deviations * each.std() * torch.randn(each.shape, generator=generator) for each in
          (head.weight, head.bias))
    )  # fmt: skip
