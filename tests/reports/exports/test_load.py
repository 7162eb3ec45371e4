"""An export in a training loop: ids, weights, Subset and sampler in one line each."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import mimic
from mimic.errors import MimicError
from mimic.reports.exports import write_export
from tests.reports.exports.conftest import CLASSES, RELABELLED, N


@pytest.fixture(params=["parquet", "csv", "jsonl"])
def exported(request, pile, tmp_path):
    return write_export(pile.decided, tmp_path / f"out.{request.param}", request.param).path


def test_it_comes_back_as_it_left(pile, exported):
    loaded = mimic.load_filter(exported)
    assert loaded.ids == pile.ids
    assert loaded.labels == [CLASSES[3] if i == RELABELLED else label for i, label in enumerate(pile.labels)]
    np.testing.assert_array_equal(loaded.scores, pile.scores)
    assert np.flatnonzero(loaded.kept).tolist() == pile.kept(True).tolist()
    assert loaded.weights.tolist() == loaded.kept.astype(float).tolist()


def test_subset_and_sampler_hold_kept_samples_only(pile, exported):
    items = TensorDataset(torch.arange(N))
    assert [int(x) for (x,) in mimic.load_filter(exported).subset(items)] == pile.kept(True).tolist()
    loader = DataLoader(items, sampler=mimic.load_filter(exported).sampler(count=2000))
    assert {int(batch[0]) for batch in loader} == set(pile.kept(True).tolist())


def test_another_order_goes_by_ids(pile, exported):
    order = np.random.default_rng(0).permutation(N)[:50]
    ids = [pile.ids[i] for i in order]
    items = TensorDataset(torch.from_numpy(order))
    loaded = mimic.load_filter(exported)
    kept = set(pile.kept(True).tolist())
    assert [int(x) for (x,) in loaded.subset(items, ids)] == [int(i) for i in order if i in kept]
    assert len(loaded.sampler(ids)) == sum(i in kept for i in order)
    with pytest.raises(MimicError, match="50 items and the filter 60 rows"):
        loaded.subset(items)
    with pytest.raises(MimicError, match="does not know 1 of the ids"):
        loaded.indices(["x"])


def test_weights_are_the_softmax_over_the_kept(pile, exported):
    loaded = mimic.load_filter(exported, temperature=0.5)
    scored = loaded.kept & ~np.isnan(pile.scores)
    powers = np.exp(pile.scores[scored].astype(np.float64) / 0.5)
    np.testing.assert_allclose(loaded.weights[scored], powers / powers.sum() * scored.sum())
    assert loaded.weights[np.isnan(pile.scores)].tolist() == [1, 1]
    assert loaded.weights[~loaded.kept].sum() == 0
    assert loaded.weights.sum() == pytest.approx(loaded.kept.sum())


def test_what_is_no_export_is_said(tmp_path):
    with pytest.raises(MimicError, match=r"no \.parquet, \.csv or \.jsonl"):
        mimic.load_filter(tmp_path / "x.npy")
    with pytest.raises(MimicError, match="cannot be read"):
        mimic.load_filter(tmp_path / "x.parquet")
    (tmp_path / "x.csv").write_text("id,label\n1,2\n")
    with pytest.raises(MimicError, match="no column score"):
        mimic.load_filter(tmp_path / "x.csv")
    with pytest.raises(MimicError, match="above 0"):
        mimic.load_filter(tmp_path / "x.csv", temperature=0)
