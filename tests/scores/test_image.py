"""Signals of pictures, on pictures whose numbers are known."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageFilter

from mimic.scores.image import IMAGE_SIGNALS, LONGER_SIDE, Picture

RNG = np.random.default_rng(0)
NOISE = Image.fromarray(RNG.integers(0, 255, (40, 60, 3), dtype=np.uint8))


def value(name: str, image: Image.Image, size: int = 1000) -> float:
    return IMAGE_SIGNALS[name](Picture(image, size))


def test_plain_facts():
    assert value("aspect", NOISE) == pytest.approx(40 / 60) == value("aspect", NOISE.rotate(90, expand=True))
    assert value("resolution", NOISE) == 2400
    assert value("file_size", NOISE, 77) == 77


def test_brightness_and_contrast():
    half = Image.new("L", (10, 10))
    half.paste(255, (0, 0, 5, 10))
    assert value("brightness", half) == pytest.approx(0.5)
    assert value("contrast", half) == pytest.approx(0.5)
    assert value("brightness", Image.new("RGB", (4, 4), "white")) == 1
    assert value("contrast", Image.new("RGB", (4, 4), "white")) == 0


def test_sharpness_equals_the_loop_and_falls_with_blur():
    g = np.asarray(NOISE.convert("L"), dtype=np.float64) / 255
    laplacian = [
        g[i - 1, j] + g[i + 1, j] + g[i, j - 1] + g[i, j + 1] - 4 * g[i, j] for i in range(1, 39) for j in range(1, 59)
    ]
    assert value("sharpness", NOISE) == pytest.approx(np.var(laplacian), rel=1e-5)
    assert value("sharpness", NOISE) > 10 * value("sharpness", NOISE.filter(ImageFilter.GaussianBlur(2)))


def test_sharpness_of_a_tiny_picture_is_not_known_and_of_a_large_one_judged_at_one_size():
    assert np.isnan(value("sharpness", Image.new("L", (2, 9))))
    assert max(Picture(Image.new("L", (3 * LONGER_SIDE, 10)), 1).grey.shape) == LONGER_SIDE


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_gives_numbers(mode: str):
    image = NOISE.convert(mode)
    assert all(np.isfinite(value(name, image)) for name in IMAGE_SIGNALS)


def test_pictures_need_no_torch():
    code = "import sys, mimic.scores.image; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
