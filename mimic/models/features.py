"""Frozen features of a data set's images and captions, made once by whatever backbones and kept in a file.

- ``.safetensors`` with tensors ``image`` (N, Di) and ``text`` (N, Dt), floating point, and the N samples' ids as a JSON
  list ``ids`` in the metadata
- DataComp's ``.npz`` of CLIP embeddings beside the ``.parquet`` of the same name, whose column ``uid`` gives the ids:
  ``FILE.npz`` takes the ViT-L/14 ones, ``FILE.npz:b32`` the ViT-B/32 ones
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from mimic.errors import MimicError
from mimic.models.checkpoint import load_checkpoint, refuse_bomb, save_checkpoint

_DATACOMP = ("l14", "b32")


@dataclass(frozen=True)
class Features:
    """Features of N samples by the ids that the data set gives them.

    Attributes:
        ids: N ids, each once.
        image: (N, Di), of any floating-point type.
        text: (N, Dt).
        sha256: of the file.
        name: the file's name.
    """

    ids: list[str]
    image: Tensor
    text: Tensor
    sha256: str
    name: str

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {each: row for row, each in enumerate(self.ids)}

    def rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The samples' rows; −1 where the file does not hold a sample."""
        return np.array([self._rows.get(each, -1) for each in ids], np.int64)

    def __call__(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Features of some rows, float32: (B, Di), (B, Dt)."""
        index = torch.from_numpy(rows)
        return self.image[index].float(), self.text[index].float()


def load_features(source: str) -> Features:
    """Read a file of features.

    Args:
        source: see the module's list.

    Raises:
        MimicError: missing, broken, or not of one of these forms.
    """
    name, _, which = source.partition(".npz:")
    path = Path(f"{name}.npz" if which else source)
    if path.suffix == ".npz":
        return _checked(_read_datacomp(path, which or _DATACOMP[0]))
    if path.suffix != ".safetensors":
        raise MimicError(
            f"{path.name} is no file of features: .safetensors with image, text and ids, or DataComp's .npz"
        )
    found = load_checkpoint(path)
    try:
        ids = json.loads(found.metadata["ids"])
        image, text = found.tensors["image"], found.tensors["text"]
    except (KeyError, ValueError, RecursionError):
        raise MimicError(f"{path.name} lacks tensors image and text, or a JSON list `ids` in its metadata") from None
    return _checked(Features(ids, image, text, found.sha256, path.name))


def save_features(path: Path | str, ids: Sequence[str], image: Tensor, text: Tensor) -> None:
    """Write a file that `load_features` reads; half precision halves it."""
    save_checkpoint(path, {"image": image, "text": text}, {"ids": json.dumps(list(ids), ensure_ascii=False)})


def _read_datacomp(path: Path, which: str) -> Features:
    if which not in _DATACOMP:
        raise MimicError(f"{path.name}:{which}: there are embeddings of {' and '.join(_DATACOMP)}")
    beside = path.with_suffix(".parquet")
    refuse_bomb(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            image, text = (torch.from_numpy(arrays[f"{which}_{side}"]) for side in ("img", "txt"))
        ids = pq.read_table(beside, columns=["uid"])["uid"].to_pylist()
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    except (OSError, KeyError, ValueError, BadZipFile, TypeError) as error:
        raise MimicError(
            f"{path.name} cannot be read as DataComp's embeddings ({str(error).partition(chr(10))[0][:120]}): "
            f"it needs {which}_img and {which}_txt, and {beside.name} with column uid beside it"
        ) from None
    digest.update(f"{which} {json.dumps(ids)}".encode())
    return Features(ids, image, text, digest.hexdigest(), path.name)


def _checked(found: Features) -> Features:
    ids, image, text = found.ids, found.image, found.text
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids) or len(set(ids)) != len(ids):
        raise MimicError(f"{found.name}: its ids must be names, each once")
    for side, tensor in (("image", image), ("text", text)):
        if tensor.ndim != 2 or len(tensor) != len(ids) or not tensor.is_floating_point():
            raise MimicError(
                f"{found.name}: {side} is {tensor.dtype} {tuple(tensor.shape)}: ({len(ids)}, features) floating-point "
                "numbers are needed, a row an id"
            )
        if not tensor.isfinite().all():
            raise MimicError(f"{found.name}: {side} holds NaN or infinity: leave such samples out")
    return found
