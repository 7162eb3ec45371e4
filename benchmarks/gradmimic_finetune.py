"""Full fine-tuning of a small network: Grad-Mimic by scope, and what its scores are worth as the training goes on.

A start is trained on a part of the photos with clean labels. The reference goes on from it with other photos, clean, so
that both share a coordinate system. Then every arm fine-tunes the start on a third part, whose labels are noisy. Plain
fine-tuning is looked at closely, at the start and after each epoch: how well each score finds the wrong labels.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.gradmimic_data import Pictures, noisy
from mimic import Direction, GradMimic, mimic_scores
from mimic.evaluation.detection import auroc
from mimic.models.small import SMALL
from mimic.scores.logits import gradient_norm, logprob, rho
from mimic.training.weights import Policy

NETWORKS = ("convnet", "convnet-group")  # with running statistics, and without
VERSIONS = ("symmetric 0.5", "asymmetric 0.4")
LAYERS = {
    "last": "last",
    "last convolution and head": r"re:^body\.(11|12)|^head",
    "first convolution": r"re:^body\.[01]\.",
    "full": "full",
}
Row = dict[str, object]


@dataclass(frozen=True)
class Recipe:
    """Photos of each part, of the test and of the close look; epochs of each stage; the optimiser.

    The start is young, so that there is a way to go from it to the reference: a start of eight epochs was as good as a
    reference of four more, and Grad-Mimic had nothing to follow.
    """

    photos: int = 2_000
    tested: int = 2_000
    looked: int = 1_000
    start: int = 2
    further: int = 6
    epochs: int = 4
    batch: int = 64
    rate: float = 1e-3


@dataclass(frozen=True)
class Stage:
    """Images with one version of their labels."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Setup:
    """One split: where every arm starts, where the reference ended, what is trained and tested on.

    Attributes:
        wrong: (N,), which labels of the judged photos are wrong.
    """

    start: nn.Module
    reference: nn.Module
    judged: Stage
    test: Stage
    wrong: np.ndarray
    recipe: Recipe
    seed: int


def prepare(pictures: Pictures, network: str, seed: int, recipe: Recipe) -> dict[str, Setup]:
    """Parts, start and reference, the same for every version of the judged labels; the seed is of all of them."""
    count = len(pictures.truth) - pictures.test
    order = np.random.default_rng(1 + seed).permutation(count)
    first, theirs, judged = (order[k * recipe.photos : (k + 1) * recipe.photos] for k in range(3))
    tested = np.arange(count, count + recipe.tested)
    images = torch.from_numpy(pictures.pixels).float() / 255 - 0.5
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    images, truth = images.contiguous(memory_format=torch.channels_last), torch.from_numpy(pictures.truth)
    torch.manual_seed(seed)
    start = SMALL[network](pictures.classes, images.shape[1], images.shape[2]).to(memory_format=torch.channels_last)
    plainly(start, Stage(images[first], truth[first]), recipe.start, recipe, seed)
    reference, both = copy.deepcopy(start), np.concatenate([first, theirs])
    plainly(reference, Stage(images[both], truth[both]), recipe.further, recipe, seed + 1)
    made = noisy(pictures, seed)
    return {
        version: Setup(
            start,
            reference,
            Stage(images[judged], torch.from_numpy(made[version][judged])),
            Stage(images[tested], truth[tested]),
            (made[version] != pictures.truth)[judged],
            recipe,
            seed,
        )
        for version in VERSIONS
    }


def plainly(model: nn.Module, stage: Stage, epochs: int, recipe: Recipe, seed: int) -> None:
    """Ordinary training."""
    for _ in steps(model, stage, epochs, recipe, seed, lambda losses, rows: losses.mean().backward()):
        pass


def steps(
    model: nn.Module,
    stage: Stage,
    epochs: int,
    recipe: Recipe,
    seed: int,
    backward: Callable[[Tensor, Tensor], object],
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Iterator[int]:
    """Trains in place with a rate that falls to 0, and gives the number of each finished epoch.

    Args:
        backward: takes (B,) losses and their rows, and leaves gradients.
        loss: takes (B, K) logits and rows; cross-entropy on the stage's labels by default.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.rate)
    total = epochs * -(-len(stage.labels) // recipe.batch)
    decay = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / total)
    order = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        model.train()
        for rows in torch.randperm(len(stage.labels), generator=order).split(recipe.batch):
            logits = model(stage.images[rows])
            losses = (
                F.cross_entropy(logits, stage.labels[rows], reduction="none") if loss is None else loss(logits, rows)
            )
            optimiser.zero_grad()
            backward(losses, rows)
            optimiser.step()
            decay.step()
        yield epoch


@torch.no_grad()
def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """(N, K) in eval mode."""
    model.eval()
    return torch.cat([model(each) for each in images.split(500)])


def accuracy(model: nn.Module, stage: Stage) -> float:
    """Per cent."""
    return 100 * float((logits_of(model, stage.images).argmax(dim=1) == stage.labels).float().mean())


def mimicking(setup: Setup, scope: str, policy: Policy, parameters: str = "all") -> tuple[nn.Module, GradMimic]:
    """Fine-tuned with the product's Grad-Mimic."""
    model = copy.deepcopy(setup.start)
    reweight = GradMimic(
        model, setup.reference.state_dict(), temperature=policy.temperature, scope=scope, policy=policy.name
    )
    backward = lambda losses, rows: reweight.backward(losses, parameters=parameters)  # noqa: E731
    for _ in steps(model, setup.judged, setup.recipe.epochs, setup.recipe, setup.seed, backward):
        pass
    reweight.close()
    return model, reweight


def weighted(setup: Setup, weigh: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> nn.Module:
    """Fine-tuned with weights of its own: model, losses (B,) and rows → (B,)."""
    model = copy.deepcopy(setup.start)

    def backward(losses: Tensor, rows: Tensor) -> None:
        (weigh(model, losses.detach(), rows) * losses).sum().backward()

    for _ in steps(model, setup.judged, setup.recipe.epochs, setup.recipe, setup.seed, backward):
        pass
    return model


def cosine_weights(setup: Setup) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """Clamp on the head's score over its gradient's length, in closed form from the features."""
    head = setup.reference.head

    def weigh(model: nn.Module, losses: Tensor, rows: Tensor) -> Tensor:
        with torch.no_grad():
            return Policy("clamp")(last_cosine(model, head, setup.judged.images[rows], setup.judged.labels[rows]))

    return weigh


def last_cosine(model: nn.Module, head: nn.Linear, images: Tensor, labels: Tensor) -> Tensor:
    """(B,) cosine of −gradient and the way to the reference's head, over the model's own head; in the model's mode."""
    features = model.body(images).mean(dim=(2, 3))
    logits = model.head(features)
    errors = logits.softmax(dim=1) - F.one_hot(labels, logits.shape[1])
    lead = F.linear(features, head.weight - model.head.weight, head.bias - model.head.bias)
    norm = torch.sqrt((head.weight - model.head.weight).square().sum() + (head.bias - model.head.bias).square().sum())
    return -(errors * lead).sum(dim=1) / (norm * gradient_norm(logits, features, labels, bias=True))


def arms(setup: Setup) -> Iterator[tuple[str, nn.Module, GradMimic | None]]:
    """Name, fine-tuned model, and the re-weighter that says when its reference was exhausted."""
    judged = setup.judged
    plain = copy.deepcopy(setup.start)
    plainly(plain, judged, setup.recipe.epochs, setup.recipe, setup.seed)
    yield "SGD", plain, None
    yield "start", setup.start, None
    yield "reference", setup.reference, None
    for name, scope in LAYERS.items():
        yield f"Grad-Mimic, {name}", *mimicking(setup, scope, Policy())
    yield "Grad-Mimic, last, clamp", *mimicking(setup, "last", Policy("clamp"))
    yield "Grad-Mimic, full, clamp", *mimicking(setup, "full", Policy("clamp"))
    yield "Grad-Mimic, last, other layers plain", *mimicking(setup, "last", Policy(), "scored")
    yield "Grad-Mimic, last, cosine", weighted(setup, cosine_weights(setup)), None
    theirs = logits_of(setup.reference, judged.images)
    held = F.cross_entropy(theirs, judged.labels, reduction="none")
    yield "RHO-loss", weighted(setup, lambda _, losses, rows: Policy()(losses - held[rows])), None
    model, soft = copy.deepcopy(setup.start), theirs.softmax(dim=1)
    backward = lambda losses, rows: losses.mean().backward()  # noqa: E731
    taught = lambda logits, rows: -(soft[rows] * F.log_softmax(logits, dim=1)).sum(dim=1)  # noqa: E731
    for _ in steps(model, judged, setup.recipe.epochs, setup.recipe, setup.seed, backward, taught):
        pass
    yield "distilled", model, None


def diagnosis(setup: Setup) -> list[Row]:
    """AUROC and mean of each score at the start, and after the first and the last epoch of plain fine-tuning."""
    model = copy.deepcopy(setup.start)
    rows = [{"epoch": 0, **each} for each in detection(setup, model)]
    plain = lambda losses, _: losses.mean().backward()  # noqa: E731
    for epoch in steps(model, setup.judged, setup.recipe.epochs, setup.recipe, setup.seed, plain):
        if epoch + 1 in (1, setup.recipe.epochs):
            rows += [{"epoch": epoch + 1, **each} for each in detection(setup, model)]
    return rows


def detection(setup: Setup, model: nn.Module) -> Iterator[Row]:
    """A row a score, at the model's present weights, on some of the judged photos."""
    looked = Stage(*(each[: setup.recipe.looked] for each in (setup.judged.images, setup.judged.labels)))
    own, theirs = logits_of(model, looked.images), logits_of(setup.reference, looked.images)
    found = {name: scored(setup, model, looked, scope) for name, scope in LAYERS.items()}
    with torch.no_grad():
        cosines = [last_cosine(model, setup.reference.head, *each) for each in _batches(looked)]
    found["last, cosine"] = torch.cat(cosines)
    if any(isinstance(each, nn.BatchNorm2d) for each in model.modules()):
        swapped = with_statistics(model, setup.reference)
        found |= {
            f"{scope}, the reference's statistics": scored(setup, swapped, looked, scope) for scope in ("last", "full")
        }
    found["log-probability of the reference"] = logprob(theirs, looked.labels)
    found |= {"RHO": rho(own, theirs, looked.labels), "log-probability of the model": logprob(own, looked.labels)}
    wrong = setup.wrong[: setup.recipe.looked]
    for name, scores in found.items():
        yield {"score": name, "auroc": auroc(scores.numpy(), wrong), "mean": float(scores.mean())}


def scored(setup: Setup, model: nn.Module, looked: Stage, scope: str) -> Tensor:
    """The product's Mimic Score, (N,)."""
    direction = Direction.between(model, setup.reference.state_dict(), scope=scope)
    return torch.cat([mimic_scores(model, images, labels, direction) for images, labels in _batches(looked)])


def with_statistics(model: nn.Module, other: nn.Module) -> nn.Module:
    """A copy of the model with the other's running statistics."""
    changed, theirs = copy.deepcopy(model), dict(other.named_buffers())
    for name, buffer in changed.named_buffers():
        buffer.copy_(theirs[name])
    return changed


def _batches(stage: Stage) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(stage.images.split(500), stage.labels.split(500), strict=True)


def finetune(pictures: Pictures, network: str, seed: int, recipe: Recipe) -> dict[str, list[Row]]:
    """Every arm's accuracy, and what the scores are worth, for every version of the labels."""
    found: dict[str, list[Row]] = {"arms": [], "scores": []}
    for version, setup in prepare(pictures, network, seed, recipe).items():
        shared = {"dataset": pictures.name, "network": network, "labels": version, "seed": seed}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="the mean Mimic Score")  # kept in `exhausted`
            for name, model, reweight in arms(setup):
                row = {"arm": name, "accuracy": accuracy(model, setup.test), "exhausted": _exhausted(reweight, setup)}
                found["arms"].append(shared | row)
        found["scores"] += [shared | row for row in diagnosis(setup)]
    return found


def _exhausted(reweight: GradMimic | None, setup: Setup) -> float | None:
    """Epochs after which the mean score was not positive any more."""
    if reweight is None or reweight.exhausted is None:
        return None
    return (reweight.exhausted.step + 1) / -(-len(setup.judged.labels) // setup.recipe.batch)
