"""From settings to everything a worker needs, in memory; whatever can be refused is refused here, before a run exists.

Stages: data set and its samples → weights in a model → preprocessing → classes to outputs → direction and scorer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from mimic.data import EVERYTHING
from mimic.errors import MimicError
from mimic.losses import CrossEntropy, Loss, get_loss, reads_pairs
from mimic.models.build import BuiltModel
from mimic.models.calling import Inputs, call, evaluating, pairs_of, run
from mimic.models.features import load_features
from mimic.models.preprocess import Preprocess
from mimic.runs.classes import ClassMap, map_classes
from mimic.runs.config import ModelConfig, ScoreConfig, run_id
from mimic.runs.inputs import Images, Pixels, Texts, TextVectors, Tokens, Vectors
from mimic.runs.memory import keep_freed
from mimic.runs.weights import Weights, load_weights
from mimic.scores import DRAW_ERROR, VERSION
from mimic.scores.scorer import SignalScorer
from mimic.workspace.layout import Dataset, Workspace
from mimic.workspace.samples import sample_numbers


@dataclass(frozen=True)
class Prepared:
    """A run's ingredients.

    Attributes:
        config: the settings, with the split decided.
        dataset: what is scored.
        numbers: (N,) int32, the samples to score, ascending: a run's positions are places in it.
        classes: which output stands for which label.
        weights: the start's, in the model, on `device`; and the reference's.
        preprocess: from an image to the model's input; None where frozen features are read.
        images: where the image side's inputs come from.
        texts: where captions' inputs come from; None for labels.
        scorer: scores batches.
        signals: the names that were asked for, one a column of the run.
        id: the run's name.
        device: where batches go.
    """

    config: ScoreConfig
    dataset: Dataset
    numbers: NDArray[np.int32]
    classes: ClassMap
    weights: Weights
    preprocess: Preprocess | None
    images: Images
    texts: Texts | None
    scorer: SignalScorer
    signals: list[str]
    id: str
    device: torch.device


@dataclass(frozen=True)
class Fitted:
    """A model that fits a data set.

    Attributes:
        weights: the start's, in the model, on `device`; and the reference's.
        preprocess: from an image to the model's input; None where frozen features are read.
        images: where the image side's inputs come from.
        texts: where captions' inputs come from; None for labels.
        loss: what the model is judged by.
        classes: which output stands for which label; no outputs for captions.
        example: an input of one sample on `device`: (1, C, H, W), or a pair of such tensors.
        device: where batches go.
    """

    weights: Weights
    preprocess: Preprocess | None
    images: Images
    texts: Texts | None
    loss: Loss
    classes: ClassMap
    example: Inputs
    device: torch.device

    @property
    def identity(self) -> dict[str, Any]:
        """What of all this a result depends on, beside the settings; JSON values."""
        facts: dict[str, Any] = {
            "reference": self.weights.reference.sha256,
            "start": self.weights.start.sha256,
            "preprocess": self.preprocess.model_dump(mode="json") if self.preprocess else None,
            "outputs": self.classes.outputs,
            "output_of": self.classes.output_of.tolist(),
        }
        return facts | ({"features": self.images.features.sha256} if isinstance(self.images, Vectors) else {})


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
    scorer = SignalScorer(
        fitted.weights.built.module,
        fitted.weights.reference_state,
        config.scopes,
        config.signals,
        fitted.loss,
        config.method,
        example=fitted.example,
        precision=config.precision,
        force=config.force,
        compiled=config.compile,
    )
    identity = {"content": dataset.content, **fitted.identity, "scores": VERSION}
    return Prepared(
        config=config,
        dataset=dataset,
        numbers=numbers,
        classes=fitted.classes,
        weights=fitted.weights,
        preprocess=fitted.preprocess,
        images=fitted.images,
        texts=fitted.texts,
        scorer=scorer,
        signals=[*scorer.columns, *([DRAW_ERROR] if fitted.texts and config.draws > 1 else [])],
        id=run_id(config, identity, config.scopes[0]),
        device=fitted.device,
    )


def fit_model(config: ModelConfig, dataset: Dataset, device: str = "auto") -> Fitted:
    """Load the weights, and find out how the model takes the data set's images and their labels or captions.

    Raises:
        MimicError: something in the settings or the weights does not fit.
    """
    keep_freed()
    loss = get_loss(config.loss)
    if reads_pairs(loss) != (dataset.task == "captions"):
        fits = "clip or siglip" if dataset.task == "captions" else "cross_entropy"
        raise MimicError(
            f"data set {dataset.name!r} has {dataset.task}, which loss {config.loss} does not read: {fits}"
        )
    place = _device(device)
    if reads_pairs(loss):
        return _fit_towers(config, dataset, loss, place)
    if config.features:
        raise MimicError("--features holds features of images and captions: labels are scored from images")
    if isinstance(loss, CrossEntropy):
        loss = CrossEntropy(label_smoothing=config.label_smoothing)
    weights = load_weights(config, dataset.classes)
    preprocess = _preprocess(config, weights.built)
    module = weights.built.module.to(place)
    images = Pixels(dataset.root, preprocess)
    example = torch.zeros(1, *images.shape, device=place)
    classes = map_classes(dataset.classes, _outputs(module, example), weights.named, config.model)
    return Fitted(weights, preprocess, images, None, loss, classes, example, place)


def _fit_towers(config: ModelConfig, dataset: Dataset, loss: Loss, place: torch.device) -> Fitted:
    weights = load_weights(config, [])
    tokenize, preprocess = weights.built.tokenize, None
    images: Images
    texts: Texts
    if config.features:
        features = load_features(config.features)
        images, texts = Vectors(features), TextVectors(features)
        words = torch.ones(1, features.text.shape[1])
    elif tokenize is None:
        raise MimicError(
            f"{config.model} brings no tokenizer, so it cannot read captions: use open_clip:NAME or hf:FOLDER, "
            "or give --features FILE with features of images and captions"
        )
    else:
        preprocess = _preprocess(config, weights.built)
        images, texts = Pixels(dataset.root, preprocess), Tokens(tokenize)
        words = tokenize(["a"])
    example = (torch.ones(1, *images.shape, device=place), words.to(place))
    _check_towers(weights.built.module.to(place), example)
    return Fitted(weights, preprocess, images, texts, loss, ClassMap([], np.empty(0, np.int64), ""), example, place)


def _check_towers(module: nn.Module, example: tuple[Tensor, Tensor]) -> None:
    try:
        with evaluating(module):
            pairs_of(run(module, example), 1)
    except (RuntimeError, TypeError, IndexError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        shapes = " and ".join(str(tuple(each.shape)) for each in example)
        raise MimicError(
            f"{type(module).__name__} does not take an image and a text of shapes {shapes} ({reason}): "
            "it needs two towers, and features or preprocessing that fit them"
        ) from None


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
    if dataset.task == "labels" and not dataset.classes:
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
