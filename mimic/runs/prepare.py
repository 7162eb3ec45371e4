"""From settings to everything a worker needs, in memory; whatever can be refused is refused here, before a run exists.

Stages: data set and its samples → weights in a model → preprocessing → classes to outputs → direction and scorer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.losses import CrossEntropy
from mimic.models.build import BuiltModel
from mimic.models.calling import call, evaluating
from mimic.models.preprocess import Preprocess
from mimic.runs.classes import ClassMap, map_classes
from mimic.runs.config import EVERYTHING, ModelConfig, ScoreConfig, run_id
from mimic.runs.weights import Weights, load_weights
from mimic.scores import VERSION
from mimic.scores.scorer import SignalScorer
from mimic.workspace.datasets import sample_numbers
from mimic.workspace.layout import Dataset, Workspace


@dataclass(frozen=True)
class Prepared:
    """A run's ingredients.

    Attributes:
        config: the settings, with the split decided.
        dataset: what is scored.
        numbers: (N,) int32, the samples to score, ascending: a run's positions are places in it.
        classes: which output stands for which label.
        weights: the start's, in the model, on `device`; and the reference's.
        preprocess: from an image to the model's input.
        scorer: scores batches; it gives `margin` too, asked for or not, because the reference check needs it.
        signals: the names that were asked for, one a column of the run.
        id: the run's name.
        device: where batches go.
    """

    config: ScoreConfig
    dataset: Dataset
    numbers: NDArray[np.int32]
    classes: ClassMap
    weights: Weights
    preprocess: Preprocess
    scorer: SignalScorer
    signals: list[str]
    id: str
    device: torch.device


@dataclass(frozen=True)
class Fitted:
    """A model that fits a data set.

    Attributes:
        weights: the start's, in the model, on `device`; and the reference's.
        preprocess: from an image to the model's input.
        classes: which output stands for which label.
        example: (1, C, H, W) zeros on `device`.
        device: where batches go.
    """

    weights: Weights
    preprocess: Preprocess
    classes: ClassMap
    example: Tensor
    device: torch.device


def prepare(workspace: Workspace, config: ScoreConfig, device: str = "auto") -> Prepared:
    """Load and check everything.

    Args:
        workspace: holds the data set.
        config: the settings. A split of None becomes ``train`` where the data set has one, else ``all``.
        device: ``"auto"``, or what torch calls it: ``"cpu"``, ``"cuda"``, ``"mps"``.

    Raises:
        MimicError: something in the settings, the data set or the weights does not fit; the sentence says what.
    """
    dataset = workspace.dataset(config.dataset)
    config = config.model_copy(update={"split": chosen_split(config, dataset)})
    numbers = chosen_samples(config, dataset)
    fitted = fit_model(config, dataset, device)
    weights, preprocess, classes = fitted.weights, fitted.preprocess, fitted.classes
    wanted = tuple(dict.fromkeys([*config.signals, "margin"]))
    scorer = SignalScorer(
        weights.built.module,
        weights.reference_state,
        config.scopes,
        wanted,
        CrossEntropy(label_smoothing=config.label_smoothing),
        config.method,
        example=fitted.example,
        precision=config.precision,
        force=config.force,
    )
    identity = {
        "content": dataset.content,
        "reference": weights.reference.sha256,
        "start": weights.start.sha256,
        "preprocess": preprocess.model_dump(mode="json"),
        "outputs": classes.outputs,
        "output_of": classes.output_of.tolist(),
        "scores": VERSION,
    }
    return Prepared(
        config=config,
        dataset=dataset,
        numbers=numbers,
        classes=classes,
        weights=weights,
        preprocess=preprocess,
        scorer=scorer,
        signals=[name for name in scorer.columns if name != "margin" or name in config.signals],
        id=run_id(config, identity, config.scopes[0]),
        device=fitted.device,
    )


def fit_model(config: ModelConfig, dataset: Dataset, device: str = "auto") -> Fitted:
    """Load the weights, and find out how the model takes the data set's images and names its classes.

    Raises:
        MimicError: something in the settings or the weights does not fit.
    """
    place = _device(device)
    weights = load_weights(config, dataset.classes)
    preprocess = _preprocess(config, weights.built)
    module = weights.built.module.to(place)
    example = torch.zeros(1, 1 if preprocess.mode == "L" else 3, *preprocess.size, device=place)
    classes = map_classes(dataset.classes, _outputs(module, example), weights.named, config.model)
    return Fitted(weights, preprocess, classes, example, place)


def chosen_split(config: ModelConfig, dataset: Dataset) -> str:
    """The split to work on, or ``"all"``.

    Raises:
        MimicError: the data set has no such split.
    """
    split = config.split or ("train" if "train" in dataset.splits else EVERYTHING)
    if split != EVERYTHING and split not in dataset.splits:
        known = ", ".join(dataset.splits) or "no splits"
        raise MimicError(
            f"data set {dataset.name!r} has no split {split!r}: it has {known}; --split all takes everything"
        )
    return split


def chosen_samples(config: ModelConfig, dataset: Dataset) -> NDArray[np.int32]:
    """The numbers of the samples to work on, ascending; the split must have been chosen.

    Raises:
        MimicError: the data set has no labels.
    """
    if not dataset.classes:
        raise MimicError(f"data set {dataset.name!r} has no labels, and a score judges a label: import it with labels")
    return sample_numbers(dataset, None if config.split == EVERYTHING else config.split, config.limit)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise MimicError(f"there is no device {name!r} here: use --device auto or --device cpu") from None
    return device


def _preprocess(config: ModelConfig, built: BuiltModel) -> Preprocess:
    if config.preprocess is not None:
        try:
            return Preprocess.model_validate(config.preprocess)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "a field"
            raise MimicError(f"--preprocess: {field} does not work: {first['msg']}") from None
    if built.preprocess is None:
        raise MimicError(
            f"{config.model} does not say how it takes images: let the factory return (model, Preprocess(…)), "
            "or give --preprocess FILE with size, mean and std as JSON"
        )
    return built.preprocess


def _outputs(module: nn.Module, example: Tensor) -> int:
    try:
        with evaluating(module):
            return int(call(module, example).shape[1])
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:160]
        raise MimicError(
            f"{type(module).__name__} does not take an input of shape {tuple(example.shape)} ({reason}): "
            "its preprocessing has to fit it"
        ) from None
