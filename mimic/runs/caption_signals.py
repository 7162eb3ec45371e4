"""Further signals of a run of captions: of the text alone, of the picture alone, and of what lies near a pair.

What lies near is judged by the frozen features that the run read, or by the reference's embeddings that it kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimic.errors import MimicError
from mimic.files import make_folder, replacing
from mimic.images import UnreadableImage, image_bytes, read_image
from mimic.runs.embeddings import read_embeddings
from mimic.runs.inputs import Vectors
from mimic.runs.loading import decoding_threads
from mimic.runs.prepare import Prepared
from mimic.scores import VERSION
from mimic.scores.captions import basic, english, length, neighbour_agreement, specificity
from mimic.scores.image import IMAGE_SIGNALS, Picture
from mimic.workspace.layout import Run
from mimic.workspace.samples import Inputs, read_inputs

_PIECE = 256
Values = NDArray[np.float32]


def caption_columns(
    prepared: Prepared,
    run: Run,
    signals: Sequence[str],
    cache: Path,
    threads: int | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Values]:
    """Some of `FURTHER_PAIR_SIGNALS` of a published run.

    Args:
        prepared: what the run was made from.
        run: the run.
        signals: names.
        cache: the folder of what was seen of pictures before, as `mimic.runs.observe` keeps it.
        threads: how many decode; by default one a core.
        on_progress: told how many pictures have been looked at.

    Returns:
        Signal → (N,) in the order of `prepared.numbers`; NaN where a caption or a picture is missing.

    Raises:
        MimicError: a picture signal of a data set without images; a run that kept no embeddings.
    """
    inputs = read_inputs(prepared.dataset, prepared.numbers, images=False)
    pictures = [name for name in signals if name in IMAGE_SIGNALS]
    if pictures and not prepared.dataset.has_images:
        raise MimicError(
            f"data set {prepared.dataset.name!r} has no images, and {pictures[0]} is a picture's: leave it out"
        )
    looked = prepared.dataset.has_images and bool(pictures or "basic" in signals)
    seen = _look(prepared, inputs, cache, threads, on_progress) if looked else None
    columns: dict[str, Values] = {}
    for name in signals:
        if name in IMAGE_SIGNALS:
            assert seen is not None
            columns[name] = seen[:, list(IMAGE_SIGNALS).index(name)]
        elif name == "caption_knn":
            columns[name] = _neighbours(prepared, run)
        else:
            columns[name] = _of_text(name, inputs, seen)
    return columns


def _of_text(name: str, inputs: Inputs, seen: Values | None) -> Values:
    known = [row for row, caption in enumerate(inputs.captions) if caption]
    captions = [inputs.captions[row] or "" for row in known]
    values = np.full(len(inputs.captions), np.nan, np.float32)
    if name == "specificity":
        values[known] = specificity(captions)
    elif name == "basic":
        values[known] = [basic(caption, _size(seen, row)) for caption, row in zip(captions, known, strict=True)]
    else:
        values[known] = [{"english": english, "caption_length": length}[name](caption) for caption in captions]
    return values


def _neighbours(prepared: Prepared, run: Run) -> Values:
    values = np.full(len(prepared.numbers), np.nan, np.float32)
    if isinstance(prepared.images, Vectors):
        features = prepared.images.features
        rows = features.rows(read_inputs(prepared.dataset, prepared.numbers, images=False).ids)
        image, text = (each.numpy() for each in features(rows[rows >= 0]))
        values[rows >= 0] = neighbour_agreement(image, text)
        return values
    kept = read_embeddings(run)
    if kept is None:
        raise MimicError(f"run {run.id} kept no embeddings, and caption_knn needs them: score again")
    places = np.searchsorted(prepared.numbers, kept.samples)
    values[places] = neighbour_agreement(np.asarray(kept.image), np.asarray(kept.text))
    return values


def _look(
    prepared: Prepared, inputs: Inputs, cache: Path, threads: int | None, on_progress: Callable[[int], None]
) -> Values:
    """(N, P + 2): the picture signals in their order, then width and height; NaN where a picture cannot be read."""
    told = json.dumps(["pictures", *IMAGE_SIGNALS, VERSION])
    folder = make_folder(cache / hashlib.sha256(told.encode()).hexdigest()[:16])

    def read(path: str) -> bytes:
        try:
            return image_bytes(prepared.dataset.root, path)
        except UnreadableImage:
            return b""

    def rows() -> Iterator[Values]:
        with ThreadPoolExecutor(threads or decoding_threads(), thread_name_prefix="look") as pool:
            for first in range(0, len(inputs.paths), _PIECE):
                files = list(pool.map(read, inputs.paths[first : first + _PIECE]))
                digests = b"".join(hashlib.sha256(each).digest() for each in files)
                path = folder / f"{hashlib.sha256(digests).hexdigest()[:32]}.npy"
                if not path.exists():
                    seen = np.array(list(pool.map(_look_at, files)), np.float32)
                    with replacing(path) as temporary, temporary.open("wb") as file:
                        np.save(file, seen)
                yield np.load(path)
                on_progress(min(first + _PIECE, len(inputs.paths)))

    return np.concatenate(list(rows()))


def _look_at(data: bytes) -> list[float]:
    try:
        picture = Picture(read_image(data), len(data))
    except UnreadableImage:
        return [np.nan] * (len(IMAGE_SIGNALS) + 2)
    return [*(signal(picture) for signal in IMAGE_SIGNALS.values()), *map(float, picture.image.size)]


def _size(seen: Values | None, row: int) -> tuple[int, int] | None:
    if seen is None or np.isnan(seen[row, -1]):
        return None
    return int(seen[row, -2]), int(seen[row, -1])
