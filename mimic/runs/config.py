"""What a scoring run is asked to do, and the name that follows from it. Knows no torch.

A run's id is a readable prefix and the hash of everything that determines its result, so the same command again finds
the same run and resumes it, and a changed setting makes a new one. Where files lie, how many threads decode and which
device computes are not part of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mimic.errors import MimicError
from mimic.scores import DEFAULT_PAIR_SIGNALS, DEFAULT_SIGNALS, PAIR_LOSSES

MAIN = "mimic"


class ModelConfig(BaseModel):
    """What a run of any kind compares on which samples.

    Attributes:
        dataset: name of an imported data set.
        model: a model spec, e.g. ``"small:convnet"``.
        reference: a checkpoint's path, or a spec of a model that comes with its weights.
        start: a checkpoint's path; None: the model as it is built.
        loss: ``"cross_entropy"`` of labels; ``"clip"`` or ``"siglip"`` of captions.
        label_smoothing: of the cross-entropy, 0 … 1.
        features: a file of frozen features, read instead of images and captions, see `mimic.models.features`.
        split: the split to work on; ``"all"``: every sample; None: ``train`` where there is one, else all.
        limit: take at most so many samples, spread evenly; None: all of them.
        head: what to do where only the reference's classifier has another number of outputs, see
            `mimic.models.adapt.reference_state`; None: refuse.
        preprocess: the fields of a `Preprocess` that replaces the model's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    model: str
    reference: str
    start: str | None = None
    loss: str = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    features: str | None = None
    split: str | None = None
    limit: int | None = Field(None, ge=1)
    head: Literal["reset", "map"] | None = None
    preprocess: dict[str, Any] | None = None

    @classmethod
    def checked(cls, **settings: Any) -> Self:
        """The settings, or a `MimicError` that names the field and what would work."""
        try:
            return cls(**settings)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise MimicError(
                f"the setting {field} = {first['input']!r} does not work: {first['msg'].lower()}"
            ) from None


class ScoreConfig(ModelConfig):
    """The settings of a scoring run.

    Attributes:
        scopes: which parameters the direction is taken over; the first one gives the signal ``mimic``.
        signals: names in `mimic.scores.SIGNALS`, or `PAIR_SIGNALS` for captions; ``mimic`` is always among them.
        method: how the derivative is taken.
        precision: of the forward passes; bf16 is compared with fp32 on the first samples.
        force: whether bf16 goes on where it ranks those otherwise.
        compile: whether torch.compile makes one program of the forward-mode pass.
        batch_size: samples a forward pass, ≥ 1. A caption is judged among as many.
        draws: how many times captions are put into batches at random; their scores are the mean.
        draw_seed: of these.
    """

    scopes: tuple[str, ...] = Field(("last",), min_length=1)
    signals: tuple[str, ...] = DEFAULT_SIGNALS
    method: Literal["auto", "closed", "jvp", "difference"] = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    force: bool = False
    compile: bool = False
    batch_size: int = Field(128, ge=1)
    draws: int = Field(8, ge=1)
    draw_seed: int = Field(0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _by_task(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Of captions other signals and another scope are usual."""
        usual = {"signals": DEFAULT_PAIR_SIGNALS, "scopes": ("image-last",)}
        return {**usual, **settings} if settings.get("loss") in PAIR_LOSSES else settings

    @classmethod
    def checked(cls, **settings: Any) -> Self:
        """As for every run; and the main signal must be among the signals."""
        config = super().checked(**settings)
        if MAIN not in config.signals:
            raise MimicError(
                f"--signals must contain {MAIN}: the run is sorted by it and the reference checked with it"
            )
        return config


def run_id(config: ModelConfig, identity: Mapping[str, Any], words: str) -> str:
    """The run's name: data set, model, some words of its kind, and ten hex digits of the hash.

    Args:
        config: the settings; those that name files count by their contents, which `identity` gives instead.
        identity: the contents' hashes and versions, whatever else determines the result; JSON values.
        words: what people shall tell such runs apart by, e.g. the first scope.
    """
    settings = config.model_dump(mode="json", exclude={"dataset", "reference", "start", "preprocess", "features"})
    if not settings.get("compile"):  # younger than runs that have none
        settings.pop("compile", None)
    if config.loss not in PAIR_LOSSES:  # what labels have no use for is no part of their runs' names
        settings = {name: each for name, each in settings.items() if name not in ("loss", "draws", "draw_seed")}
    text = json.dumps({**settings, **identity}, sort_keys=True)
    readable = "-".join([config.dataset, config.model.partition(":")[2], words])
    prefix = re.sub(r"[^A-Za-z0-9_]+", "-", readable).strip("-")[:60]
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
