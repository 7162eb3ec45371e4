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
from mimic.workspace.datasets import read_inputs

SETTLING_SAMPLES = 32
_LOOKED_FOR = 16


def batches(prepared: Prepared, samples: NDArray[np.int32], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and the outputs of their given labels, on the run's device; what cannot be read is left out.

    Args:
        prepared: the run's ingredients.
        samples: ascending numbers.
        size: samples a batch at most.

    Yields:
        (images (B, C, H, W), labels (B,)), B ≥ 1.
    """
    inputs = read_inputs(prepared.dataset, samples)
    labels = prepared.classes.labels(inputs.codes)
    pieces = [
        Piece(Shard(0, 0, 0), False, samples[i : i + size], inputs.paths[i : i + size], labels[i : i + size])
        for i in range(0, len(samples), size)
    ]
    for decoded in Loader(prepared.dataset.root, prepared.preprocess)(pieces):
        readable = [row for row in range(len(decoded.piece.paths)) if row not in decoded.reasons]
        if readable:
            chosen = from_numpy(decoded.piece.labels[readable])
            yield decoded.images[readable].to(prepared.device), chosen.to(prepared.device)


def settle(prepared: Prepared) -> None:
    """Shows the scorer the run's first readable samples, where what it does depends on them.

    Raises:
        MimicError: half precision ranks them otherwise than full precision, and was not forced.
    """
    if prepared.scorer.method != "difference" and prepared.config.precision == "fp32":
        return
    # Several batches' worth of samples, in case that the first of them cannot be read.
    for images, labels in batches(prepared, prepared.numbers[: 8 * SETTLING_SAMPLES], SETTLING_SAMPLES):
        prepared.scorer(images, labels)
        return


def find_images(prepared: Prepared) -> None:
    """Looks for the first files, before time is spent on a data set whose images have moved.

    Raises:
        MimicError: none of them is there.
    """
    dataset = prepared.dataset
    paths = read_inputs(dataset, prepared.numbers[:_LOOKED_FOR]).paths
    if not any(is_there(dataset.root, path) for path in paths):
        raise MimicError(
            f"{dataset.root} holds none of the first images of data set {dataset.name!r}, e.g. {paths[0]}: "
            f"if they have moved, run `mimic relocate {dataset.name} --root FOLDER`"
        )
