"""Somebody else's weights: read without running anything, matched to a model, or refused in a sentence.

Reads safetensors (one file, or sharded with an index) and torch's .pt with `weights_only=True`. Wrappers that training
scripts put around a state dict are opened, prefixes that DataParallel, `torch.compile` and Lightning put before every
name are taken off. Writes safetensors, byte for byte the same for the same tensors and metadata.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.files import replacing

INDEX_SUFFIX = ".safetensors.index.json"
TORCH_SUFFIXES = frozenset({".pt", ".pth", ".bin", ".ckpt", ".tar"})
# What training scripts wrap a state dict in, most specific first.
WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema", "ema", "module", "net")
UNPACKED = 10  # times its size, of an archive: weights are not packed at all, features seldom by a third
# Buffers that differ between versions of libraries and that no evaluation reads.
IRRELEVANT = ("num_batches_tracked", "position_ids")
# What training scripts save beside the tensors and what does nothing when it is built: arguments, paths, metrics.
_HARMLESS: list[Any] = [
    argparse.Namespace,
    PosixPath,
    np.float64(0).__reduce__()[0],  # the function that builds a NumPy scalar, wherever this NumPy keeps it
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "b1")),
]


@dataclass(frozen=True)
class Checkpoint:
    """A state dict and where it came from.

    Attributes:
        tensors: name → tensor, on the CPU, in the file's own dtypes and under the file's own names.
        metadata: the file's own notes; ``"classes"`` is a JSON list of class names in output order, ``"model"`` a spec,
            ``"adapter_config"`` the configuration that lay beside a LoRA adapter.
        sha256: of the file's bytes, then of the shards' in order of their names or of the adapter's configuration.
        name: the file's name, for messages and run.json.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)
    sha256: str = ""
    name: str = "the checkpoint"

    @property
    def classes(self) -> list[str] | None:
        """Class names in output order, where the file holds them.

        Raises:
            MimicError: the metadata's ``"classes"`` is no JSON list of strings.
        """
        if "classes" not in self.metadata:
            return None
        try:
            classes = json.loads(self.metadata["classes"])
        except (ValueError, RecursionError):
            classes = None
        if not isinstance(classes, list) or not all(isinstance(each, str) for each in classes):
            raise MimicError(f'{self.name}: the metadata\'s "classes" must be a JSON list of class names')
        return classes


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Reads a checkpoint without running any code in it.

    Args:
        path: a ``.safetensors`` file, its ``….safetensors.index.json`` or the folder that holds either, or a torch file
            (.pt, .pth, .bin, .ckpt) of tensors.

    Returns:
        The tensors under the file's own names; see `match_state` for bringing them to a model's.

    Raises:
        MimicError: missing, broken, of another format, holding code, or holding no tensors.
    """
    path = Path(path)
    if path.is_dir():
        path = _weights_in(path)
    if not path.is_file():
        raise MimicError(f"{path}: there is no such checkpoint file")
    if path.name.endswith(INDEX_SUFFIX):
        return _load_sharded(path)
    if path.suffix == ".safetensors":
        tensors, metadata = _read_safetensors(path)
    elif path.suffix in TORCH_SUFFIXES:
        tensors, metadata = _read_torch(path), {}
    else:
        raise MimicError(f"{path.name} is no checkpoint: .safetensors, or .pt/.pth/.bin/.ckpt of torch.save")
    if not tensors:
        raise MimicError(f"{path.name} holds no tensors: save a model's state_dict()")
    adapter = path.with_name("adapter_config.json")
    if path.stem == "adapter_model" and adapter.is_file():
        metadata = {**metadata, "adapter_config": _json(adapter)}
        return Checkpoint(tensors, metadata, _sha256([path, adapter]), path.name)
    return Checkpoint(tensors, metadata, _sha256([path]), path.name)


def save_checkpoint(path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes a safetensors file atomically; the same tensors and metadata give the same bytes.

    Args:
        path: where to; an existing file is replaced.
        tensors: name → tensor of any device; shared storage is written out for each name.
        metadata: notes to keep, e.g. ``{"classes": json.dumps([...])}``.

    Raises:
        MimicError: the file cannot be written there.
    """
    path = Path(path)
    plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    data = _sorted_header(safetensors.torch.save(plain, dict(metadata or {})))
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise MimicError(f"{path} cannot be written ({error.strerror}): choose another place") from None


def match_state(module: nn.Module, tensors: Mapping[str, Tensor], name: str = "the reference") -> dict[str, Tensor]:
    """A checkpoint's tensors under a model's own names, complete and of the right shapes.

    Args:
        module: the model that the tensors are meant for.
        tensors: a state dict, perhaps with a prefix before every name; values may be of another floating-point dtype.
        name: of the checkpoint, for the message.

    Returns:
        name → tensor for every entry of `module.state_dict()`; a buffer that the checkpoint lacks and no evaluation
        reads (`num_batches_tracked`) is the model's own.

    Raises:
        MimicError: names or shapes differ; the first three mismatches are named.
    """
    own = module.state_dict()
    found = without_prefix(tensors, set(own))
    state, wrong = {}, []
    for key, value in own.items():
        source = found.get(key)
        if source is None:
            source = next((found[twin] for twin in _twins(own, key) if twin in found), None)  # tied, saved once
        if source is not None and source.shape == value.shape:
            state[key] = source
        elif source is not None:
            wrong.append(f"{key} is {_shape(source)} there and {_shape(value)} in the model")
        elif key.endswith(IRRELEVANT):
            state[key] = value
        else:
            wrong.append(f"{key} {_shape(value)} is not in it")
    wrong += [f"{key} {_shape(found[key])} is not in the model" for key in found if not _known(key, own)]
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        model = type(module).__name__
        raise MimicError(f"{name} is of another architecture than {model}: {'; '.join(wrong[:3])}{more}")
    return state


def load_into(module: nn.Module, checkpoint: Checkpoint) -> None:
    """Gives a model the checkpoint's weights, in place.

    Raises:
        MimicError: the checkpoint is of another architecture; the model is left as it was.
    """
    module.load_state_dict(match_state(module, checkpoint.tensors, checkpoint.name))


def _weights_in(folder: Path) -> Path:
    candidates = sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*" + INDEX_SUFFIX))
    indices = [each for each in candidates if each.name.endswith(INDEX_SUFFIX)]
    if len(indices) == 1 or len(candidates) == 1:
        return (indices or candidates)[0]
    raise MimicError(f"{folder} holds {len(candidates) or 'no'} safetensors files: name one of them")


def _load_sharded(index: Path) -> Checkpoint:
    try:
        weight_map: dict[str, str] = json.loads(index.read_text())["weight_map"]
        files = [index.parent / Path(name).name for name in sorted(set(weight_map.values()))]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise MimicError(f'{index.name} is a broken index: it needs a "weight_map" of tensor names to files') from None
    tensors: dict[str, Tensor] = {}
    for file in files:
        if not file.is_file():
            raise MimicError(f"{index.name} names {file.name}, which is not beside it")
        tensors |= _read_safetensors(file)[0]
    if missing := sorted(set(weight_map) - set(tensors)):
        raise MimicError(f"{index.name} names {missing[0]}, which its files do not hold")
    return Checkpoint(tensors, {}, _sha256([index, *files]), index.name)


def _json(path: Path) -> str:
    try:
        text = path.read_text()
        json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise MimicError(f"{path.name} is broken ({error})") from None
    return text


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except Exception as error:  # a header may ask for any length, shape and dtype
        raise MimicError(f"{path.name} is a broken safetensors file ({error}): copy or save it again") from None


def _read_torch(path: Path) -> dict[str, Tensor]:
    refuse_bomb(path)
    try:
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # what matters of it is said below
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise MimicError(
            f"{path.name} holds Python code or objects besides tensors, and code of a checkpoint is never run: "
            "save model.state_dict() with safetensors"
        ) from None
    except Exception as error:  # whatever the instructions of a broken pickle lead to
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise MimicError(f"{path.name} is a broken torch file ({reason}): copy or save it again") from None
    for _ in WRAPPERS:  # not while: a pickle may hold itself
        if not isinstance(content, Mapping) or _tensors(content):
            break
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    return _tensors(content) if isinstance(content, Mapping) else {}


def refuse_bomb(path: Path) -> None:
    """What a zip file (torch's and NumPy's are) unpacks to may be a few times its size, not thousands of times.

    Raises:
        MimicError: it is more, or it cannot be told.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except OSError:
        return  # which its reader will say
    except Exception as error:  # a broken one leads to anything
        with path.open("rb") as file:
            if file.read(2) != b"PK":
                return  # no zip file
        # torch's own reader is less strict, and would unpack what could not be measured here
        raise MimicError(f"{path.name} is a broken zip file ({error}): copy or save it again") from None
    if unpacked > UNPACKED * path.stat().st_size:
        raise MimicError(
            f"{path.name} would unpack to {unpacked:,} bytes, more than {UNPACKED} times its size: save it again"
        )


def _tensors(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}


def without_prefix(tensors: Mapping[str, Tensor], wanted: set[str]) -> Mapping[str, Tensor]:
    """The tensors under the prefix that brings most names to the wanted ones, without it; all, where none does."""
    best, best_count = tensors, sum(name in wanted for name in tensors)
    if best_count == len(wanted):
        return best
    for prefix in sorted({prefix for name in tensors for prefix in _prefixes(name)}, key=len):
        stripped = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
        count = sum(name in wanted for name in stripped)
        if count > best_count:
            best, best_count = stripped, count
    return best


def _prefixes(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:depth]) + "." for depth in range(1, min(len(parts), 4)))


def _twins(own: Mapping[str, Tensor], key: str) -> list[str]:
    """Other names of the same memory in a state dict, as tied weights have."""
    value = own[key]
    return [
        name
        for name, other in own.items()
        if name != key and other.shape == value.shape and value.numel() and other.data_ptr() == value.data_ptr()
    ]


def _known(key: str, own: Mapping[str, Tensor]) -> bool:
    return key in own or key.endswith(IRRELEVANT)


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a single number"


def _sha256(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _sorted_header(data: bytes) -> bytes:
    """The same safetensors bytes with the metadata in order of its keys: the library writes them in a random one."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format aligns tensors to eight bytes
    return len(text).to_bytes(8, "little") + text + data[8 + length :]
