"""Where a training stands, in one safetensors file: tensors as tensors, everything else as JSON beside them. No pickle.

A nested state (dicts, lists, tuples, numbers, texts, tensors), such as an optimizer's, becomes names and JSON and back.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mimic.models.checkpoint import load_checkpoint, save_checkpoint

_TENSOR, _TUPLE, _ITEMS = "$tensor", "$tuple", "$items"
_EMPTY = "nothing"  # a checkpoint without tensors is no checkpoint


def save_state(path: Path, state: Any) -> None:
    """Writes a state whole or not at all.

    Raises:
        MimicError: it cannot be written.
        TypeError: something in it is neither a tensor nor JSON.
    """
    tensors = _flat(state, "", {_EMPTY: torch.zeros(1)})
    save_checkpoint(path, tensors, {"state": json.dumps(_plain(state, ""))})


def load_state(path: Path) -> Any:
    """What `save_state` was given; tensors lie on the CPU.

    Raises:
        MimicError: missing or broken.
    """
    found = load_checkpoint(path)
    return _restored(json.loads(found.metadata["state"]), found.tensors)


def _flat(state: Any, name: str, into: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor by the path to it."""
    if isinstance(state, Tensor):
        into[name] = state
    elif isinstance(state, dict):
        for key, value in state.items():
            _flat(value, f"{name}/{key}", into)
    elif isinstance(state, list | tuple):
        for place, value in enumerate(state):
            _flat(value, f"{name}/{place}", into)
    return into


def _plain(state: Any, name: str) -> Any:
    """The state as JSON, with the names of its tensors."""
    if isinstance(state, Tensor):
        return {_TENSOR: name}
    if isinstance(state, dict):
        return {_ITEMS: [[key, _plain(value, f"{name}/{key}")] for key, value in state.items()]}
    if isinstance(state, list | tuple):
        values = [_plain(value, f"{name}/{place}") for place, value in enumerate(state)]
        return {_TUPLE: values} if isinstance(state, tuple) else values
    return state


def _restored(plain: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(plain, list):
        return [_restored(value, tensors) for value in plain]
    if not isinstance(plain, dict):
        return plain
    if _TENSOR in plain:
        return tensors[plain[_TENSOR]]
    if _TUPLE in plain:
        return tuple(_restored(value, tensors) for value in plain[_TUPLE])
    return {key: _restored(value, tensors) for key, value in plain[_ITEMS]}
