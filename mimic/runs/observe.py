"""One pass over a run's images for every further signal: features, the reference's view, picture signals, hashes.

What a pass gives is kept in W/cache/features, a file for every 256 samples, under the hash of the image files' contents
and of whatever else determines it. So a second pass over the same pictures decodes and computes nothing, whichever run
it is for, and a picture that has changed is looked at again. The cache may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from mimic.errors import MimicError
from mimic.files import make_folder, replacing
from mimic.images import UnreadableImage, image_bytes, read_image
from mimic.losses import get_loss
from mimic.models.checkpoint import match_state
from mimic.models.head import find_head
from mimic.runs.loading import decoding_threads
from mimic.runs.prepare import Prepared
from mimic.scores import VERSION
from mimic.scores.duplicates import perceptual_hash
from mimic.scores.image import IMAGE_SIGNALS, Picture
from mimic.scores.passes import Passes
from mimic.workspace.samples import read_inputs

_PIECE = 256


@dataclass(frozen=True)
class Observed:
    """What was seen of N samples.

    Attributes:
        readable: (N,) whether the image could be read; rows of others hold anything.
        features: (N, D) float32, what the start's final linear layer reads.
        reference: (N, K) float32, log-probabilities of the reference.
        pictures: (N, P) float32, `IMAGE_SIGNALS` in their order.
        hashes: (N,) uint64 perceptual hashes; zeros where imagehash is not installed.
    """

    readable: NDArray[np.bool_]
    features: NDArray[np.float32]
    reference: NDArray[np.float32]
    pictures: NDArray[np.float32]
    hashes: NDArray[np.uint64]


class Observer:
    """Looks at images with a run's model and reference.

    Args:
        prepared: the run's ingredients.
        cache: the folder of remembered pieces.
        threads: how many decode; by default one a core.

    Raises:
        MimicError: the model does not end in a linear layer, so that there are no features.
    """

    def __init__(self, prepared: Prepared, cache: Path, threads: int | None = None) -> None:
        self.prepared = prepared
        self.threads = threads or decoding_threads()
        self.hashing = find_spec("imagehash") is not None
        assert prepared.preprocess is not None
        module, self._preprocess = prepared.weights.built.module, prepared.preprocess
        self._shape = prepared.images.shape
        head, layer = find_head(module, torch.zeros(1, *self._shape, device=prepared.device))
        self._dimensions = layer.in_features
        state = match_state(module, prepared.weights.reference_state)
        self._passes = Passes(module, state, head, [], get_loss("cross_entropy"), "auto")
        told = {
            "model": prepared.config.model,
            "start": prepared.weights.start.sha256,
            "reference": prepared.weights.reference.sha256,
            "head": prepared.config.head,
            "preprocess": self._preprocess.model_dump(mode="json"),
            "pictures": list(IMAGE_SIGNALS),
            "hashing": self.hashing,
            "scores": VERSION,
        }
        self._cache = make_folder(cache / hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16])

    def __call__(self, on_progress: Callable[[int], None] = lambda done: None) -> Observed:
        """All the run's samples, in order.

        Args:
            on_progress: told after every piece how many samples are done.
        """
        pieces, done = [], 0
        for piece in self._pieces():
            pieces.append(piece)
            done += len(piece.readable)
            on_progress(done)
        return Observed(*(np.concatenate([getattr(each, f.name) for each in pieces]) for f in fields(Observed)))

    def _pieces(self) -> Iterator[Observed]:
        numbers = self.prepared.numbers
        with ThreadPoolExecutor(self.threads, thread_name_prefix="observe") as pool:
            for first in range(0, len(numbers), _PIECE):
                paths = read_inputs(self.prepared.dataset, numbers[first : first + _PIECE]).paths
                files = list(pool.map(self._bytes, paths))
                digest = hashlib.sha256()
                for each in files:
                    digest.update(hashlib.sha256(each or b"").digest())
                path = self._cache / f"{digest.hexdigest()[:32]}.npz"
                yield _load(path) or self._look(files, path, pool)

    def _bytes(self, path: str) -> bytes | None:
        try:
            return image_bytes(self.prepared.dataset.root, path)
        except UnreadableImage:
            return None  # the run itself says why

    def _look(self, files: list[bytes | None], path: Path, pool: ThreadPoolExecutor) -> Observed:
        size = len(files)
        images = torch.zeros(size, *self._shape)
        pictures = np.full((size, len(IMAGE_SIGNALS)), np.nan, np.float32)
        hashes, readable = np.zeros(size, np.uint64), np.zeros(size, np.bool_)

        def decode(row: int) -> None:
            file = files[row]
            if file is None:
                return
            try:
                image = read_image(file)
                images[row] = self._preprocess(image)
            except UnreadableImage:
                return
            picture = Picture(image, len(file))
            pictures[row] = [signal(picture) for signal in IMAGE_SIGNALS.values()]
            hashes[row] = perceptual_hash(image) if self.hashing else 0
            readable[row] = True

        list(pool.map(decode, range(size)))
        features, reference = self._forward(images)
        seen = Observed(readable, features, reference, pictures, hashes)
        _save(path, seen)
        return seen

    def _forward(self, images: torch.Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        features, reference = [], []
        for batch in images.split(self.prepared.config.batch_size):  # type: ignore[no-untyped-call]
            batch = batch.to(self.prepared.device)
            passes = self._passes(batch, torch.zeros(len(batch), dtype=torch.long, device=batch.device))
            if passes.features is None:
                raise MimicError(
                    f"{self.prepared.config.model} gives no features: its outputs are not its last layer's"
                )
            features.append(passes.features.float().cpu().numpy())
            reference.append(F.log_softmax(passes.reference.float(), dim=1).cpu().numpy())
        return np.concatenate(features), np.concatenate(reference)


def _save(path: Path, seen: Observed) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **{f.name: getattr(seen, f.name) for f in fields(Observed)})


def _load(path: Path) -> Observed | None:
    if not path.exists():
        return None
    with np.load(path) as kept:
        return Observed(*(kept[f.name] for f in fields(Observed)))
