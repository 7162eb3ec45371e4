"""Which captions lie nearest to an image, and which images nearest to a caption, by the reference's embeddings.

A published run of captions leaves them in its folder: ``embeddings/samples.npy`` int32 (N,) ascending, ``image.npy``
and ``text.npy`` float16 (N, D), rows of unit length. They are looked at where they lie on the disk; a run of further
signals (``of`` in its run.json) has those of the run it was made from.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mimic.files import read_json
from mimic.workspace.layout import check_name
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.gallery import rows_of

FOLDER = "embeddings"
LOOKED_AT = 200_000  # beyond it, so many are drawn evenly: a page must not read gigabytes
_PIECE = 20_000


@dataclass(frozen=True)
class Nearest:
    """What lies nearest to a sample, by cosine.

    Attributes:
        captions: the columns of `given.card` and cosine: samples whose captions lie nearest to the sample's image, its
            own caption among them or not.
        images: the same for samples whose images lie nearest to the sample's caption.
        caption_rank, image_rank: the place of its own caption (or image) among all, 1 = nearest.
        compared: among how many.
    """

    captions: pd.DataFrame
    images: pd.DataFrame
    caption_rank: int
    image_rank: int
    compared: int


def nearest(published: Published, sample: int, count: int = 6) -> Nearest | None:
    """The nearest captions and images; None where the run has no embeddings of the sample."""
    folder = _folder(published)
    try:
        samples, image, text = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("samples", "image", "text"))
    except (OSError, ValueError):
        return None
    place = int(np.searchsorted(samples, sample))
    if place >= len(samples) or samples[place] != sample or not len(samples) == len(image) == len(text):
        return None
    step = -(-len(samples) // LOOKED_AT)
    numbers = np.asarray(samples[::step])
    captions, caption_rank = _nearest(text[::step], image[place], text[place], count)
    images, image_rank = _nearest(image[::step], text[place], image[place], count)
    frames = [rows_of(published, numbers[rows].tolist()).assign(cosine=cosines) for rows, cosines in (captions, images)]
    return Nearest(frames[0], frames[1], caption_rank, image_rank, len(numbers))


def _folder(published: Published) -> Path:
    """Where the embeddings lie, if they do."""
    own = published.scores_file.parent
    base = read_json(own / "run.json").get("of")
    return (own if base is None else own.parent / check_name("run", str(base))) / FOLDER


def _nearest(
    those: NDArray[np.float16], to: NDArray[np.float16], own: NDArray[np.float16], count: int
) -> tuple[tuple[NDArray[np.intp], NDArray[np.float32]], int]:
    """Rows of the nearest and their cosines, the nearest first; and the place that its own would have among them."""
    aim = np.asarray(to, np.float32)
    cosines = np.concatenate(
        [np.asarray(those[first : first + _PIECE], np.float32) @ aim for first in range(0, len(those), _PIECE)]
    )
    rows = np.argsort(-cosines, kind="stable")[:count]
    ahead = int((cosines > np.float32(np.asarray(own, np.float32) @ aim)).sum())
    return (rows, cosines[rows]), ahead + 1
