"""The two sets of weights of a run: the start's, in a model that is ready to use, and the reference's by its names.

Stages: read the checkpoints → build the model with as many outputs as the start has → give it the start's weights →
bring the reference to the same names and shapes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.models.adapt import reference_state
from mimic.models.build import SPECS, BuiltModel, build_model
from mimic.models.checkpoint import Checkpoint, load_checkpoint, load_into
from mimic.models.head import guess_head
from mimic.runs.config import ModelConfig

# Whatever a factory initialises at random must be the same in every process, or an interrupted run could not go on.
_INIT_SEED = 0
# Built by these, a model has no weights that anybody trained, unless its factory gives it some.
_WITHOUT_A_LIBRARY = ("small", "module")


@dataclass(frozen=True)
class Weights:
    """What a run compares.

    Attributes:
        built: the model with the start's weights, on the CPU.
        start: the start's name and hash.
        reference: the reference's name and hash.
        reference_state: the reference's tensors, one for every entry of the model's state dict.
        named: names of the model's outputs, where a checkpoint holds them.
        as_built: whether the start is the model as it was built.
    """

    built: BuiltModel
    start: Checkpoint
    reference: Checkpoint
    reference_state: dict[str, Tensor]
    named: list[str] | None
    as_built: bool


def load_weights(config: ModelConfig, classes: list[str]) -> Weights:
    """Read, build and match.

    Args:
        config: names the model, the start, the reference and the rule for another classifier.
        classes: the data set's classes: as many outputs as these are built where no checkpoint says otherwise; none for
            captions, whose models have no outputs.

    Raises:
        MimicError: a checkpoint or spec that cannot be read or does not fit; start and reference of different tasks.
    """
    start = load_checkpoint(config.start) if config.start else None
    from_spec = not Path(config.reference).exists() and config.reference.partition(":")[0] in SPECS
    reference = None if from_spec else load_checkpoint(config.reference)
    named = _names(start, reference, config)
    built = _build_start(config, [each for each in (start, reference) if each], named or classes)
    if start is not None:
        load_into(built.module, start)
    state = built.module.state_dict()
    begun = start or Checkpoint(state, {}, sha256_of(state), config.model)
    if reference is None:
        theirs = _built(config.reference, len(named or classes), pretrained=True).module.state_dict()
        reference = Checkpoint(theirs, {}, sha256_of(theirs), config.reference)
    outputs = named or (classes if _head_outputs(built.module) == len(classes) else None)
    matched = reference_state(built.module, reference, config.head, outputs)
    return Weights(built, begun, reference, matched, named, start is None)


def _names(start: Checkpoint | None, reference: Checkpoint | None, config: ModelConfig) -> list[str] | None:
    """Names of the start's outputs; the reference's are the same, unless another classifier was allowed for."""
    mine = start.classes if start else None
    theirs = reference.classes if reference else None
    if config.head is not None:
        return mine
    if start and reference and mine and theirs and mine != theirs and len(mine) == len(theirs):
        raise MimicError(
            f"{start.name} and {reference.name} name different classes or another order, so their outputs mean "
            "different things: use a start and a reference of the same task, or --head map or reset"
        )
    return mine or theirs


def _build_start(config: ModelConfig, checkpoints: list[Checkpoint], names: list[str]) -> BuiltModel:
    pretrained = config.start is None and config.model.partition(":")[0] not in _WITHOUT_A_LIBRARY
    built = _built(config.model, len(names), pretrained)
    outputs = None if pretrained or not names else _outputs_in(built.module, checkpoints)
    return built if outputs in (None, len(names)) else _built(config.model, outputs or 0)


def _built(spec: str, outputs: int, pretrained: bool = False) -> BuiltModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_INIT_SEED)
        return build_model(spec, outputs, pretrained)


def _head_outputs(module: nn.Module) -> int | None:
    try:
        return guess_head(module)[1].out_features
    except MimicError:
        return None


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


def sha256_of(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of a state dict: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
