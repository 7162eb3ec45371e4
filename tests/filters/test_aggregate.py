import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from mimic.data import ABSTAIN, DROP, KEEP
from mimic.errors import MimicError
from mimic.filters import aggregate
from mimic.filters.aggregate import dawid_skene, diagnose, majority, mean_normal_score, mean_score, weighted

VOTES = arrays(np.int8, st.tuples(st.integers(1, 30), st.integers(1, 6)), elements=st.sampled_from([-1, 0, 1]))


def simulate(seed: int, samples: int = 3000, share_good: float = 0.7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes of five voters of known accuracies, a third abstained, with the truth."""
    rng = np.random.default_rng(seed)
    accuracies = np.array([0.95, 0.85, 0.8, 0.7, 0.6])
    good = rng.random(samples) < share_good
    right = rng.random((samples, 5)) < accuracies
    votes = np.where(right == good[:, None], KEEP, DROP).astype(np.int8)
    votes[rng.random(votes.shape) < 0.3] = ABSTAIN
    return votes, good, accuracies


@settings(max_examples=200, deadline=None)
@given(VOTES)
def test_majority_counts(votes: np.ndarray) -> None:
    for row, answer in zip(votes, majority(votes).votes, strict=True):
        keep, drop = (row == KEEP).sum(), (row == DROP).sum()
        assert answer == (ABSTAIN if keep + drop == 0 else KEEP if keep >= drop else DROP)


def test_weights_decide_and_rounding_does_not() -> None:
    votes = np.array([[1, 0, 0], [0, 1, 1], [0, -1, 1], [-1, -1, -1]], dtype=np.int8)
    assert weighted(votes, np.array([3.0, 1.0, 1.0])).votes.tolist() == [KEEP, DROP, DROP, ABSTAIN]
    assert weighted(votes, np.array([0.3, 0.1, 0.2])).votes.tolist() == [KEEP, KEEP, DROP, ABSTAIN]
    with pytest.raises(MimicError, match="3 numbers"):
        weighted(votes, np.array([1.0, 2.0]))
    with pytest.raises(MimicError, match="at least 0"):
        weighted(votes, np.array([1.0, 2.0, -1.0]))


@pytest.mark.parametrize("seed", range(3))
def test_the_label_model_finds_the_voters_accuracies_and_beats_the_majority(seed: int) -> None:
    votes, good, accuracies = simulate(seed)
    model = dawid_skene(votes)
    np.testing.assert_allclose(model.accuracies, accuracies, atol=0.05)
    assert abs(model.share_good - good.mean()) < 0.04
    known = (votes != ABSTAIN).any(axis=1)
    assert ((model.votes.votes == KEEP) == good)[known].mean() > ((majority(votes).votes == KEEP) == good)[known].mean()
    assert (model.votes.votes[~known] == ABSTAIN).all()
    assert np.isnan(model.good[~known]).all()


@settings(max_examples=50, deadline=None)
@given(VOTES)
def test_sharing_patterns_changes_nothing(votes: np.ndarray) -> None:
    if (votes == ABSTAIN).all():
        with pytest.raises(MimicError, match="nobody votes"):
            dawid_skene(votes)
        return
    together = dawid_skene(votes, rounds=20)
    kept, aggregate._MOST_IN_A_CODE = aggregate._MOST_IN_A_CODE, 0
    try:
        apart = dawid_skene(votes, rounds=20)
    finally:
        aggregate._MOST_IN_A_CODE = kept
    np.testing.assert_allclose(together.good, apart.good, atol=1e-6)
    np.testing.assert_allclose(together.rates, apart.rates, atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # crowd-kit's own, about pandas
@pytest.mark.parametrize("seed", range(3))
def test_the_label_model_is_crowd_kits(seed: int) -> None:
    aggregation = pytest.importorskip("crowdkit.aggregation")
    votes, _, _ = simulate(seed, samples=400)
    task, worker = np.nonzero(votes != ABSTAIN)
    answers = pd.DataFrame({"task": task, "worker": worker, "label": votes[task, worker].astype(int)})
    for rounds in (1, 5, 50):  # round by round: the two stop by different rules
        theirs = aggregation.DawidSkene(n_iter=rounds, tol=-math.inf).fit(answers)
        ours = dawid_skene(votes, rounds=rounds, tolerance=-math.inf)
        np.testing.assert_allclose(ours.good[theirs.probas_.index], theirs.probas_[1], atol=1e-9)


def test_means_leave_out_what_is_missing() -> None:
    visits = np.array([[1.0, 3.0], [math.nan, 5.0], [math.nan, math.nan]])
    np.testing.assert_array_equal(mean_score(visits), [2.0, 5.0, math.nan])


def test_normal_scores_know_ranks_only() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=51)
    visits = np.stack([one, np.exp(3 * one)], axis=1)
    found = mean_normal_score(visits)
    np.testing.assert_allclose(found[one.argsort()], norm.ppf((np.arange(51) + 0.5) / 51), rtol=1e-6, atol=1e-7)
    visits[7, 1] = math.nan
    assert np.isfinite(mean_normal_score(visits)).all()
    ties = mean_normal_score(np.array([[1.0], [1.0], [2.0]]))
    assert ties[0] == ties[1] < ties[2]


def test_diagnostics_by_hand() -> None:
    votes = np.array([[1, 1, -1], [0, 1, -1], [1, -1, -1], [0, 0, -1]], dtype=np.int8)
    good = np.array([True, True, True, False])
    table = diagnose(votes, ["a", "b", "c"], dawid_skene(votes), good).set_index("voter")
    assert table["coverage"].tolist() == [1.0, 0.75, 0.0]
    assert table["keeps"].tolist()[:2] == [0.5, 2 / 3]
    assert table["overlap"].tolist() == [0.75, 0.75, 0.0]
    assert table["conflict"].tolist() == [0.25, 0.25, 0.0]
    assert table["accuracy"].tolist()[:2] == [0.75, 1.0]
    assert table.loc["c", ["keeps", "accuracy"]].isna().all()
    assert diagnose(votes, ["a", "b", "c"], dawid_skene(votes))["accuracy"].isna().all()
