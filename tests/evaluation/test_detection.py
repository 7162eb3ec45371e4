"""Detection figures against the dumb definitions: pairs counted one by one, sklearn, and a simulation for the error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from mimic.evaluation import detection


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(4, 40))
    # few distinct values, so that ties are the rule
    scores = np.array(draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n)), dtype=np.float32)
    wrong = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    wrong[0], wrong[1] = True, False
    return scores, wrong


@given(scored())
def test_auroc_counts_pairs_ties_half(case):
    scores, wrong = case
    pairs = [(a, b) for a in scores[wrong] for b in scores[~wrong]]
    by_hand = np.mean([1.0 if a < b else 0.5 if a == b else 0.0 for a, b in pairs])
    assert detection.auroc(scores, wrong) == pytest.approx(by_hand)
    assert detection.auroc(scores, wrong) == pytest.approx(roc_auc_score(wrong, -scores))


@given(scored())
def test_average_precision_is_sklearns(case):
    scores, wrong = case
    assert detection.average_precision(scores, wrong) == pytest.approx(average_precision_score(wrong, -scores))


@given(scored(), st.integers(0, 40))
def test_f1_drops_at_most_the_budget_and_never_splits_ties(case, budget):
    scores, wrong = case
    dropped = np.zeros(scores.size, dtype=bool)
    for value in np.unique(scores):  # whole ties at a time, from the lowest, while they fit
        if dropped.sum() + (scores == value).sum() > budget:
            break
        dropped |= scores == value
    assert detection.f1_at_budget(scores, wrong, min(budget, scores.size)) == pytest.approx(
        f1_score(wrong, dropped, zero_division=0)
    )


def test_unscored_samples_are_left_out_and_counted():
    scores = np.array([0.0, np.nan, 1.0, 2.0, np.nan], dtype=np.float32)
    wrong = np.array([True, False, False, False, True])
    table = detection.detection_table({"a": scores}, wrong)
    assert table.auroc[0] == 1.0
    assert table.scored[0] == 3


def test_without_wrong_labels_the_figures_are_undefined():
    assert np.isnan(detection.auroc(np.arange(3.0), np.zeros(3, dtype=bool)))
    assert np.isnan(detection.average_precision(np.arange(3.0), np.zeros(3, dtype=bool)))
    assert np.isnan(detection.f1_at_budget(np.arange(3.0), np.zeros(3, dtype=bool), 1))


def test_standard_errors_match_repeated_draws():
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(400):
        wrong = np.arange(300) < 60
        shared = rng.normal(size=300) - wrong
        a, b = shared + 0.5 * rng.normal(size=300), shared + 0.9 * rng.normal(size=300)
        gap, error = detection.auroc_difference(a, b, wrong)
        draws.append((detection.auroc(a, wrong), detection.auroc_error(a, wrong), gap, error))
    areas, errors, gaps, gap_errors = np.array(draws).T
    assert errors.mean() == pytest.approx(areas.std(), rel=0.15)
    assert gap_errors.mean() == pytest.approx(gaps.std(), rel=0.15)


def test_the_sentence_names_a_better_signal_only_beyond_noise():
    rng = np.random.default_rng(1)
    wrong = np.arange(2000) < 400
    noise = rng.normal(size=2000)
    good, weak = noise - 2.0 * wrong, rng.normal(size=2000) - 0.3 * wrong
    ahead, sentence = detection.better_signal({"mimic": weak, "ref_logprob": good}, wrong, "mimic")
    assert ahead
    assert sentence.startswith("ref_logprob finds the wrong labels better than mimic here")
    ahead, sentence = detection.better_signal({"mimic": good, "ref_logprob": weak}, wrong, "mimic")
    assert not ahead
    assert sentence.startswith("mimic finds the wrong labels best here")
    ahead, sentence = detection.better_signal({"mimic": good, "twin": good.copy()}, wrong, "mimic")
    assert not ahead
    assert "about equally" in sentence


def test_an_f1_of_zero_is_explained():
    wrong = np.arange(20) < 4
    signals = {"tied": np.zeros(20), "ranked": np.arange(20.0)}
    why = detection.about_zero_f1(detection.detection_table(signals, wrong))
    assert why.startswith("F1 is 0 for tied: ties are never split")
    assert detection.about_zero_f1(detection.detection_table({"ranked": signals["ranked"]}, wrong)) is None
