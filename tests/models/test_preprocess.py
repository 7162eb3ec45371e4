"""Preprocessing gives the pixels that torchvision gives, survives run.json, and refuses what cannot be meant."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from mimic.images import UnreadableImage
from mimic.models.preprocess import FILTERS, Preprocess

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MODES = ("L", "RGB", "RGBA", "P", "CMYK", "LA", "1")
sides = st.integers(1, 90)


def picture(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def torchvision_of(preprocess: Preprocess) -> transforms.Compose:
    """The same steps as a user would write them."""
    how = InterpolationMode(preprocess.interpolation)
    steps = {
        "crop": [
            transforms.Resize(preprocess.shorter or max(preprocess.size), how),
            transforms.CenterCrop(preprocess.size),
        ],
        "squash": [transforms.Resize(preprocess.size, how)],
        "none": [],
    }[preprocess.resize]
    return transforms.Compose(
        [
            transforms.Lambda(lambda image: image.convert(preprocess.mode)),
            *steps,
            transforms.ToTensor(),
            transforms.Normalize(preprocess.mean, preprocess.std),
        ]
    )


@settings(max_examples=150, deadline=None)
@given(
    image=st.builds(picture, sides, sides, st.sampled_from(MODES)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    resize=st.sampled_from(["crop", "squash"]),
    margin=st.none() | st.integers(0, 30),
    interpolation=st.sampled_from(sorted(FILTERS)),
    grey=st.booleans(),
)
def test_the_numbers_are_those_of_torchvision(
    image: Image.Image, size: tuple[int, int], resize: str, margin: int | None, interpolation: str, grey: bool
) -> None:
    preprocess = Preprocess(
        mode="L" if grey else "RGB",
        size=size,
        resize=resize,  # type: ignore[arg-type]
        shorter=None if margin is None or resize == "squash" else max(size) + margin,
        interpolation=interpolation,  # type: ignore[arg-type]
        mean=MEAN[:1] if grey else MEAN,
        std=STD[:1] if grey else STD,
    )
    ours = preprocess(image)
    assert ours.dtype == torch.float32
    assert ours.is_contiguous()
    assert torch.equal(ours, torchvision_of(preprocess)(image))


def test_an_image_that_fits_is_taken_as_it_is() -> None:
    preprocess = Preprocess(size=(5, 7), resize="none", mean=MEAN, std=STD)
    assert torch.equal(preprocess(picture(7, 5)), torchvision_of(preprocess)(picture(7, 5)))


def test_another_size_is_refused_where_nothing_may_be_resized() -> None:
    preprocess = Preprocess(size=(5, 7), resize="none", mean=MEAN, std=STD)
    with pytest.raises(UnreadableImage, match="is 5×7 pixels, the model takes 7×5"):
        preprocess(picture(5, 7))


def test_the_pixels_of_the_image_are_left_alone() -> None:
    image = picture(4, 4)
    before = np.asarray(image).copy()
    Preprocess(size=(4, 4), resize="squash", mean=MEAN, std=STD)(image)
    assert np.array_equal(np.asarray(image), before)


def test_it_survives_being_recorded() -> None:
    preprocess = Preprocess(size=(3, 4), shorter=9, interpolation="bicubic", mean=MEAN, std=STD)
    assert Preprocess.model_validate_json(preprocess.model_dump_json()) == preprocess


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"mean": (0.5,)}, "mode RGB needs 3 numbers in mean"),
        ({"std": (1.0, 0.0, 1.0)}, "std must be positive"),
        ({"shorter": 7}, "shorter must be at least 8"),
        ({"shorter": 9, "resize": "squash"}, 'shorter goes with resize "crop" only'),
        ({"size": (0, 8)}, "greater than 0"),
        ({"interpolation": "cubic"}, "bicubic"),
        ({"crop": 1}, "Extra inputs"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, object], said: str) -> None:
    fields: dict[str, object] = {"size": (6, 8), "mean": MEAN, "std": STD}
    with pytest.raises(ValidationError, match=said):
        Preprocess.model_validate(fields | wrong)
