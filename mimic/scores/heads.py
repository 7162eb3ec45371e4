"""A linear head on frozen features, trained from zero on the given labels: what the data itself says of its labels.

Stages: standardise the features → a zero head → AdamW for a few epochs, each a visit of every sample. `visit_margins`
looks at the samples while they are trained on; `out_of_fold` only at those left out. Instead of the given labels a head
can be taught what is believed of them: `targets`, or a matrix of `flips` that corrects the loss forward (Patrini et al.
2017, arXiv 1609.03683), so that the head learns the label that was meant and not the one that was given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mimic.losses import NO_LABEL
from mimic.scores.logits import margin

EPOCHS = 10
FOLDS = 5

_DECAY = 1e-2
_STEPS = 31  # an epoch, at least: small data sets are taken in smaller batches, or a head would hardly move
_BATCHES = (32, 256)
# AdamW moves each weight by about its rate: with fewer features the same step in logits takes a larger one.
_RATE, _RATE_AT, _MOST = 1e-3, 1280, 1e-2


@dataclass(frozen=True)
class Frozen:
    """Features that no longer change, with the given labels.

    Attributes:
        features: (N, D) float32; any scale.
        labels: (N,) int64, 0 … K−1; −1 for a sample without a label, which no head is trained on.
        classes: K.
        seed: of the batches' order and of the folds.
        epochs: how often each sample is visited.
        folds: how many heads `out_of_fold` trains.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: int
    seed: int = 0
    epochs: int = EPOCHS
    folds: int = FOLDS


@dataclass(frozen=True)
class Belief:
    """What is thought of the given labels; by default that they are right.

    Attributes:
        flips: (K, K), the chance that a sample meant as the row's class was given the column's label.
        targets: (N, K), how likely each class is to be the meant one; taught instead of the labels.
    """

    flips: NDArray[np.float64] | None = None
    targets: NDArray[np.float64] | None = None


TRUSTING = Belief()


@dataclass(frozen=True)
class Head:
    """Logits of standardised features: a linear layer, weight (K, D) and bias (K,)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """(B, D) → (B, K)."""
        return F.linear(features, self.weight, self.bias)


def visit_margins(frozen: Frozen, belief: Belief = TRUSTING) -> NDArray[np.float32]:
    """Each sample's margin after each epoch of one head that is trained on all of them.

    Returns:
        (N, epochs) logit of the given label minus the highest other; NaN for samples without a label.
    """
    features, labels = standardised(frozen.features), torch.from_numpy(frozen.labels)
    visits = [margin(head(features), labels.clamp_min(0)) for head in heads(frozen, belief)]
    return torch.where((labels == NO_LABEL)[:, None], torch.nan, torch.stack(visits, dim=1)).numpy()


def out_of_fold(frozen: Frozen, belief: Belief = TRUSTING) -> NDArray[np.float32]:
    """Log-probabilities of every class for each sample, by a head that was not trained on it.

    The heads of all folds are trained in one go over the same batches, each passing over its own fold.

    Returns:
        (N, K) in nats; for a sample without a label too.
    """
    features = standardised(frozen.features)
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(frozen.seed))
    fold = torch.empty(len(features), dtype=torch.long)
    fold[order] = torch.arange(len(features)) % frozen.folds
    *_, all_heads = _training(features, frozen, belief, fold[:, None] != torch.arange(frozen.folds))
    found = torch.empty(len(features), frozen.classes)
    for head, number in zip(all_heads, range(frozen.folds), strict=True):
        left_out = fold == number
        found[left_out] = F.log_softmax(head(features[left_out]), dim=1)
    return found.numpy()


def heads(frozen: Frozen, belief: Belief = TRUSTING) -> Iterator[Head]:
    """A head that is trained on every sample with a label, as it is after each epoch."""
    features = standardised(frozen.features)
    for (head,) in _training(features, frozen, belief, torch.ones(len(features), 1, dtype=torch.bool)):
        yield head


def weighted_heads(features: Tensor, frozen: Frozen, weights: NDArray[np.float32]) -> list[Head]:
    """Several heads trained at once on the same batches, each with its own weights of the samples.

    A head that leaves samples out (weight 0) takes as many steps as one that takes all, so that they differ in what
    they see and not in how long they learn.

    Args:
        features: (N, D) standardised.
        frozen: the labels and settings; its own features are not looked at.
        weights: (N, F), 0 … 1.

    Returns:
        F heads, as they are after the last epoch.
    """
    *_, last = _training(features, frozen, TRUSTING, torch.from_numpy(weights))
    return last


def _training(features: Tensor, frozen: Frozen, belief: Belief, taken: Tensor) -> Iterator[list[Head]]:
    """F heads after each epoch; `taken` (N, F) weighs the samples each is trained on, of those with a label."""
    labels = torch.from_numpy(frozen.labels)
    flips, targets = (
        None if each is None else torch.from_numpy(each).float() for each in (belief.flips, belief.targets)
    )
    rows = (labels != NO_LABEL).nonzero().squeeze(1)
    count, classes = taken.shape[1], frozen.classes
    weight = torch.zeros(count * classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(count * classes, requires_grad=True)
    rate = min(_RATE * (_RATE_AT / features.shape[1]) ** 0.5, _MOST)
    size = min(max(len(rows) // _STEPS, _BATCHES[0]), _BATCHES[1])
    optimiser = torch.optim.AdamW([weight, bias], lr=rate, weight_decay=_DECAY)
    generator = torch.Generator().manual_seed(frozen.seed)
    for _ in range(frozen.epochs):
        for batch in rows[torch.randperm(len(rows), generator=generator)].split(size):  # type: ignore[no-untyped-call]
            logits = F.linear(features[batch], weight, bias).view(-1, count, classes)
            log_probs = F.log_softmax(logits, dim=2)
            if flips is not None:
                log_probs = (log_probs.exp() @ flips).clamp_min(1e-12).log()
            taught = F.one_hot(labels[batch], classes).float() if targets is None else targets[batch]
            losses = -(taught[:, None] * log_probs).sum(dim=2) * taken[batch]
            optimiser.zero_grad(set_to_none=True)
            (losses.sum(dim=0) / taken[batch].sum(dim=0).clamp_min(1e-6)).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        weights, biases = (each.detach().clone().view(count, classes, -1) for each in (weight, bias))
        yield [Head(*each) for each in zip(weights, biases.squeeze(2), strict=True)]


def standardised(features: NDArray[np.float32]) -> Tensor:
    """(N, D) with mean 0 and deviation 1 in each column; columns that never change are 0."""
    given = torch.from_numpy(np.ascontiguousarray(features))
    deviation = given.std(dim=0, correction=0)
    own = given - given.mean(dim=0)
    own /= torch.where(deviation > 0, deviation, torch.inf)  # in place: 100,000 × 1,280 are half a gigabyte
    return own
