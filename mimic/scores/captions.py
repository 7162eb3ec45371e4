"""Signals of captions alone, and of captions and images among those of the whole set. Higher is better. Knows no torch.

What each is good for, with its source, is in docs/signals.md.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 10
_BLOCK = 2**22  # cosines at a time

# A word as English is written: ASCII letters with a vowel among them, or one of the two that are a single letter.
_WORD = re.compile(r"[A-Za-z]*[AEIOUYaeiouy][A-Za-z]*(?:['’-][A-Za-z]+)*")
_TOKEN = re.compile(r"\S+")


def english(caption: str) -> float:
    """Share of a caption's characters, spaces left out, that belong to words as English is written; 0 … 1.

    A stand-in for a language classifier: it tells English from other scripts, file names and symbols, not from French.
    """
    written = sum(len(each) for each in _TOKEN.findall(caption))
    return sum(len(each) for each in _WORD.findall(caption) if len(each) > 1 or each in "AaI") / max(written, 1)


def length(caption: str) -> int:
    """Words of a caption."""
    return len(_TOKEN.findall(caption))


# DataComp's basic filtering: what it asks of a caption, and of a picture's (width, height).
TEXT_RULES: dict[str, Callable[[str], bool]] = {
    "English": lambda caption: english(caption) >= 0.5,
    "more than two words": lambda caption: length(caption) > 2,
    "more than five characters": lambda caption: len(caption) > 5,
}
SIZE_RULES: dict[str, Callable[[int, int], bool]] = {
    "no side three times the other": lambda width, height: max(width, height) < 3 * min(width, height),
    "shorter side of 200 pixels": lambda width, height: min(width, height) >= 200,
}


def basic(caption: str, size: tuple[int, int] | None) -> float:
    """Share of DataComp's basic rules that hold; 1: the pair passes its basic filtering.

    Args:
        caption: the text.
        size: width and height of the picture; None where there is none, and only the text is judged.
    """
    held = [rule(caption) for rule in TEXT_RULES.values()]
    held += [rule(*size) for rule in SIZE_RULES.values()] if size else []
    return sum(held) / len(held)


def specificity(captions: Sequence[str]) -> NDArray[np.float32]:
    """−ln(how many samples have the same caption), (N,): 0 for a caption of its own. Case and spaces do not count."""
    plain = [" ".join(caption.casefold().split()) for caption in captions]
    counts = Counter(plain)
    return np.array([-math.log(counts[each]) for each in plain], np.float32)


def neighbour_agreement(
    images: NDArray[np.floating], texts: NDArray[np.floating], count: int = NEIGHBOURS
) -> NDArray[np.float32]:
    """Whether the captions of a sample's nearest images resemble its own, and the images of its nearest captions too.

    Both ways: the mean cosine to those `count` samples on the other side, less the mean cosine to all samples, by its
    standard deviation over the samples. The signal is the mean of both ways. Time grows with the square of N.

    Args:
        images, texts: (N, D) and (N, E) features of any kind, N ≥ 3; each side is compared with itself only.
        count: of neighbours, fewer where there are fewer samples.

    Returns:
        (N,) float32.
    """
    pictures, words = _unit(images), _unit(texts)
    ways = [_agreement(pictures, words, count), _agreement(words, pictures, count)]
    scaled = [way / max(float(way.std()), 1e-12) for way in ways]
    return np.asarray(np.mean(scaled, axis=0), np.float32)


def _agreement(near: NDArray[np.float32], judged: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Mean cosine in `judged` to the nearest by `near`, less that to all."""
    total = judged.sum(axis=0)
    size, count = len(near), min(count, len(near) - 1)
    found = np.empty(size, np.float32)
    block = max(1, _BLOCK // size)
    for first in range(0, size, block):
        rows = np.arange(first, min(first + block, size))
        cosines = near[rows] @ near.T
        cosines[np.arange(len(rows)), rows] = -np.inf
        nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        found[rows] = np.einsum("nkd,nd->n", judged[nearest], judged[rows]) / count
        found[rows] -= (judged[rows] @ total - 1) / (size - 1)
    return found


def _unit(features: NDArray[np.floating]) -> NDArray[np.float32]:
    rows = features.astype(np.float32)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
