"""Near duplicates against every pair looked at, and on pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from mimic.scores import duplicates
from mimic.scores.duplicates import distinctness, perceptual_hash


@settings(max_examples=50)
@given(st.lists(st.integers(0, 40) | st.sampled_from([2**63, 2**64 - 1]), min_size=1, max_size=25), st.integers(0, 5))
def test_counts_earlier_near_ones(hashes: list[int], near: int):
    expected = [-sum((hashes[j] ^ hashes[i]).bit_count() <= near for j in range(i)) for i in range(len(hashes))]
    assert distinctness(np.array(hashes, np.uint64), near).tolist() == expected


def test_blocks_change_nothing(monkeypatch):
    hashes = np.random.default_rng(0).integers(0, 2**12, 300).astype(np.uint64)
    whole = distinctness(hashes)
    monkeypatch.setattr(duplicates, "_BLOCK", 700)
    assert np.array_equal(distinctness(hashes), whole)


def test_a_smaller_brighter_copy_is_the_same_picture():
    rng = np.random.default_rng(0)
    pictures = [
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((160, 120), Image.Resampling.BICUBIC)
        for _ in range(5)
    ]
    copy = ImageEnhance.Brightness(pictures[3]).enhance(1.1).resize((90, 70))
    hashes = np.array([perceptual_hash(each) for each in [*pictures, copy]], np.uint64)
    assert distinctness(hashes, near=8).tolist() == pytest.approx([0, 0, 0, 0, 0, -1])
