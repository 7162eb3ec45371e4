"""Signals of the picture alone: no model, no label, no torch. Higher is better, as far as a picture goes.

All of them come from one reading of the file; the grey pixels are computed once and only if a signal asks for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Sharpness of a large photo is judged at this many pixels on its longer side, or resolution alone would decide it.
LONGER_SIDE = 512


@dataclass(frozen=True)
class Picture:
    """A decoded image and the size of its file.

    Attributes:
        image: upright, any mode.
        size: of the file, in bytes.
    """

    image: Image.Image
    size: int

    @cached_property
    def grey(self) -> NDArray[np.float32]:
        """(H, W) luminance, 0 … 1, at most `LONGER_SIDE` pixels on the longer side."""
        grey = self.image.convert("L")
        grey.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.BOX)
        return np.asarray(grey, dtype=np.float32) / np.float32(255)


def sharpness(picture: Picture) -> float:
    """Variance of the Laplacian (4 neighbours) of luminance 0 … 1: low where a picture is blurred or flat.

    Returns:
        0 … 16; NaN under 3 × 3 pixels.
    """
    g = picture.grey
    if min(g.shape) < 3:
        return float("nan")
    laplacian = g[:-2, 1:-1] + g[2:, 1:-1] + g[1:-1, :-2] + g[1:-1, 2:] - 4 * g[1:-1, 1:-1]
    return float(laplacian.var(dtype=np.float64))


def brightness(picture: Picture) -> float:
    """Mean luminance, 0 (black) … 1 (white)."""
    return float(picture.grey.mean(dtype=np.float64))


def contrast(picture: Picture) -> float:
    """Standard deviation of luminance 0 … 1 (RMS contrast), 0 … 0.5."""
    return float(picture.grey.std(dtype=np.float64))


def aspect(picture: Picture) -> float:
    """Shorter side over longer side, above 0 … 1: low for banners and strips."""
    return min(picture.image.size) / max(picture.image.size)


def resolution(picture: Picture) -> float:
    """Pixels: width × height."""
    return float(picture.image.width * picture.image.height)


def file_size(picture: Picture) -> float:
    """Bytes of the file."""
    return float(picture.size)


# name → function; what each means is in `mimic.scores.SIGNALS`.
IMAGE_SIGNALS: dict[str, Callable[[Picture], float]] = {
    "sharpness": sharpness,
    "brightness": brightness,
    "contrast": contrast,
    "aspect": aspect,
    "resolution": resolution,
    "file_size": file_size,
}
