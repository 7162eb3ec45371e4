"""Orders that visit everything once, and pictures that the same seed shows alike."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from mimic.runs.train.batches import augmented, epoch_order


@given(count=st.integers(2, 300), size=st.integers(2, 70), seed=st.integers(0, 3), epoch=st.integers(0, 3))
def test_an_epoch_visits_everything_once_in_batches_of_two_or_more(count, size, seed, epoch) -> None:
    batches = epoch_order(count, size, seed, epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))
    assert all(2 <= len(batch) <= size + 1 for batch in batches)
    again = epoch_order(count, size, seed, epoch)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


def test_epochs_and_seeds_differ() -> None:
    orders = {tuple(epoch_order(100, 100, seed, epoch)[0].tolist()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_augmented_pictures_are_pieces_of_the_mirrored_or_plain_ones() -> None:
    images = torch.rand(40, 2, 16, 16)
    assert augmented(images, "none", 0, 0) is images
    flipped = augmented(images, "flip", 0, 1)
    plain = [torch.equal(a, b) for a, b in zip(flipped, images, strict=True)]
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(flipped, images, strict=True)]
    assert all(a != b for a, b in zip(plain, mirrored, strict=True))
    assert 5 < sum(plain) < 35
    moved = augmented(images, "flip-crop", 0, 1)
    assert moved.shape == images.shape
    assert torch.equal(moved, augmented(images, "flip-crop", 0, 1))
    assert not torch.equal(moved, augmented(images, "flip-crop", 0, 2))
    middle = torch.nn.functional.pad(flipped, (2, 2, 2, 2), mode="reflect").unfold(2, 16, 1).unfold(3, 16, 1)
    for image, pieces in zip(moved, middle, strict=True):  # (C, 5, 5, 16, 16): every place that a cut may have
        assert any(torch.equal(image, pieces[:, y, x]) for y in range(5) for x in range(5))
