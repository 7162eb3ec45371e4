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
from torch.nn.modules.batchnorm import _BatchNorm

from mimic.errors import MimicError
from mimic.models.calling import Inputs
from mimic.models.head import find_head
from mimic.models.scope import needs_head, scope_parameters
from mimic.runs.prepare import Fitted
from mimic.runs.train.batches import Batch, augmented
from mimic.runs.train.config import GRAD_MIMIC, TrainConfig
from mimic.runs.train.tasks import Outcome, Task
from mimic.training.reweight import GradMimic
from mimic.training.together import average_gradients, leads, part, processes, rank, total
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
        MimicError: a scope that the model has not, a reference that is no use to it, or a model or loss that several
            processes cannot train as one would.
    """

    def __init__(
        self, name: str, config: TrainConfig, task: Task, fitted: Fitted, steps: int, record: Path | None = None
    ) -> None:
        self.name = name
        self.step = 0
        self.module = copy.deepcopy(fitted.weights.built.module)
        self._config, self._task, self._steps, self._device = config, task, steps, fitted.device
        _train_only(self.module, config.trainable, fitted.example)
        _check_separable(self.module, task)
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
        """One step; of several processes each takes its part of the batch.

        Args:
            batch: at least a sample for each process.
            epoch: for the record, from 0.

        Raises:
            ReferenceExhausted: where the settings say so; the batch has been recorded, the model has not moved.
        """
        _training_mode(self.module)
        images = augmented(batch.images, self._config.augment, self._config.seed, self.step)
        mine, whole = part(len(images)), len(images)
        if processes() > 1:  # dropout differs between processes, and needs no state of theirs to go on
            torch.manual_seed(hash((self._config.seed, self.step, rank())) % 2**63)
        outcome = self._outcome(images[mine], batch.targets[mine])
        self._optimizer.zero_grad()
        weights = self._go_back(outcome, batch.numbers[mine], epoch, whole)
        average_gradients(each for each in self.module.parameters() if each.requires_grad)
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate
        self._optimizer.step()
        self.step += 1
        self._count(outcome, weights, whole)

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Batch]) -> dict[str, Any]:
        """Mean loss and accuracy over some batches, in eval mode."""
        self.module.eval()
        samples, sums = 0, torch.zeros(2, dtype=torch.float64, device=self._device)
        for batch in batches:
            mine = part(len(batch.numbers))
            if mine.start < mine.stop:
                outcome = self._outcome(batch.images[mine], batch.targets[mine])
                sums += torch.stack([outcome.losses.double().sum(), outcome.right.double().sum()])
            samples += len(batch.numbers)
        loss, right = (total(sums) / max(samples, 1)).tolist()
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

    def _go_back(self, outcome: Outcome, numbers: Tensor, epoch: int, whole: int) -> Tensor | None:
        """Gradients whose mean over the processes is the batch's; its weights, in the re-weighted arm."""
        if self.reweight is None:
            alone = processes() == 1
            loss = outcome.losses.mean() if alone else outcome.losses.sum() * (processes() / whole)
            loss.backward()  # type: ignore[no-untyped-call]
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
        return self.reweight.all_weights

    def _count(self, outcome: Outcome, weights: Tensor | None, whole: int) -> None:
        """Adds a step to the sums without waiting for the device; what is the batch's as a whole counts once."""
        zero = outcome.losses.new_zeros(())
        score, share, distance = zero, zero, zero
        if self.reweight is not None and weights is not None:
            assert self.reweight.scores is not None
            assert self.reweight.distance is not None
            score, share = self.reweight.scores.sum(), 1 / (weights.square().sum() * whole)
            distance = self.reweight.distance
        one = (zero + 1) * leads()
        share, distance = share * leads(), distance * leads()
        measured = (one * whole, outcome.losses.detach().sum(), outcome.right.sum(), score, share, distance, one)
        self._sums += total(torch.stack([each.double() for each in measured]))


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
        together=True,
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


def _check_separable(module: nn.Module, task: Task) -> None:
    """Refuses what couples the samples of a batch, where they lie in several processes."""
    if processes() == 1:
        return
    if task.coupled:
        raise MimicError("a loss of captions is one of its whole batch, so it is trained by one process: no torchrun")
    _training_mode(module)
    norm = next((name for name, each in module.named_modules() if isinstance(each, _BatchNorm) and each.training), None)
    if norm is not None:
        raise MimicError(
            f"{norm!r} normalises by its batch, of which each process would have a part: train by one process, give "
            "--trainable last, or take a model with layer or group norms"
        )


def _training_mode(module: nn.Module) -> None:
    """Train mode where something is trained: a frozen part keeps its statistics and drops nothing."""
    parameters = list(module.parameters())
    if parameters and not any(each.requires_grad for each in parameters):
        module.eval()
        return
    module.training = True
    for child in module.children():
        _training_mode(child)
