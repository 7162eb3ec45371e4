"""Retraining on pairs: two matrices on frozen features of images and captions, and what they find of held-out pairs.

Features are those of the file that the run read, or what the run's start makes of images and captions. Every arm takes
as many steps on batches of as many pairs, drawn from what it keeps: a contrastive loss over fewer pairs is another,
easier question. The outcome is recall: whether a held-out image's own caption is among its nearest, and the other way
round, a half each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mimic.data import Shard
from mimic.errors import MimicError
from mimic.files import make_folder, replacing
from mimic.models.calling import evaluating, run
from mimic.runs.inputs import Vectors
from mimic.runs.loading import Loader, Piece
from mimic.runs.prepare import Prepared
from mimic.runs.retrain_fits import Fit
from mimic.workspace.samples import caption_groups, read_inputs

NEAREST = 5
OUTCOME = f"recall@{NEAREST}"
# As the towers of sample_data/captions are trained.
_BATCH, _WIDTH = 128, 128
_RATE, _DECAY = 1e-3, 0.1
_TESTED = 5_000  # more pairs make recall lower and its error no smaller
_ROWS = 512


@dataclass(frozen=True)
class PairBench:
    """What is trained on, and what is tested.

    Attributes:
        samples: (N,) numbers of the training pairs.
        images, texts: (N, D) and (N, E) features.
        right: (N,) whether the caption is right; None where no truth is known.
        test_images, test_texts: of the T test pairs, without those known to be wrong.
        test_groups: (T,) pairs of one image have the same number: each is a right answer for the others.
        epochs: of every fit.
    """

    samples: NDArray[np.int32]
    images: NDArray[np.float32]
    texts: NDArray[np.float32]
    right: NDArray[np.bool_] | None
    test_images: NDArray[np.float32]
    test_texts: NDArray[np.float32]
    test_groups: NDArray[np.int64]
    epochs: int

    @property
    def tested(self) -> int:
        return len(self.test_groups)

    def fit(self, fits: list[Fit]) -> list[dict[str, Any]]:
        """All fits of one seed at once."""
        return fit_pairs(self, fits)


def pair_bench(
    train: Prepared,
    test: Prepared,
    wrong: NDArray[np.bool_] | None,
    cache: Path,
    epochs: int,
) -> PairBench:
    """The bench of two splits of a data set.

    Args:
        train, test: the run's settings on either split.
        wrong: (size,) whether a caption is known to be wrong; None where nobody knows of any.
        cache: folder for what the start makes of images and captions.
        epochs: of every fit.

    Raises:
        MimicError: fewer than two pairs to learn from, or to test on.
    """
    images, texts, usable = _features(train, cache)
    samples = train.numbers[usable]
    tested = _features(test, cache)
    rows = np.flatnonzero(tested[2])
    if wrong is not None:
        rows = rows[~wrong[test.numbers[rows]]]
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:_TESTED])
    if min(len(samples), len(rows)) < 2:
        raise MimicError(f"{len(samples)} pairs to learn from and {len(rows)} right ones to test on are too few")
    return PairBench(
        samples=samples,
        images=images[usable],
        texts=texts[usable],
        right=None if wrong is None else ~wrong[samples],
        test_images=tested[0][rows],
        test_texts=tested[1][rows],
        test_groups=caption_groups(test.dataset, test.numbers[rows]),
        epochs=epochs,
    )


def _features(prepared: Prepared, cache: Path) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """(N, D) of the images and (N, E) of the captions, and which of the N pairs have both."""
    assert prepared.texts is not None
    if isinstance(prepared.images, Vectors):
        inputs = read_inputs(prepared.dataset, prepared.numbers, images=False)
        features = prepared.images.features
        rows = features.rows(inputs.ids)
        images, texts = (each.numpy() for each in features(np.maximum(rows, 0)))
        return images, texts, rows >= 0
    path = make_folder(cache) / f"{prepared.id}.npz"
    if not path.exists():
        images, texts, usable = _embedded(prepared)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, images=images, texts=texts, usable=usable)
    with np.load(path) as kept:
        return kept["images"], kept["texts"], kept["usable"]


def _embedded(prepared: Prepared) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """`_features` by one pass of the start over images and captions."""
    assert prepared.texts is not None
    inputs = read_inputs(prepared.dataset, prepared.numbers)
    keys = prepared.images.keys(inputs)
    usable = np.array([why is None for why in prepared.texts.unusable(inputs)])
    size, known = prepared.config.batch_size, np.flatnonzero(usable)
    pieces = (
        Piece(Shard(0, 0, len(keys)), False, inputs.numbers[some], [keys[row] for row in some], some)
        for some in np.split(known, range(size, len(known), size))
    )
    sides: list[NDArray[np.float32]] = []
    module = prepared.weights.built.module
    with evaluating(module):
        for decoded in Loader(prepared.images)(pieces):
            rows = decoded.piece.labels
            usable[rows[list(decoded.reasons)]] = False
            words = prepared.texts(inputs, rows).to(prepared.device)
            with torch.inference_mode():  # not around the loader, whose threads write into ordinary tensors
                towers = run(module, (decoded.images.to(prepared.device), words))[:2]
            for side, made in enumerate(F.normalize(each.float(), dim=1).cpu().numpy() for each in towers):
                if len(sides) == side:
                    sides.append(np.zeros((len(keys), made.shape[1]), np.float32))
                sides[side][rows] = made
    images, texts = sides or [np.zeros((len(keys), 1), np.float32)] * 2
    return images, texts, usable


def fit_pairs(bench: PairBench, fits: list[Fit]) -> list[dict[str, Any]]:
    """Two matrices for each of A fits of one seed, trained at once by CLIP's loss.

    Raises:
        MimicError: a fit keeps fewer than two pairs.
    """
    kept = [np.flatnonzero(fit.weights > 0) for fit in fits]
    size = min(_BATCH, *map(len, kept))
    if size < 2:
        raise MimicError("a filter or budget keeps fewer than two pairs, which no contrastive loss can learn from")
    images, texts = _scaled(bench.images, bench.images), _scaled(bench.texts, bench.texts)
    weights = torch.from_numpy(np.stack([fit.weights for fit in fits]))
    arms = torch.arange(len(fits))[:, None]
    drawn = torch.Generator().manual_seed(fits[0].seed)
    matrices = [_start(each.shape[1], len(fits), drawn) for each in (images, texts)]
    scale = torch.full((len(fits), 1, 1), math.log(1 / 0.07), requires_grad=True)
    optimiser = torch.optim.AdamW([*matrices, scale], lr=_RATE, weight_decay=_DECAY)
    batches = [_Batches(rows, size, fits[0].seed) for rows in kept]
    for _ in range(bench.epochs * max(round(len(bench.samples) / size), 1)):
        batch = torch.from_numpy(np.stack([next(each) for each in batches]))  # (A, B)
        looks = F.normalize(images[batch] @ matrices[0], dim=2)
        words = F.normalize(texts[batch] @ matrices[1], dim=2)
        logits = scale.exp() * looks @ words.transpose(1, 2)  # (A, B, B)
        losses = -(logits.log_softmax(2) + logits.log_softmax(1)).diagonal(dim1=1, dim2=2) / 2
        own = weights[arms, batch]
        optimiser.zero_grad(set_to_none=True)
        ((losses * own).sum(1) / own.sum(1)).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    looked, read = _scaled(bench.test_images, bench.images), _scaled(bench.test_texts, bench.texts)
    groups = torch.from_numpy(bench.test_groups)
    rows = []
    with torch.inference_mode():
        for place, fit in enumerate(fits):
            sides = [F.normalize(each @ m[place], dim=1) for each, m in ((looked, matrices[0]), (read, matrices[1]))]
            looked_up, read_up = found(sides[0], sides[1], groups), found(sides[1], sides[0], groups)
            rows.append(fit.row(np.concatenate([looked_up, read_up])))
    return rows


def found(asked: Tensor, given: Tensor, groups: Tensor) -> NDArray[np.bool_]:
    """(T,) whether a row's own partner is among its `NEAREST`, those of its group left out.

    Args:
        asked, given: (T, W) of unit length; row i of one belongs to row i of the other.
        groups: (T,) rows of one group are right answers for one another.
    """
    hits = []
    for some in torch.arange(len(asked)).split(_ROWS):  # type: ignore[no-untyped-call]
        cosines = asked[some] @ given.T
        own = cosines[torch.arange(len(some)), some]
        nearer = (cosines > own[:, None]) & (groups[some][:, None] != groups[None])
        hits.append((nearer.sum(dim=1) < NEAREST).numpy())
    return np.concatenate(hits)


def _scaled(features: NDArray[np.float32], by: NDArray[np.float32]) -> Tensor:
    """Centred by the training features and with their rows' mean squared length for 1."""
    mean = by.mean(axis=0)
    length = float(np.sqrt(np.square(by - mean).sum(axis=1).mean()))
    return torch.from_numpy(((features - mean) / max(length, 1e-12)).astype(np.float32))


def _start(size: int, count: int, drawn: torch.Generator) -> Tensor:
    """(A, D, W) the same drawn matrix for every fit, as `nn.Linear` draws it."""
    matrix = (2 * torch.rand(size, _WIDTH, generator=drawn) - 1) / math.sqrt(size)
    return matrix.expand(count, -1, -1).clone().requires_grad_()


class _Batches:
    """Endless batches of some rows, each row once an epoch, in an order that depends on the seed and the rows alone."""

    def __init__(self, rows: NDArray[np.intp], size: int, seed: int) -> None:
        self._rows, self._size, self._rng = rows, size, np.random.default_rng(seed)
        self._waiting = np.empty(0, np.intp)

    def __next__(self) -> NDArray[np.intp]:
        while len(self._waiting) < self._size:
            self._waiting = np.concatenate([self._waiting, self._rows[self._rng.permutation(len(self._rows))]])
        batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
        return batch
