"""Two signals against each other, of one run and of two, against NumPy."""

from dataclasses import replace

import numpy as np
import pytest

from mimic.errors import MimicError
from mimic.workspace.queries.compare import CELLS, Side, agreement, density, examples, pairs


@pytest.fixture(params=["one run", "two runs"])
def sides(known, request):
    a = Side(known.published, "mimic")
    if request.param == "one run":
        return a, Side(known.published, "fine"), known.scores["mimic"], known.scores["fine"]
    return a, Side(known.second, "fine"), known.scores["mimic"], known.second_scores["fine"]


def cells(a, b, line_a, line_b):
    both = ~np.isnan(a) & ~np.isnan(b)
    names = np.where(
        a.astype(float) >= line_a,
        np.where(b.astype(float) >= line_b, CELLS[0], CELLS[2]),
        np.where(b.astype(float) >= line_b, CELLS[1], CELLS[3]),
    ).astype(object)
    names[~both] = None
    return names


@pytest.mark.parametrize("lines", [(0.1, 0.0), (-9.0, 9.0), (0.3000000001, -0.5)])
def test_the_four_counts(known, sides, lines):
    a, b, x, y = sides
    found, names = agreement(a, b, *lines), cells(x, y, *lines)
    for cell in CELLS:
        assert found.counts[cell] == (names == cell).sum()
        assert found.wrong[cell] == ((names == cell) & known.wrong).sum()
        assert found.known[cell] == ((names == cell) & known.judged).sum()
    assert found.left_out == sum(name is None for name in names)
    both, either = (names == "both drop").sum(), np.isin(names.astype(str), CELLS[1:]).sum()
    assert found.jaccard_dropped == pytest.approx(both / either if either else 1.0)
    assert found.agreeing == pytest.approx(np.isin(names.astype(str), (CELLS[0], CELLS[3])).sum() / found.compared)


def test_chance_is_what_unrelated_signals_give(known):
    rng = np.random.default_rng(0)
    a, b = rng.random(200_000) < 0.3, rng.random(200_000) < 0.2
    found = replace(
        agreement(Side(known.published, "mimic"), Side(known.published, "fine"), 0.0, 0.0),
        counts=dict(zip(CELLS, [(~a & ~b).sum(), (a & ~b).sum(), (~a & b).sum(), (a & b).sum()], strict=True)),
    )
    assert found.jaccard_by_chance == pytest.approx(found.jaccard_dropped, abs=0.01)


def test_examples_lie_in_their_cell_and_are_drawn_again_alike(known, sides):
    a, b, x, y = sides
    names = cells(x, y, 0.1, 0.0)
    found = examples(a, b, 0.1, 0.0, each=9, seed=4)
    for cell, frame in found.items():
        assert len(frame) == min(9, (names == cell).sum())
        for row in frame.itertuples():
            assert names[row.sample] == cell
            assert (row.id, row.a, row.b) == (f"Id/{row.sample}", x[row.sample], y[row.sample])
    again, other = (examples(a, b, 0.1, 0.0, each=9, seed=seed) for seed in (4, 5))
    assert all(found[cell].equals(again[cell]) for cell in CELLS)
    assert found["both keep"]["sample"].tolist() != other["both keep"]["sample"].tolist()


def test_density_counts_every_shared_sample_in_its_cell(sides):
    a, b, x, y = sides
    both = ~np.isnan(x) & ~np.isnan(y)
    found = density(a, b, 20)
    assert found.counts.sum() == both.sum()
    i = np.clip(np.floor((x[both].astype(float) - found.a[0]) / (found.a[1] - found.a[0])), 0, 19).astype(int)
    j = np.clip(np.floor((y[both].astype(float) - found.b[0]) / (found.b[1] - found.b[0])), 0, 19).astype(int)
    expected = np.zeros((20, 20), dtype=int)
    np.add.at(expected, (j, i), 1)
    np.testing.assert_array_equal(found.counts, expected)


def test_density_of_a_constant_signal(known):
    found = density(Side(known.published, "flat"), Side(known.published, "fine"), 10)
    assert found.counts.sum() == (~np.isnan(known.scores["fine"])).sum()


def test_pairs_are_both_scores_of_a_sample(known, sides):
    a, b, x, y = sides
    both = ~np.isnan(x) & ~np.isnan(y)
    found = pairs(a, b)
    assert found.shared == both.sum()
    assert sorted(zip(found.a, found.b, strict=True)) == sorted(zip(x[both], y[both], strict=True))
    assert (found.wrong.sum(), found.known.sum()) == ((both & known.wrong).sum(), (both & known.judged).sum())
    drawn = pairs(a, b, 200)
    assert drawn.a.size == pytest.approx(200, abs=50)
    assert drawn.shared == both.sum()


def test_runs_of_different_data_sets_are_refused(known):
    other = replace(known.second, dataset="e")
    with pytest.raises(MimicError, match="only runs of one data set"):
        agreement(Side(known.published, "mimic"), Side(other, "fine"), 0, 0)


def test_signals_without_a_shared_sample_are_refused(known):
    with pytest.raises(MimicError, match="no sample in common"):
        agreement(Side(known.published, "mimic"), Side(known.published, "never"), 0, 0)
