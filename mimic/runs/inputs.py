"""Where a run's images and captions come from: files and a tokenizer, or features that somebody made before.

Every source is asked by keys: a file's path, or a sample's id. What cannot be had is said as `UnreadableImage`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mimic.images import UnreadableImage, image_bytes, images_bytes, read_image
from mimic.models.features import Features
from mimic.models.hub import Tokenize
from mimic.models.preprocess import Preprocess
from mimic.storage import Location, Remote
from mimic.workspace.samples import Inputs

# Key → bytes of its image, or why they cannot be had.
Fetched: TypeAlias = Mapping[str, bytes | UnreadableImage]
_NOTHING: Fetched = {}


class Images(Protocol):
    """What the image side of a model is given."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image's input, without the batch."""

    def keys(self, inputs: Inputs) -> list[str]:
        """What each sample is asked for by."""

    @property
    def far(self) -> bool:
        """Whether many are better fetched at once than one by one."""

    def fetch(self, keys: Sequence[str]) -> Fetched:
        """What is far, fetched together."""

    def __call__(self, key: str, fetched: Fetched = _NOTHING) -> Tensor:
        """One image's input, float32.

        Args:
            key: one of `keys`.
            fetched: by `fetch`, where images are far.

        Raises:
            UnreadableImage: it cannot be had.
        """


@dataclass(frozen=True)
class Pixels:
    """Image files below a root, by their paths."""

    root: Location
    preprocess: Preprocess

    @property
    def shape(self) -> tuple[int, ...]:
        return (1 if self.preprocess.mode == "L" else 3, *self.preprocess.size)

    def keys(self, inputs: Inputs) -> list[str]:
        return inputs.paths

    @property
    def far(self) -> bool:
        return isinstance(self.root, Remote)

    def fetch(self, keys: Sequence[str]) -> Fetched:
        assert isinstance(self.root, Remote)
        return dict(zip(keys, images_bytes(self.root, keys), strict=True))

    def __call__(self, key: str, fetched: Fetched = _NOTHING) -> Tensor:
        data = fetched[key] if key in fetched else image_bytes(self.root, key)
        if isinstance(data, UnreadableImage):
            raise data
        return self.preprocess(read_image(data))


@dataclass(frozen=True)
class Vectors:
    """Rows of a file of features, by the samples' ids."""

    features: Features

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.features.image.shape[1],)

    def keys(self, inputs: Inputs) -> list[str]:
        return inputs.ids

    @property
    def far(self) -> bool:
        return False

    def fetch(self, keys: Sequence[str]) -> Fetched:
        return {}

    def __call__(self, key: str, fetched: Fetched = _NOTHING) -> Tensor:
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
