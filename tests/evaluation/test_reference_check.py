"""The verdict's rules at their edges, on numbers made for it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimic.evaluation.reference_check import Gradient, check_reference

N = 1000


def agreeing(count: int) -> np.ndarray:
    return np.arange(N) < count


def check(mean: float, reference: int, start: int, commonest: int = 100):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(N)
    scores = (noise - noise.mean()) / noise.std(ddof=1) + mean
    labels = np.where(np.arange(N) < commonest, 0, 1 + np.arange(N) % 50)
    return check_reference(scores.astype(np.float32), agreeing(reference), agreeing(start), labels, norm=1.0)


HALF = 1.96 / np.sqrt(N)


@pytest.mark.parametrize(
    ("mean", "reference", "start", "verdict", "words"),
    [
        (1.0, 800, 600, "Good", "clearly better"),
        (HALF * 1.05, 800, 600, "Good", "clearly better"),
        (HALF * 0.95, 800, 600, "Do not use", "do not show"),
        (-HALF * 0.95, 800, 600, "Do not use", "do not show"),
        (-1.0, 800, 600, "Do not use", "below 0"),
        (1.0, 603, 600, "Do not use", "no better"),  # the paired error of 3 in 1000 is 1.7
        (1.0, 606, 600, "Weak", "little better"),
        (1.0, 660, 600, "Weak", "little better"),
        (1.0, 680, 600, "Good", "clearly better"),
        (1.0, 996, 600, "Good", "trained on these very samples"),
        (1.0, 500, 600, "Do not use", "no better"),
    ],
)
def test_verdicts(mean: float, reference: int, start: int, verdict: str, words: str) -> None:
    found = check(mean, reference, start)
    assert (found.verdict, words in found.sentence) == (verdict, True)


def test_the_majority_class_counts_like_a_start() -> None:
    assert check(1.0, reference=900, start=100, commonest=900).verdict == "Do not use"
    found = check(1.0, reference=960, start=100, commonest=900)
    assert found.majority_agreement == 0.9
    assert "the majority class with 90.0%" in found.sentence


def test_numbers() -> None:
    scores = np.array([-1, 1, 2, 4], np.float32)
    yes, no = np.ones(4, bool), np.zeros(4, bool)
    found = check_reference(scores, yes, no, np.array([3, 3, 0, 3]), 2.5, Gradient(0.5, 0.25, 4))
    assert (found.samples, found.mean, found.positive_share, found.norm) == (4, 1.5, 0.75, 2.5)
    assert found.mean_high - found.mean == pytest.approx(1.96 * np.std(scores, ddof=1) / 2)
    assert (found.reference_agreement, found.start_agreement, found.majority_agreement) == (1, 0, 0.75)
    assert found.majority_code == 3
    assert (found.cosine, found.gradient_norm, found.gradient_samples) == (0.25, 0.5, 4)
    assert set(found.facts()) >= {"verdict", "sentence", "mean_low"}


def test_a_gradient_of_zero_has_no_cosine() -> None:
    yes = np.ones(4, bool)
    found = check_reference(np.ones(4, np.float32), yes, ~yes, np.zeros(4, int), 1.0, Gradient(0.0, float("nan"), 4))
    assert found.cosine is None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_a_reference_that_only_guesses_as_well_as_the_start_rarely_passes(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    reference, start = rng.random((2, N)) < share
    found = check_reference(np.ones(N, np.float32), reference, start, np.arange(N), 1.0)
    assert found.verdict != "Good"  # more than two errors and five points ahead by chance: 4 errors


def doubted(start: int = 600, commonest: int = 100, sign: float = 1.0, **facts: float):
    scores = np.random.default_rng(0).standard_normal(N).astype(np.float32) + 1
    labels = np.where(np.arange(N) < commonest, 0, 1 + np.arange(N) % 50)
    return check_reference(
        scores, agreeing(800), agreeing(start), labels, 1.0, reference_logprob=sign * scores, **facts
    )


@pytest.mark.parametrize(
    ("facts", "verdict", "words"),
    [
        ({}, "Good", "clearly better"),
        ({"weights_cosine": 0.95}, "Good", "clearly better"),
        ({"weights_cosine": 0.61}, "Good", "clearly better"),
        ({"weights_cosine": 0.59}, "Weak", "outside the head is 0.59"),
        ({"weights_cosine": 0.31}, "Weak", "outside the head is 0.31"),
        ({"weights_cosine": 0.29}, "Do not use", "share no coordinate system"),
        ({"weights_cosine": -0.9}, "Do not use", "outside the head is -0.90"),
        ({"start": 98, "commonest": 117}, "Weak", "it agrees with 9.8% of the given labels, always saying"),
        ({"sign": -1.0}, "Weak", "rank correlation is -1.00"),
        ({"sign": 0.0}, "Good", "clearly better"),  # a constant view has no ranks
    ],
)
def test_doubts(facts: dict[str, float], verdict: str, words: str) -> None:
    found = doubted(**facts)
    assert (found.verdict, words in found.sentence) == (verdict, True)


@pytest.mark.parametrize(("count", "firm"), [(50, False), (299, False), (300, True), (3000, True)])
def test_few_samples_make_no_firm_sentence(count: int, firm: bool) -> None:
    scores = np.random.default_rng(0).standard_normal(count).astype(np.float32) + 1
    yes = np.ones(count, bool)
    found = check_reference(scores, yes, np.arange(count) % 2 == 0, np.arange(count) % 10, 1.0)
    assert found.verdict == "Good"
    assert found.sentence.startswith("The reference lies downhill" if firm else f"As far as {count} samples can say: ")
    assert ("Score 300 or more" in found.sentence) != firm


def test_weights_that_have_nothing_in_common_need_no_samples_to_say_so() -> None:
    yes = np.ones(4, bool)
    found = check_reference(np.ones(4, np.float32), yes, ~yes, np.zeros(4, int), 1.0, weights_cosine=0.1)
    assert found.sentence.startswith("Start and reference share no coordinate system")


def test_a_refusal_stays_one_whatever_the_doubts() -> None:
    yes = np.ones(4, bool)
    scores = np.array([-3, -2, -3, -2], np.float32)
    found = check_reference(scores, yes, ~yes, np.array([0, 1, 2, 3]), 1.0, None, 0.5, -scores)
    assert (found.verdict, found.weights_cosine, found.rank_agreement) == ("Do not use", 0.5, -1.0)
    assert found.sentence.startswith("As far as 4 samples can say: the reference lies uphill")
