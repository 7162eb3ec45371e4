"""The reference's embeddings of a run's images and captions: made while scoring, kept with the run.

RUN/embeddings/pieces/00000.npz   one a shard, written before its part
RUN/embeddings/samples.npy        int32 (N,) ascending; once everything is scored
               image.npy, text.npy  float16 (N, D), rows of unit length

Pages look things up in them, and signals of the whole set need no second pass over the images.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from mimic.data import Shard
from mimic.files import make_folder, replacing
from mimic.workspace.layout import Run
from mimic.workspace.queries.nearest import FOLDER

_PIECES = "pieces"
_SIDES = ("image", "text")


@dataclass(frozen=True)
class Embeddings:
    """A run's embeddings.

    Attributes:
        samples: (N,) int32, ascending: the samples that have any.
        image, text: (N, D) float16, rows of unit length.
    """

    samples: NDArray[np.int32]
    image: NDArray[np.float16]
    text: NDArray[np.float16]


@dataclass(frozen=True)
class Towers:
    """What a shard gave: (B,) its samples, ascending; image and text (B, D) float16, rows of unit length."""

    samples: NDArray[np.int32]
    image: NDArray[np.float16]
    text: NDArray[np.float16]

    @classmethod
    def of(cls, samples: NDArray[np.int32], features: tuple[Tensor, ...]) -> Towers:
        """From a model's image features (B, D) and text features (B, D)."""
        return cls(samples, *(F.normalize(each.float(), dim=1).half().cpu().numpy() for each in features[:2]))


def write_piece(run: Run, shard: Shard, towers: Towers) -> None:
    """Keep a shard's embeddings."""
    folder = make_folder(run.folder / FOLDER / _PIECES)
    path = folder / f"{shard.index:05}.npz"
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, samples=towers.samples, image=towers.image, text=towers.text)


def gather(run: Run) -> None:
    """Put the pieces of a run together, in the order of the samples; nothing where there are none."""
    folder = run.folder / FOLDER
    pieces = sorted((folder / _PIECES).glob("*.npz"))
    if not pieces:
        return
    earlier = read_embeddings(run)  # of a finished run, one of whose parts was damaged and scored again
    known = [] if earlier is None else [earlier.samples]
    samples = np.unique(np.concatenate([*known, *(_read(piece, "samples") for piece in pieces)]))
    for side in _SIDES:
        width = _read(pieces[0], side).shape[1]
        with replacing(folder / f"{side}.npy") as temporary:
            whole = open_memmap(temporary, "w+", np.float16, (len(samples), width))
            if earlier is not None:
                whole[np.searchsorted(samples, earlier.samples)] = getattr(earlier, side)
            for piece in pieces:
                whole[np.searchsorted(samples, _read(piece, "samples"))] = _read(piece, side)
            whole.flush()
    with replacing(folder / "samples.npy") as temporary, temporary.open("wb") as file:
        np.save(file, samples)
    shutil.rmtree(folder / _PIECES)


def read_embeddings(run: Run) -> Embeddings | None:
    """What a run kept, mapped from the disk; None where it kept nothing."""
    try:
        return Embeddings(
            *(np.load(run.folder / FOLDER / f"{name}.npy", mmap_mode="r") for name in ("samples", *_SIDES))
        )
    except FileNotFoundError:
        return None


def _read(piece: Path, name: str) -> NDArray[np.generic]:
    with np.load(piece, allow_pickle=False) as kept:
        found: NDArray[np.generic] = kept[name]
    return found
