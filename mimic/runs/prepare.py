"""From settings to everything a worker needs, in memory; whatever can be refused is refused here, before a run exists.

Stages: data set → weights → a model with as many outputs as they have → start → classes to outputs → direction, scorer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.models.build import SPECS, BuiltModel, build_model
from mimic.models.calling import call, evaluating
from mimic.models.checkpoint import Checkpoint, load_checkpoint, load_into
from mimic.models.head import guess_head
from mimic.models.preprocess import Preprocess
from mimic.runs.classes import ClassMap, map_classes
from mimic.runs.config import EVERYTHING, ScoreConfig, run_id
from mimic.scores import VERSION
from mimic.scores.scorer import SignalScorer
from mimic.workspace.datasets import sample_numbers
from mimic.workspace.layout import Dataset, Workspace

# Whatever a factory initialises at random must be the same in every process, or an interrupted run could not go on.
_INIT_SEED = 0


@dataclass(frozen=True)
class Prepared:
    """A run's ingredients.

    Attributes:
        config: the settings, with the split decided.
        dataset: what is scored.
        numbers: (N,) int32, the samples to score, ascending: a run's positions are places in it.
        classes: which output stands for which label.
        built: the model with the start's weights, on `device`.
        preprocess: from an image to the model's input.
        reference, start: where the weights came from; the start is None where it is the model as built.
        scorer: scores batches; it gives `margin` too, asked for or not, because the reference check needs it.
        signals: the names that were asked for, one a column of the run.
        id: the run's name.
        device: where batches go.
    """

    config: ScoreConfig
    dataset: Dataset
    numbers: NDArray[np.int32]
    classes: ClassMap
    built: BuiltModel
    preprocess: Preprocess
    reference: Checkpoint
    start: Checkpoint | None
    scorer: SignalScorer
    signals: list[str]
    id: str
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
    config = _with_split(config, dataset)
    numbers = _numbers(config, dataset)
    place = _device(device)
    built, start, reference = _weights(config, dataset)
    preprocess = _preprocess(config, built)
    module = built.module.to(place)
    example = torch.zeros(1, 1 if preprocess.mode == "L" else 3, *preprocess.size, device=place)
    named = reference.classes or (start.classes if start else None)
    classes = map_classes(dataset.classes, _outputs(module, example), named, config.model)
    wanted = tuple(dict.fromkeys([*config.signals, "margin"]))
    scorer = SignalScorer(module, reference.tensors, config.scopes, wanted, config.loss, config.method, example=example)
    given = scorer(example, torch.zeros(1, dtype=torch.long, device=place)).signals
    identity = {
        "content": dataset.content,
        "reference": reference.sha256,
        "start": start.sha256 if start else _sha256(module.state_dict()),
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
        built=built,
        preprocess=preprocess,
        reference=reference,
        start=start,
        scorer=scorer,
        signals=[name for name in given if name != "margin" or name in config.signals],
        id=run_id(config, identity),
        device=place,
    )


def _with_split(config: ScoreConfig, dataset: Dataset) -> ScoreConfig:
    split = config.split or ("train" if "train" in dataset.splits else EVERYTHING)
    if split != EVERYTHING and split not in dataset.splits:
        known = ", ".join(dataset.splits) or "no splits"
        raise MimicError(
            f"data set {dataset.name!r} has no split {split!r}: it has {known}; --split all takes everything"
        )
    return config.model_copy(update={"split": split})


def _numbers(config: ScoreConfig, dataset: Dataset) -> NDArray[np.int32]:
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


def _weights(config: ScoreConfig, dataset: Dataset) -> tuple[BuiltModel, Checkpoint | None, Checkpoint]:
    """The model with the start's weights in it, the start's checkpoint if it has one, and the reference."""
    start = load_checkpoint(config.start) if config.start else None
    from_spec = not Path(config.reference).exists() and config.reference.partition(":")[0] in SPECS
    reference = None if from_spec else load_checkpoint(config.reference)
    known = [checkpoint for checkpoint in (reference, start) if checkpoint]
    named = next((checkpoint.classes for checkpoint in known if checkpoint.classes), None)
    if start and reference and None not in (start.classes, reference.classes) and start.classes != reference.classes:
        raise MimicError(
            f"{start.name} and {reference.name} name different classes or another order, "
            "so their outputs mean different things: use a start and a reference of the same task"
        )
    built = _build(config.model, len(named or dataset.classes))
    outputs = _outputs_in(built.module, known)
    if named is None and outputs is not None and outputs != len(dataset.classes):
        built = _build(config.model, outputs)
    if start is not None:
        load_into(built.module, start)
    if reference is None:
        state = _build(config.reference, len(named or dataset.classes)).module.state_dict()
        reference = Checkpoint(state, {}, _sha256(state), config.reference)
    return built, start, reference


def _build(spec: str, outputs: int) -> BuiltModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_INIT_SEED)
        return build_model(spec, outputs)


def _outputs_in(module: nn.Module, checkpoints: list[Checkpoint]) -> int | None:
    """How many outputs the first checkpoint's final layer has; None where that cannot be told from the names."""
    try:
        head = f"{guess_head(module)[0]}.weight"
    except MimicError:
        return None
    for checkpoint in checkpoints:
        for name, tensor in checkpoint.tensors.items():
            if tensor.ndim == 2 and (name == head or name.endswith(f".{head}")):
                return len(tensor)
    return None


def _preprocess(config: ScoreConfig, built: BuiltModel) -> Preprocess:
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


def _sha256(state: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
