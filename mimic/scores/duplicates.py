"""Near duplicates: pictures whose perceptual hashes are nearly the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mimic.errors import MissingExtra

NEAR = 4  # differing bits of 64 at which two pictures count as one
_BLOCK = 2**22  # pairs at a time
_ONES = np.array([byte.bit_count() for byte in range(256)], np.uint8)  # numpy 1 cannot count bits


def perceptual_hash(image: Image.Image) -> int:
    """imagehash's pHash: signs of the 8 × 8 lowest frequencies of the luminance, as 64 bits.

    Raises:
        MissingExtra: imagehash is not installed.
    """
    try:
        from imagehash import phash
    except ImportError:
        raise MissingExtra("the signal duplicate", "baselines") from None
    bits = phash(image).hash.ravel()
    return int(np.packbits(bits).view(">u8")[0])


def distinctness(hashes: NDArray[np.uint64], near: int = NEAR) -> NDArray[np.float32]:
    """−(how many earlier samples a picture nearly repeats): 0 for the first of a group and for a picture of its own.

    So the line 0 keeps one of each group, the one that comes first. Time grows with the square of the number of
    different hashes.

    Args:
        hashes: (N,) in the samples' order.
        near: bits that may differ, 0 … 64.

    Returns:
        (N,) at most 0.
    """
    values, inverse = np.unique(hashes, return_inverse=True)
    members = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1])
    earlier = np.zeros(len(hashes), np.int64)
    for rows in members:  # equal hashes, in the samples' order
        earlier[rows] = np.arange(len(rows))
    block = max(1, _BLOCK // len(values))
    for first in range(0, len(values), block):
        apart = _differing_bits(values[first : first + block, None], values[None, :])
        for one, other in np.argwhere((apart > 0) & (apart <= near)):
            rows = members[first + one]
            earlier[rows] += np.searchsorted(members[other], rows)
    return -earlier.astype(np.float32)


def _differing_bits(some: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """How many of 64 bits differ, for each pair."""
    pairs = np.ascontiguousarray(some ^ others)
    counts: NDArray[np.uint8] = _ONES[pairs.view(np.uint8).reshape(*pairs.shape, 8)].sum(axis=-1, dtype=np.uint8)
    return counts
