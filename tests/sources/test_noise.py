"""Labels that are wrong on purpose, as often as asked for, with what they were as the truth."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimic.data import Sample
from mimic.errors import MimicError
from mimic.sources.listing import Listing
from mimic.sources.noise import Noise

CLASSES = ["ant", "bee", "cat", "dog"]


def listing(count: int, split: str | None = None, task: str = "labels", classes: list[str] = CLASSES) -> Listing:
    samples = [Sample(i, str(i), f"{i}.png", classes[i % len(classes)], split=split) for i in range(count)]
    return Listing("folder", Path("photos"), Path("photos"), classes, lambda: iter(samples), task=task)


@pytest.mark.parametrize("rate", [0.0, 0.4, 1.0])
def test_symmetric_noise_goes_to_any_other_class(rate: float) -> None:
    found = list(Noise("symmetric", rate)(listing(8000)).samples())
    assert [sample.truth for sample in found] == [CLASSES[i % 4] for i in range(8000)]
    wrong = [sample for sample in found if sample.label != sample.truth]
    assert len(wrong) == pytest.approx(8000 * rate, abs=160)
    for count in Counter((sample.truth, sample.label) for sample in wrong).values():
        assert count == pytest.approx(8000 * rate / 12, rel=0.2)


def test_asymmetric_noise_goes_to_the_next_class() -> None:
    found = list(Noise("asymmetric", 0.4)(listing(4000)).samples())
    wrong = [sample for sample in found if sample.label != sample.truth]
    assert len(wrong) == pytest.approx(1600, abs=120)
    assert {(s.truth, s.label) for s in wrong} == {("ant", "bee"), ("bee", "cat"), ("cat", "dog"), ("dog", "ant")}


@given(seed=st.integers(0, 5), count=st.integers(1, 300))
def test_the_same_seed_gives_the_same_however_often_it_is_read(seed: int, count: int) -> None:
    noisy = Noise("symmetric", 0.5, seed)(listing(count))
    assert list(noisy.samples()) == list(noisy.samples())
    longer = Noise("symmetric", 0.5, seed)(listing(count + 7))
    assert list(longer.samples())[:count] == list(noisy.samples())


def test_held_splits_and_known_truths_stay() -> None:
    found = list(Noise("symmetric", 1.0)(listing(50, split="test")).samples())
    assert all(sample.label == sample.truth for sample in found)
    known = [Sample(0, "0", "0.png", "ant", truth="dog"), Sample(1, "1", "1.png", None)]
    source = Listing("folder", Path("p"), Path("p"), CLASSES, lambda: iter(known))
    first, second = Noise("symmetric", 1.0)(source).samples()
    assert first.truth == "dog"
    assert first.label not in ("ant", None)
    assert (second.label, second.truth) == (None, None)


@pytest.mark.parametrize("text", ["symmetric", "symmetric:2", "gaussian:0.1", "symmetric:nan", "asymmetric:-0.1"])
def test_what_is_no_noise_is_refused(text: str) -> None:
    with pytest.raises(MimicError, match="symmetric:RATE or asymmetric:RATE"):
        Noise.parse(text)


def test_captions_and_single_classes_are_refused() -> None:
    assert Noise.parse("asymmetric:0.4", 3) == Noise("asymmetric", 0.4, 3)
    for source, words in ((listing(3, task="captions"), "captions"), (listing(3, classes=["one"]), "1 classes")):
        with pytest.raises(MimicError, match=words):
            Noise("symmetric", 0.5)(source)
