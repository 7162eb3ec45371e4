import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from mimic.data import ABSTAIN, DROP, KEEP
from mimic.errors import MimicError
from mimic.filters.binarise import (
    BINARISERS,
    binarise,
    fit_mixture,
    fixed,
    mixture,
    threshold_keeping,
    top_share,
    two_means,
)

SCORES = st.lists(st.floats(-100, 100, width=32) | st.just(math.nan), min_size=1, max_size=30).map(
    lambda values: np.array(values, dtype=np.float32)
)


@settings(max_examples=200, deadline=None)
@given(SCORES, st.sampled_from(list(BINARISERS)))
def test_votes_are_monotone_never_split_ties_and_leave_out_what_is_not_scored(scores: np.ndarray, name: str) -> None:
    if np.isnan(scores).all() and name != "fixed":
        with pytest.raises(MimicError, match="o sample has a score"):
            BINARISERS[name](scores)
        return
    votes = BINARISERS[name](scores).votes(scores).votes
    assert (votes[np.isnan(scores)] == ABSTAIN).all()
    kept, dropped = scores[votes == KEEP], scores[votes == DROP]
    assert len(kept) + len(dropped) == np.count_nonzero(~np.isnan(scores))
    if len(kept) and len(dropped):
        assert dropped.max() < kept.min()


@settings(max_examples=200, deadline=None)
@given(SCORES)
def test_two_means_is_the_best_of_all_splits(scores: np.ndarray) -> None:
    x = np.sort(scores[~np.isnan(scores)]).astype(np.float64)
    values = np.unique(x)
    if len(values) < 2:
        return

    def spread(threshold: float) -> float:
        return sum(((part - part.mean()) ** 2).sum() for part in (x[x < threshold], x[x >= threshold]))

    best = min(spread(value) for value in values[1:])
    assert spread(two_means(scores).threshold) <= best + 1e-9 * max(1.0, best)


def test_a_share_of_what_is_scored_is_kept() -> None:
    scores = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, math.nan], dtype=np.float32)
    for tenths in range(1, 11):
        assert (top_share(scores, tenths / 10).votes(scores).votes == KEEP).sum() == tenths
    with pytest.raises(MimicError, match="share"):
        top_share(scores, 0.0)


def test_a_known_line_and_the_neutral_weight() -> None:
    weights, size = np.array([0.1, 0.25, 0.65], dtype=np.float32), 4
    assert fixed(weights * size, 1.0).votes(weights * size).votes.tolist() == [DROP, KEEP, KEEP]
    assert fixed(weights).votes(weights).reason == "below 0"


@pytest.mark.parametrize("seed", range(5))
def test_two_distributions_are_told_apart_as_scikit_learn_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bad = rng.random(4000) < 0.3
    scores = np.where(bad, rng.normal(-1, 0.7, 4000), rng.normal(1.5, 0.5, 4000)).astype(np.float32)
    found = fit_mixture(scores)
    theirs = GaussianMixture(2, tol=1e-9, max_iter=1000, random_state=0).fit(scores[:, None].astype(np.float64))
    order = theirs.means_[:, 0].argsort()
    np.testing.assert_allclose(found.means, theirs.means_[order, 0], atol=0.01)
    np.testing.assert_allclose(found.shares, theirs.weights_[order], atol=0.005)
    np.testing.assert_allclose(found.bic, theirs.bic(scores[:, None].astype(np.float64)), rtol=1e-4)
    votes = mixture(scores).votes(scores).votes
    assert ((votes == DROP) == bad).mean() > 0.96


@pytest.mark.parametrize("seed", range(5))
def test_one_distribution_means_nothing_to_remove(seed: int) -> None:
    scores = np.random.default_rng(seed).normal(0.3, 2.0, 3000).astype(np.float32)
    assert len(fit_mixture(scores).means) == 1
    assert (mixture(scores).votes(scores).votes == KEEP).all()
    assert "one distribution" in mixture(scores).reason


def test_many_scores_are_fitted_by_their_quantiles() -> None:
    rng = np.random.default_rng(0)
    bad = rng.random(200_000) < 0.3
    scores = np.where(bad, rng.normal(-1, 0.7, len(bad)), rng.normal(1.5, 0.5, len(bad)))
    np.testing.assert_allclose(fit_mixture(scores).shares, [0.3, 0.7], atol=0.01)


def test_every_visit_has_its_own_line() -> None:
    rng = np.random.default_rng(0)
    one = np.concatenate([rng.normal(0, 0.1, 20), rng.normal(5, 0.1, 80)])
    visits = np.stack([one, 10 * one + 3, np.full(100, math.nan)], axis=1)
    visits[0, 0] = math.nan
    votes = binarise(visits, two_means)
    assert (votes[1:, 0] == np.where(np.arange(1, 100) < 20, DROP, KEEP)).all()
    assert votes[0].tolist() == [ABSTAIN, DROP, ABSTAIN]
    assert (votes[:, 2] == ABSTAIN).all()
    assert (binarise(visits, partial(fixed, threshold=-100.0))[:, 1] == KEEP).all()


@given(SCORES, st.integers(0, 60))
def test_the_line_for_a_count_is_the_highest_that_keeps_it(scores: np.ndarray, count: int) -> None:
    scored = scores[~np.isnan(scores)]
    if not scored.size:
        with pytest.raises(MimicError, match="No sample has a score"):
            threshold_keeping(scores, count)
        return
    line = threshold_keeping(scores, count)
    kept = (scored >= line).sum()
    assert kept >= min(count, scored.size)
    assert (scored > line).sum() < max(count, 1)  # any higher line would keep too few
    if count == 0:
        assert kept == 0
