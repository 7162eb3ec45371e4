"""Some of a run's samples as batches, outside its shards: for what a few samples settle or check.

A difference's step and the check of half precision depend on the first batch that a scorer sees. Whoever works on a run
shows the scorer the same samples first, so a resumed run's numbers are those of an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from mimic.data import Shard
from mimic.errors import MimicError
from mimic.images import is_there
from mimic.runs.loading import Loader, Piece
from mimic.runs.prepare import Prepared
from mimic.workspace.samples import read_inputs

SETTLING_SAMPLES = 32
_LOOKED_FOR = 16


def batches(
    prepared: Prepared, samples: NDArray[np.int32], size: int
) -> Iterator[tuple[Tensor, Tensor] | tuple[tuple[Tensor, Tensor], None]]:
    """Inputs and targets as a loss takes them, on the run's device; what cannot be read is left out.

    Args:
        prepared: the run's ingredients.
        samples: ascending numbers.
        size: samples a batch at most. Pairs' batches each reach over all the samples, so that they are no harder to
            tell apart than others.

    Yields:
        (images (B, …), labels (B,)), or ((images, texts), None) for captions; B ≥ 1.
    """
    inputs = read_inputs(prepared.dataset, samples, images=prepared.preprocess is not None)
    keys, texts = prepared.images.keys(inputs), prepared.texts
    if texts is None:
        targets = prepared.classes.labels(inputs.codes)
        places = np.split(np.arange(len(samples)), range(size, len(samples), size))
    else:
        targets = np.arange(len(samples))
        known = np.array([row for row, why in enumerate(texts.unusable(inputs)) if why is None], np.int64)
        count = max(-(-len(known) // size), 1)
        places = [known[first::count] for first in range(count)]
    pieces = [
        Piece(Shard(0, 0, 0), False, samples[some], [keys[row] for row in some], targets[some]) for some in places
    ]
    for decoded in Loader(prepared.images)(pieces):
        readable = [row for row in range(len(decoded.piece.keys)) if row not in decoded.reasons]
        if readable:
            images, chosen = decoded.images[readable].to(prepared.device), decoded.piece.labels[readable]
            if texts is None:
                yield images, from_numpy(chosen).to(prepared.device)
            else:
                yield (images, texts(inputs, chosen).to(prepared.device)), None


def settle(prepared: Prepared) -> None:
    """Shows the scorer the run's first readable samples, where what it does depends on them.

    Raises:
        MimicError: half precision ranks them otherwise than full precision, and was not forced.
    """
    config = prepared.config
    if prepared.scorer.method != "difference" and config.precision == "fp32" and not config.compile:
        return
    size = config.batch_size if config.compile else SETTLING_SAMPLES  # a program is made for batches of one size
    # Several batches' worth of samples, in case that the first of them cannot be read.
    for inputs, targets in batches(prepared, prepared.numbers[: 8 * size], size):
        prepared.scorer(inputs, targets)
        return


def find_images(prepared: Prepared) -> None:
    """Looks for the first files, before time is spent on a data set whose images have moved.

    Raises:
        MimicError: none of them is there.
    """
    if prepared.preprocess is None:
        return
    dataset = prepared.dataset
    paths = read_inputs(dataset, prepared.numbers[:_LOOKED_FOR]).paths
    if not any(is_there(dataset.root, path) for path in paths):
        raise MimicError(
            f"{dataset.root} holds none of the first images of data set {dataset.name!r}, e.g. {paths[0]}: "
            f"if they have moved, run `mimic relocate {dataset.name} --root FOLDER{dataset.workspace.option}`"
        )
