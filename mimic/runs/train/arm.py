"""One model in training: by Grad-Mimic, or with every weight the same to compare with. Knows no files, nor epochs.

Everything that the next step depends on is in its state: weights, optimizer, random numbers, what Grad-Mimic found out,
and the sums of the curves' next point.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.models.calling import Inputs
from mimic.models.head import find_head
from mimic.models.scope import needs_head, scope_parameters
from mimic.runs.prepare import Fitted
from mimic.runs.train.batches import Batch, augmented
from mimic.runs.train.config import GRAD_MIMIC, TrainConfig
from mimic.runs.train.tasks import Outcome, Task
from mimic.training.reweight import GradMimic
from mimic.training.weights import Temperature, geometric

_MEASURES = ("samples", "loss", "accuracy", "mean_score", "ess", "distance", "steps")


class Arm:
    """A copy of the start, trained.

    Args:
        name: ``"grad_mimic"`` or ``"uniform"``.
        config: the settings.
        task: what is learnt.
        fitted: start, reference and device.
        steps: how many there will be at most, for schedules.
        record: a folder for the visits of the re-weighted arm.

    Attributes:
        module: the model.
        reweight: weighs its batches; None in the uniform arm.
        step: steps done.

    Raises:
        MimicError: a scope that the model has not, or a reference that is no use to it.
    """

    def __init__(
        self, name: str, config: TrainConfig, task: Task, fitted: Fitted, steps: int, record: Path | None = None
    ) -> None:
        self.name = name
        self.step = 0
        self.module = copy.deepcopy(fitted.weights.built.module)
        self._config, self._task, self._steps, self._device = config, task, steps, fitted.device
        _train_only(self.module, config.trainable, fitted.example)
        self._optimizer = _optimizer(config, [each for each in self.module.parameters() if each.requires_grad])
        self.reweight = _grad_mimic(self.module, config, task, fitted, steps, record) if name == GRAD_MIMIC else None
        self._sums = torch.zeros(len(_MEASURES), dtype=torch.float64, device=self._device)

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        if self._config.schedule == "constant":
            return self._config.lr
        return self._config.lr * (1 + math.cos(math.pi * min(self.step / max(self._steps, 1), 1.0))) / 2

    def learn(self, batch: Batch, epoch: int) -> None:
        """One step.

        Args:
            batch: not empty.
            epoch: for the record, from 0.

        Raises:
            ReferenceExhausted: where the settings say so; the batch has been recorded, the model has not moved.
        """
        _training_mode(self.module)
        images = augmented(batch.images, self._config.augment, self._config.seed, self.step)
        outcome = self._outcome(images, batch.targets)
        self._optimizer.zero_grad()
        weights = self._go_back(outcome, batch.numbers, epoch)
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate
        self._optimizer.step()
        self.step += 1
        self._count(outcome, weights)

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Batch]) -> dict[str, Any]:
        """Mean loss and accuracy over some batches, in eval mode."""
        self.module.eval()
        samples, sums = 0, torch.zeros(2, dtype=torch.float64, device=self._device)
        for batch in batches:
            if len(batch.numbers):
                outcome = self._outcome(batch.images, batch.targets)
                sums += torch.stack([outcome.losses.double().sum(), outcome.right.double().sum()])
                samples += len(batch.numbers)
        loss, right = (sums / max(samples, 1)).tolist()
        return {"samples": samples, "loss": loss, "accuracy": right, "lr": self.rate}

    def point(self) -> dict[str, Any]:
        """Means since the last point, which begin anew here.

        Raises:
            MimicError: the loss is no number any more.
        """
        found = dict(zip(_MEASURES, self._sums.tolist(), strict=True))
        self._sums.zero_()
        samples, steps = max(found["samples"], 1), max(found["steps"], 1)
        if not math.isfinite(found["loss"]):
            raise MimicError(f"the loss is no number any more at step {self.step}: use a lower --lr")
        measured = {"samples": int(found["samples"]), "loss": found["loss"] / samples, "lr": self.rate}
        measured["accuracy"] = found["accuracy"] / samples
        if self.reweight is not None:
            measured["mean_score"] = found["mean_score"] / samples
            measured |= {name: found[name] / steps for name in ("ess", "distance")}
        return measured

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on; visits so far are on the disk when this returns."""
        random = [torch.get_rng_state()]
        random += [torch.cuda.get_rng_state(self._device)] if self._device.type == "cuda" else []
        return {
            "step": self.step,
            "model": self.module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "reweight": self.reweight.state_dict() if self.reweight is not None else None,
            "sums": self._sums,
            "random": random,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state_dict` was taken, to the bit; visits made since then are forgotten."""
        self.step = state["step"]
        self.module.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self.reweight is not None:
            self.reweight.load_state_dict(state["reweight"])
        self._sums.copy_(state["sums"])
        torch.set_rng_state(state["random"][0])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(state["random"][1], self._device)

    def close(self) -> None:
        """Takes Grad-Mimic off the model; every visit is on the disk after it."""
        if self.reweight is not None:
            self.reweight.close()

    def _outcome(self, images: Tensor, targets: Tensor) -> Outcome:
        half = self._config.precision == "bf16"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
            return self._task(self.module, images.to(self._device), targets.to(self._device))

    def _go_back(self, outcome: Outcome, numbers: Tensor, epoch: int) -> Tensor | None:
        if self.reweight is None:
            outcome.losses.mean().backward()  # type: ignore[no-untyped-call]
            return None
        with warnings.catch_warnings():  # that the reference is exhausted, the run says itself
            warnings.simplefilter("ignore", UserWarning)
            self.reweight.backward(
                outcome.losses,
                ids=numbers,
                labels=outcome.labels,
                epoch=epoch,
                parameters=self._config.parameters,
            )
        return self.reweight.weights

    def _count(self, outcome: Outcome, weights: Tensor | None) -> None:
        """Adds a step to the sums without waiting for the device."""
        size = len(outcome.losses)
        zero = outcome.losses.new_zeros(())
        score, share, distance = zero, zero, zero
        if self.reweight is not None and weights is not None:
            assert self.reweight.scores is not None
            assert self.reweight.distance is not None
            score, share = self.reweight.scores.sum(), 1 / (weights.square().sum() * size)
            distance = self.reweight.distance
        one = zero + 1
        measured = (one * size, outcome.losses.detach().sum(), outcome.right.sum(), score, share, distance, one)
        self._sums += torch.stack([each.double() for each in measured])


def _grad_mimic(
    module: nn.Module, config: TrainConfig, task: Task, fitted: Fitted, steps: int, record: Path | None
) -> GradMimic:
    temperature: Temperature = config.temperature
    if config.temperature_end is not None:
        temperature = geometric(config.temperature, config.temperature_end, steps)
    return GradMimic(
        module,
        fitted.weights.reference_state,
        temperature,
        config.scope,
        record,
        policy=config.policy,
        share=config.share,
        variant=config.variant,
        on_exhausted=config.on_exhausted,
        window=config.window,
        method=config.method,
        coupled=task.coupled,
        example=fitted.example if isinstance(fitted.example, Tensor) else None,
    )


def _optimizer(config: TrainConfig, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    further: dict[str, Any] = {} if config.weight_decay is None else {"weight_decay": config.weight_decay}
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, config.lr, momentum=config.momentum, **further)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, config.lr, **further)


def _train_only(module: nn.Module, trainable: str, example: Inputs) -> None:
    """Freezes what is outside a scope."""
    head = find_head(module, example)[0] if needs_head(trainable) else None
    chosen = set(scope_parameters(module, trainable, head))
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in chosen)


def _training_mode(module: nn.Module) -> None:
    """Train mode where something is trained: a frozen part keeps its statistics and drops nothing."""
    parameters = list(module.parameters())
    if parameters and not any(each.requires_grad for each in parameters):
        module.eval()
        return
    module.training = True
    for child in module.children():
        _training_mode(child)
