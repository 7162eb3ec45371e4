"""From settings to everything a training needs, in memory; what can be refused is refused here, before a run exists."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mimic.data import HELD
from mimic.errors import MimicError
from mimic.runs.config import run_id
from mimic.runs.prepare import Fitted, chosen_samples, chosen_split, fit_model
from mimic.runs.train.batches import Examples
from mimic.runs.train.config import NO_VALIDATION, VERSION, TrainConfig
from mimic.runs.train.tasks import TASKS, Task
from mimic.scores import VERSION as SCORES
from mimic.workspace.layout import Dataset, Workspace
from mimic.workspace.queries.training import true_codes
from mimic.workspace.samples import Inputs, read_inputs, sample_numbers


@dataclass(frozen=True)
class PreparedTraining:
    """A training's ingredients.

    Attributes:
        config: the settings, with both splits decided.
        dataset: what is trained on.
        fitted: start, reference, preprocessing, classes, device.
        task: what is learnt.
        train: the samples to learn from.
        held: split of the curves → samples to validate on.
        id: the run's name.
    """

    config: TrainConfig
    dataset: Dataset
    fitted: Fitted
    task: Task
    train: Examples
    held: dict[str, Examples]
    id: str


def prepare_training(
    workspace: Workspace, config: TrainConfig, device: str = "auto", threads: int | None = None
) -> PreparedTraining:
    """Load and check everything.

    Raises:
        MimicError: something in the settings, the data set or the weights does not fit; the sentence says what.
    """
    if config.loss not in TASKS:
        raise MimicError(f"there is no --loss {config.loss!r} to train with: one of {', '.join(TASKS)}")
    dataset = workspace.dataset(config.dataset)
    config = config.model_copy(update={"split": chosen_split(config, dataset)})
    numbers, held = _divided(config, dataset)
    fitted = fit_model(config, dataset, device)
    task = TASKS[config.loss](config, fitted)

    def examples(inputs: Inputs) -> Examples:
        return Examples(inputs, task, fitted.images, threads)

    train = examples(read_inputs(dataset, numbers, fitted.preprocess is not None))
    if len(train) < config.batch_size:
        raise MimicError(
            f"data set {dataset.name!r} has {len(train)} samples to train on: fewer than --batch-size "
            f"{config.batch_size}"
        )
    validation = {name: examples(inputs) for name, inputs in _validation(dataset, held, fitted).items()}
    identity = {
        "content": dataset.content,
        **fitted.identity,
        "scores": SCORES,
        "training": VERSION,
    }
    return PreparedTraining(
        config, dataset, fitted, task, train, validation, run_id(config, identity, f"train-{config.scope}")
    )


def _divided(config: TrainConfig, dataset: Dataset) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The samples to train on and those held back, ascending numbers."""
    numbers = chosen_samples(config, dataset)
    nobody = numbers[:0]
    if config.validation == NO_VALIDATION:
        return numbers, nobody
    wanted = config.validation or next((name for name in HELD if name in dataset.splits and name != config.split), None)
    if wanted is None:
        order = np.random.default_rng([config.seed, 2]).permutation(len(numbers))
        count = max(round(config.validation_share * len(numbers)), 1)
        return np.sort(numbers[order[count:]]), np.sort(numbers[order[:count]])
    if wanted not in dataset.splits or wanted == config.split:
        known = ", ".join(name for name in dataset.splits if name != config.split) or "no other split"
        raise MimicError(
            f"data set {dataset.name!r} has no split {wanted!r} beside the one trained on: --validation takes one of "
            f"{known}, or {NO_VALIDATION}"
        )
    held = sample_numbers(dataset, wanted)
    return np.setdiff1d(numbers, held, assume_unique=True), held


def _validation(dataset: Dataset, numbers: NDArray[np.int32], fitted: Fitted) -> dict[str, Inputs]:
    """The held samples at their given labels, and at their true ones where all are known and some differ."""
    if not len(numbers):
        return {}
    given = read_inputs(dataset, numbers, fitted.preprocess is not None)
    truth = true_codes(dataset, numbers)
    if (truth < 0).any() or (truth == given.codes).all():
        return {"validation": given}
    return {"validation": given, "truth": replace(given, codes=truth)}
