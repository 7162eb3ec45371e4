"""Two scores of the same samples, against plain counting."""

import numpy as np
import pytest

from mimic.errors import MimicError
from mimic.workspace.queries.pairs import density, overlaps, pairs


def test_pairs_are_both_scores_of_a_sample(known):
    x, y = known.scores["mimic"], known.scores["fine"]
    both = ~np.isnan(x) & ~np.isnan(y)
    found = pairs(x, y)
    assert found.shared == both.sum()
    assert (found.a.tolist(), found.b.tolist()) == (x[both].tolist(), y[both].tolist())
    few = pairs(x, y, 200)
    assert (len(few.a), few.shared) == (200, both.sum())
    assert set(zip(few.a.tolist(), few.b.tolist(), strict=True)) <= set(zip(x.tolist(), y.tolist(), strict=True))
    with pytest.raises(MimicError, match="no sample in common"):
        pairs(x, known.scores["never"])


def test_density_counts_every_pair_in_its_cell(known):
    of = pairs(known.scores["mimic"], known.scores["fine"])
    found = density(of, 20)
    i = np.clip(np.floor((of.a.astype(float) - found.a[0]) / (found.a[1] - found.a[0])), 0, 19).astype(int)
    j = np.clip(np.floor((of.b.astype(float) - found.b[0]) / (found.b[1] - found.b[0])), 0, 19).astype(int)
    expected = np.zeros((20, 20), dtype=int)
    np.add.at(expected, (j, i), 1)
    np.testing.assert_array_equal(found.counts, expected)
    flat = pairs(known.scores["flat"], known.scores["fine"])
    assert density(flat, 10).counts.sum() == flat.shared


def test_overlap_at_every_budget():
    rng = np.random.default_rng(0)
    a = rng.normal(size=4000).astype(np.float32)
    same = overlaps(pairs(a, 3 * a + 1))
    assert (same["overlap"] == 1).all()
    unrelated = overlaps(pairs(a, rng.normal(size=4000).astype(np.float32)))
    np.testing.assert_allclose(unrelated["overlap"], unrelated["chance"], atol=0.05)
    row = unrelated.iloc[24]
    n = round((1 - row["kept"]) * 3999)
    low = a < np.sort(a)[n]
    assert low.sum() == n
    assert unrelated["kept"].is_monotonic_increasing
