"""Compare, alone: the same numbers as NumPy, within a run and across two."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks import synthetic
from mimic.data import Shard
from tests.pages.conftest import CLASSES, ROWS, SHARD, address, metrics, words


def scores(signal, seed):
    shards = [Shard(i, a, min(a + SHARD, ROWS)) for i, a in enumerate(range(0, ROWS, SHARD))]
    return np.concatenate([synthetic.draw(shard, CLASSES, seed).signals[signal] for shard in shards]).astype(float)


@pytest.mark.parametrize(("run_b", "seed"), [("synthetic-1500", 0), ("other", 7)])
def test_the_numbers_are_numpys(published, open_page, run_b, seed):
    a, b = scores("mimic", 0), scores("margin", seed)
    both = ~np.isnan(a) & ~np.isnan(b)
    link = {"run": "synthetic-1500", "signal": "mimic", "run_b": run_b, "signal_b": "margin", "keep": "1000"}
    app = open_page(published, "compare", **link)
    lines = [np.sort(side[~np.isnan(side)])[-1000] for side in (a, b)]
    low_a, low_b = a[both] < lines[0], b[both] < lines[1]
    shown = metrics(app)
    assert shown["Both drop"] == f"{(low_a & low_b).sum():,}"
    assert shown["Only A drops"] == f"{(low_a & ~low_b).sum():,}"
    assert shown["Only B drops"] == f"{(~low_a & low_b).sum():,}"
    assert shown["Both keep"] == f"{(~low_a & ~low_b).sum():,}"
    assert shown["Not compared"] == str(ROWS - both.sum())
    jaccard = (low_a & low_b).sum() / (low_a | low_b).sum()
    assert float(shown["Overlap of what is dropped"].rstrip("%")) == pytest.approx(100 * jaccard, abs=0.051)
    correlation = spearmanr(a[both], b[both]).statistic
    assert float(shown["Rank correlation"].replace("−", "-")) == pytest.approx(correlation, abs=6e-4)


def test_another_budget_moves_the_counts_and_the_address(published, open_page):
    app = open_page(published, "compare", run="synthetic-1500")
    app.slider(key="state: keep").set_value(1400).run()
    shown = metrics(app)
    assert address(app, "keep") == "1400"
    dropped = int(shown["Only A drops"]) + int(shown["Both drop"])
    assert dropped == published.run("synthetic-1500").counts["scored"] - 1400


def test_a_signal_is_not_compared_with_itself_unless_there_is_no_other(published, open_page):
    app = open_page(published, "compare", run="synthetic-1500", signal="mimic", signal_b="mimic")
    assert app.selectbox(key="state: signal_b").value != "mimic"
    assert "mimic" not in app.selectbox(key="state: signal_b").options


def test_the_disputed_are_weighed_against_the_truth(published, open_page):
    assert "Of what only A drops" in words(open_page(published, "compare", run="synthetic-1500"))
