"""The made-up mistakes are as many and of the kind that is said, and the figures are those of the cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.quality_frozen import MISTAKEN, Cell, asymmetric, figures, gains, instance, mimic_last, symmetric
from mimic.scores.heads import Head

TRUTH = np.random.default_rng(0).integers(0, 10, 5000)


def test_symmetric_mistakes_are_any_other_class():
    labels = symmetric(TRUTH, 0.3, seed=0)
    wrong = labels != TRUTH
    assert wrong.mean() == pytest.approx(0.3, abs=0.02)
    assert np.bincount((labels - TRUTH)[wrong] % 10, minlength=10)[1:].min() > 0.08 * wrong.sum()


@pytest.mark.parametrize("mistaken", MISTAKEN.values())
def test_asymmetric_mistakes_go_where_they_should(mistaken):
    labels = asymmetric(TRUTH, 0.4, 0, mistaken)
    for k in range(10):
        given = labels[k == TRUTH]
        assert set(given) == {k, mistaken.get(k, k)}
        assert (given != k).mean() == pytest.approx(0.4 if k in mistaken else 0, abs=0.06)


def test_instance_dependent_mistakes_meet_the_doubtful():
    torch.set_num_threads(1)
    truth = TRUTH[:1000] % 3
    clearness = np.random.default_rng(1).uniform(0, 4, 1000)
    features = np.random.default_rng(2).normal(size=(1000, 3)).astype(np.float32)
    features[np.arange(1000), truth] += clearness
    wrong = instance(features, truth, 0.2, 0) != truth
    assert wrong.mean() == pytest.approx(0.2, abs=0.01)
    assert clearness[wrong].mean() < clearness[~wrong].mean() - 0.5


def test_the_last_layers_score_is_a_derivative():
    torch.manual_seed(0)
    head, reference = (Head(torch.randn(3, 4).double(), torch.randn(3).double()) for _ in range(2))
    inputs, labels = torch.randn(6, 4).double(), torch.randint(3, (6,))
    change = Head(reference.weight - head.weight, reference.bias - head.bias)
    length = (change.weight.square().sum() + change.bias.square().sum()).sqrt()
    step = 1e-6
    ahead = Head(head.weight + step * change.weight / length, head.bias + step * change.bias / length)
    losses = [torch.nn.functional.cross_entropy(each(inputs), labels, reduction="none") for each in (head, ahead)]
    slope = (losses[0] - losses[1]) / step
    torch.testing.assert_close(mimic_last(head, reference, inputs, labels), slope, rtol=1e-4, atol=1e-5)


def test_figures_and_gains_by_hand():
    wrong = np.array([True, False, False, False])
    rows = [
        row
        for split, good in ((0, [0.0, 1, 2, 3]), (1, [1.0, 0, 2, 3]))
        for row in figures(Cell("a", "b", split, wrong, {"good": np.array(good), "bad": np.array([3.0, 0, 1, 2])}))
    ]
    table = pd.DataFrame(rows)
    assert table[table.signal == "good"].auroc.tolist() == pytest.approx([1, 2 / 3])
    assert table[table.signal == "good"].false_negative_rate.tolist() == [0, 1]
    gain = gains(table, "good", "bad")
    assert gain["mean"].tolist() == pytest.approx([5 / 6])
    assert gain["error"].tolist() == pytest.approx([np.std([1, 2 / 3], ddof=1) / np.sqrt(2)])
