"""Compare, alone: the same numbers as NumPy, within a run and across two, of signals and of filters."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks import synthetic
from mimic.data import Shard
from mimic.workspace.filters import save_filter
from tests.pages.conftest import CLASSES, ROWS, SHARD, address, metrics, words

RUN = f"synthetic-{ROWS}"


def scores(signal, seed):
    shards = [Shard(i, a, min(a + SHARD, ROWS)) for i, a in enumerate(range(0, ROWS, SHARD))]
    return np.concatenate([synthetic.draw(shard, CLASSES, seed).signals[signal] for shard in shards]).astype(float)


@pytest.mark.parametrize(("b_name", "seed"), [("margin", 0), ("other:margin", 7)])
def test_the_numbers_are_numpys(published, open_page, b_name, seed):
    a, b = scores("mimic", 0), scores("margin", seed)
    both = ~np.isnan(a) & ~np.isnan(b)
    app = open_page(published, "compare", run=RUN, signal="mimic", b=b_name, keep="1000")
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
    app = open_page(published, "compare", run=RUN)
    app.slider(key="state: keep").set_value(1400).run()
    shown = metrics(app)
    assert address(app, "keep") == "1400"
    dropped = int(shown["Only A drops"]) + int(shown["Both drop"])
    assert dropped == published.run(RUN).counts["scored"] - 1400


def test_a_signal_is_not_compared_with_itself(published, open_page):
    app = open_page(published, "compare", run=RUN, signal="mimic", b="mimic")
    assert app.selectbox(key="state: b").value != "mimic"
    assert "mimic" not in app.selectbox(key="state: b").options


def test_the_disputed_are_weighed_against_the_truth(published, open_page):
    assert "Of what only A drops" in words(open_page(published, "compare", run=RUN))


def test_several_are_shown_together_and_by_class(published, open_page):
    app = open_page(published, "compare", run=RUN, b="margin", also=["ref_logprob", "other:mimic"], keep="1000")
    assert "Who drops together" in words(app)
    table = app.dataframe[0].value
    assert list(table.columns) == ["label", "samples", "wrong", "disputed", "0", "1", "2", "3"]
    low = [s < np.sort(s[~np.isnan(s)])[-1000] for s in (scores("mimic", 0), scores("margin", 0))]
    everyone = ~np.isnan(scores("mimic", 0)) & ~np.isnan(scores("mimic", 7))
    mean = (table["0"] * table["samples"]).sum() / table["samples"].sum()
    assert mean == pytest.approx(100 * low[0][everyone].mean())
    assert table["samples"].sum() == everyone.sum()


def test_named_filters_are_compared_like_signals(copy, open_page):
    line = {"kind": "threshold", "run": RUN, "signal": "margin", "threshold": 0.5, "drop_unscored": False}
    split = {"kind": "split", "run": RUN, "signal": "mimic"}
    both = {"kind": "and", "rules": [line, split]}
    for name, rule in (("line", line), ("both", both)):
        save_filter(copy, name, RUN, rule, {"kept": 1, "dropped": 1, "not_scored": 1})
    app = open_page(copy, "compare", run=RUN, a="filter both", b="filter line")
    shown = metrics(app)
    assert shown["Only B drops"] == "0"  # what the line drops, both drop
    assert int(shown["Both drop"].replace(",", "")) == (scores("margin", 0) < 0.5).sum()
    assert not app.slider
    assert shown["Rank correlation"] == "–"  # what combines rules has no score of its own
    beside = open_page(copy, "compare", run=RUN, b="filter line")
    kept = (scores("margin", 0) >= 0.5).sum()
    assert beside.slider(key="state: keep").value == kept  # a signal keeps as many as the filter


def test_another_draw_shows_others(published, open_page):
    app = open_page(published, "compare", run=RUN)
    next(button for button in app.button if button.label == "Another draw").click().run()
    assert address(app, "seed") == "1"
    assert not app.exception
