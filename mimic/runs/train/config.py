"""What a training run is asked to do. Knows no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mimic.runs.config import ModelConfig

# What a change of the training's arithmetic raises, so that its runs get other ids.
VERSION = 1
MAIN = "mimic_mean"  # the signal that a training run is sorted by
NO_VALIDATION = "none"  # the --validation that holds nothing back
GRAD_MIMIC, UNIFORM = "grad_mimic", "uniform"


class TrainConfig(ModelConfig):
    """The settings of a training run. Of `ModelConfig`, `split` is the split that is trained on.

    Attributes:
        scope, policy, temperature, share, on_exhausted, window, method: as of `mimic.training.reweight.GradMimic`.
        variant: ``"mimic"``, or ``"cosine"``, which divides by the length of the sample's own gradient.
        temperature_end: τ at the end, reached by the same factor each step; None: τ stays.
        parameters: whether every parameter gets the weighted gradient, or those of the scope alone.
        compare: ``"uniform"`` trains a second arm: the same start, order and pictures, every weight the same.
        trainable: a scope: what is trained; ``"last"`` is a linear probe.
        epochs: how often every sample is visited.
        seed: of the order, the augmentation, dropout, and of what is held back for validation.
        optimizer: the paper's is AdamW.
        lr: learning rate at the start.
        weight_decay: None: the optimizer's own default.
        momentum: of ``sgd``.
        schedule: ``"cosine"`` takes the learning rate down to 0.
        batch_size: samples a step.
        precision: of the forward passes, by autocast.
        augment: ``"flip"`` mirrors half of the pictures; ``"flip-crop"`` moves them as well, by up to an eighth.
        validation: a split; ``"none"``; None: the data set's own (validation, valid, val, dev, test), else a part of
            the trained split that is held back.
        validation_share: how large that part is.
    """

    scope: str = "last"
    policy: Literal["softmax", "clamp", "top", "uniform"] = "softmax"
    temperature: float = Field(1.0, gt=0, allow_inf_nan=False)
    temperature_end: float | None = Field(None, gt=0, allow_inf_nan=False)
    share: float = Field(0.5, gt=0, le=1)
    on_exhausted: Literal["continue", "uniform", "stop"] = "continue"
    window: int = Field(50, ge=1)
    method: Literal["auto", "backward", "double", "jvp", "difference"] = "auto"
    variant: Literal["mimic", "cosine"] = "mimic"
    parameters: Literal["all", "scored"] = "all"
    compare: Literal["uniform"] | None = None
    trainable: str = "full"
    epochs: int = Field(5, ge=1)
    seed: int = Field(0, ge=0)
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(1e-4, gt=0, allow_inf_nan=False)
    weight_decay: float | None = Field(None, ge=0, allow_inf_nan=False)
    momentum: float = Field(0.9, ge=0, lt=1)
    schedule: Literal["constant", "cosine"] = "constant"
    batch_size: int = Field(32, ge=2)
    precision: Literal["fp32", "bf16"] = "fp32"
    augment: Literal["none", "flip", "flip-crop"] = "none"
    validation: str | None = None
    validation_share: float = Field(0.1, gt=0, lt=1)

    @property
    def arms(self) -> list[str]:
        """What is trained, in order."""
        return [GRAD_MIMIC] if self.compare is None else [GRAD_MIMIC, UNIFORM]
