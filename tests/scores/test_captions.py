"""Signals of captions: what rules say of examples, and neighbours against a loop over all pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimic.scores.captions import SIZE_RULES, TEXT_RULES, basic, english, length, neighbour_agreement, specificity


@pytest.mark.parametrize(
    ("caption", "share"),
    [
        ("A cat on the mat", 1.0),
        ("a well-known cat's toy", 1.0),
        ("#", 0.0),
        ("", 0.0),
        ("Кошка на ковре", 0.0),
        ("cat 12345", 3 / 8),
        ("b c d", 0.0),
    ],
)
def test_english(caption: str, share: float) -> None:
    assert english(caption) == pytest.approx(share)


@given(st.text(max_size=60))
def test_any_text_has_a_share_and_a_length(caption: str) -> None:
    assert 0 <= english(caption) <= 1
    assert length(caption) == len(caption.split()) or not caption.isascii()
    assert basic(caption, None) in {count / 3 for count in range(4)}


def test_basic_counts_the_rules_that_hold() -> None:
    assert basic("a cat on a mat", (640, 480)) == 1
    assert basic("a cat on a mat", (640, 100)) == pytest.approx(3 / 5)
    assert basic("Image", (640, 480)) == pytest.approx(3 / 5)
    assert basic("a cat on a mat", None) == 1
    assert len(TEXT_RULES) + len(SIZE_RULES) == 5


def test_specificity_counts_captions_that_are_the_same() -> None:
    found = specificity(["Image", " image ", "a cat", "IMAGE", "a  cat", "dog"])
    np.testing.assert_allclose(found, [-math.log(n) for n in (3, 3, 2, 3, 2, 1)], rtol=1e-6)


@pytest.mark.parametrize(("size", "count"), [(30, 10), (5, 10), (3, 1)])
def test_neighbours_against_a_loop(size: int, count: int) -> None:
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(size, 4)), rng.normal(size=(size, 6))

    def way(near, judged):
        near, judged = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (near, judged))
        found = []
        for i in range(size):
            others = [j for j in range(size) if j != i]
            closest = sorted(others, key=lambda j: -near[i] @ near[j])[:count]
            found.append(
                np.mean([judged[i] @ judged[j] for j in closest]) - np.mean([judged[i] @ judged[j] for j in others])
            )
        return np.array(found)

    ways = [way(images, texts), way(texts, images)]
    expected = np.mean([each / each.std() if each.std() > 1e-9 else each for each in ways], axis=0)
    if size > count:
        np.testing.assert_allclose(neighbour_agreement(images, texts, count), expected, rtol=1e-3, atol=1e-4)
    assert neighbour_agreement(images, texts, count).shape == (size,)


def test_a_swapped_caption_has_other_neighbours() -> None:
    rng = np.random.default_rng(1)
    kinds = np.repeat(np.eye(4), 15, axis=0)
    images, texts = kinds + 0.1 * rng.normal(size=(60, 4)), kinds + 0.1 * rng.normal(size=(60, 4))
    texts[[0, 20]] = texts[[20, 0]]
    assert set(np.argsort(neighbour_agreement(images, texts))[:2]) == {0, 20}
