"""Where a run's images and captions come from: files and a tokenizer, or features that somebody made before.

Every source is asked by keys: a file's path, or a sample's id. What cannot be had is said as `UnreadableImage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mimic.images import UnreadableImage, image_bytes, read_image
from mimic.models.features import Features
from mimic.models.hub import Tokenize
from mimic.models.preprocess import Preprocess
from mimic.workspace.datasets import Inputs


class Images(Protocol):
    """What the image side of a model is given."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image's input, without the batch."""

    def keys(self, inputs: Inputs) -> list[str]:
        """What each sample is asked for by."""

    def __call__(self, key: str) -> Tensor:
        """One image's input, float32.

        Raises:
            UnreadableImage: it cannot be had.
        """


@dataclass(frozen=True)
class Pixels:
    """Image files below a root, by their paths."""

    root: Path
    preprocess: Preprocess

    @property
    def shape(self) -> tuple[int, ...]:
        return (1 if self.preprocess.mode == "L" else 3, *self.preprocess.size)

    def keys(self, inputs: Inputs) -> list[str]:
        return inputs.paths

    def __call__(self, key: str) -> Tensor:
        return self.preprocess(read_image(image_bytes(self.root, key)))


@dataclass(frozen=True)
class Vectors:
    """Rows of a file of features, by the samples' ids."""

    features: Features

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.features.image.shape[1],)

    def keys(self, inputs: Inputs) -> list[str]:
        return inputs.ids

    def __call__(self, key: str) -> Tensor:
        (row,) = self.features.rows([key])
        if row < 0:
            raise UnreadableImage(f"has no features in {self.features.name}")
        return self.features.image[row].float()


class Texts(Protocol):
    """What the text side of a model is given."""

    def unusable(self, inputs: Inputs) -> list[str | None]:
        """Why a sample has no text to score; None where it has."""

    def __call__(self, inputs: Inputs, rows: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """The texts of some usable rows, (B, …)."""


@dataclass(frozen=True)
class Tokens:
    """Captions, as the model's own tokenizer gives them: (B, T) int64."""

    tokenize: Tokenize

    def unusable(self, inputs: Inputs) -> list[str | None]:
        return [None if each else "has no caption" for each in inputs.captions]

    def __call__(self, inputs: Inputs, rows: Sequence[int] | NDArray[np.int64]) -> Tensor:
        return self.tokenize([inputs.captions[row] or "" for row in rows])


@dataclass(frozen=True)
class TextVectors:
    """Rows of a file of features, by the samples' ids: (B, Dt) float32."""

    features: Features

    def unusable(self, inputs: Inputs) -> list[str | None]:
        missing = f"has no features in {self.features.name}"
        return [missing if row < 0 else None for row in self.features.rows(inputs.ids)]

    def __call__(self, inputs: Inputs, rows: Sequence[int] | NDArray[np.int64]) -> Tensor:
        return self.features(self.features.rows([inputs.ids[row] for row in rows]))[1]
