"""CLIP score of images with labels: the cosine of a picture and a sentence that names its given label.

The model is any CLIP with its weights and its tokenizer, e.g. ``open_clip:ViT-B-32/openai``; it has nothing to do with
the run's start and reference.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from mimic.data import Shard
from mimic.errors import MimicError
from mimic.models.build import build_model
from mimic.models.calling import evaluating, pairs_of, run
from mimic.runs.inputs import Pixels
from mimic.runs.loading import Loader, Piece
from mimic.runs.prepare import Prepared
from mimic.workspace.samples import read_inputs

PROMPT = "a photo of a {}."


def prompt_scores(
    prepared: Prepared, spec: str, threads: int | None = None, told: Callable[[int], None] = lambda done: None
) -> NDArray[np.float32]:
    """(N,) cosines in the order of `prepared.numbers`; NaN where there is no label or no readable picture.

    Args:
        prepared: a run of images with labels.
        spec: of the model, with its weights.
        threads: how many decode; by default one a core.
        told: hears how many pictures are done.

    Raises:
        MimicError: the spec names no model with weights, tokenizer and preprocessing.
    """
    built = build_model(spec, 0, pretrained=True)
    if built.tokenize is None or built.preprocess is None:
        raise MimicError(f"--clip {spec} lacks a tokenizer or preprocessing: open_clip:NAME/WEIGHTS or hf:FOLDER")
    module, size = built.module.to(prepared.device), prepared.config.batch_size
    sentences = built.tokenize([PROMPT.format(name.replace("_", " ")) for name in prepared.dataset.classes])
    inputs = read_inputs(prepared.dataset, prepared.numbers)
    images, values = Pixels(prepared.dataset.root, built.preprocess), np.full(len(inputs.paths), np.nan, np.float32)
    keys, known = images.keys(inputs), np.flatnonzero(inputs.codes >= 0)
    pieces = [
        Piece(Shard(0, 0, 0), False, inputs.numbers[rows], [keys[row] for row in rows], rows)
        for rows in np.split(known, range(size, len(known), size))
    ]
    with evaluating(module):
        for decoded in Loader(images, threads)(pieces):
            readable = [place for place in range(len(decoded.piece.keys)) if place not in decoded.reasons]
            rows = decoded.piece.labels[readable]
            if len(rows):
                texts = sentences[torch.from_numpy(inputs.codes[rows]).long()]
                batch = (decoded.images[readable].to(prepared.device), texts.to(prepared.device))
                towers = pairs_of(run(module, batch), len(rows))
                values[rows] = F.cosine_similarity(towers[0].float(), towers[1].float(), dim=1).cpu().numpy()
            told(int(decoded.piece.labels[-1]) + 1 if len(decoded.piece.labels) else 0)
    return values
