"""Streamed fates and their counts, against the arrays: with decisions and without, in spans of any length."""

import numpy as np
import pyarrow as pa
import pytest

from mimic.data import ABSTAIN
from mimic.errors import MimicError
from mimic.workspace.queries.dense import Dense
from mimic.workspace.queries.export import DECIDED, Chosen, cumulative, export_rows, fates, versions


def chosen_at(known, line, drop_unscored=False, decided=None):
    """A line on mimic, as a rule gives it to the export."""
    table = Dense(known.workspace, known.workspace.dataset("d"))
    scores = table.scores("first", "mimic")
    votes = np.where(np.isnan(scores), ABSTAIN, scores.astype(float) >= line).astype(np.int8)
    return Chosen(votes, table.inside(frozenset(["first"])), scores, drop_unscored, decided)


@pytest.mark.parametrize("drop_unscored", [False, True])
def test_every_sample_leaves_once_with_its_fate(known, drop_unscored):
    scores = known.scores["mimic"]
    chosen = chosen_at(known, 0.1, drop_unscored)
    tables = list(export_rows(known.published, chosen, span=500))
    assert [table.num_rows for table in tables] == [500, 500, 200]
    table = pa.concat_tables(tables)
    assert table["sample"].to_pylist() == list(range(scores.size))
    expected = np.where(np.isnan(scores), not drop_unscored, scores.astype(np.float64) >= 0.1)
    assert table["kept"].to_pylist() == expected.tolist()
    assert table["score"].null_count == np.isnan(scores).sum()
    assert table["scored"].to_pylist() == (~np.isnan(scores)).tolist()
    assert table["label"].to_pylist() == table["given_label"].to_pylist() == known.labels.tolist()
    assert table["decision"].null_count == scores.size
    counts = fates(known.published, chosen)
    missing = np.isnan(scores).sum()
    assert (counts.kept, counts.not_scored) == ((scores >= np.float32(0.1)).sum(), missing)
    assert counts.kept + counts.dropped + counts.not_scored == scores.size
    assert (counts.relabelled, counts.overruled) == (0, 0)


def test_decisions_overrule_the_rule(known):
    scores = known.scores["mimic"]
    rng = np.random.default_rng(0)
    samples = rng.choice(scores.size, 300, replace=False)
    actions = rng.choice(["keep", "drop", "relabel", "skip"], 300)
    labels = [str(rng.choice(["cat", "ü"])) if action == "relabel" else None for action in actions]
    decided = pa.table([samples, list(actions), labels], schema=DECIDED)
    chosen = chosen_at(known, 0.1, decided=decided)
    table = pa.concat_tables(export_rows(known.published, chosen, further="ca'ption", predicted=True, span=700))
    by_rule = np.isnan(scores) | (scores >= np.float32(0.1))
    kept, final, judged = by_rule.copy(), known.labels.copy(), ~np.isnan(scores)
    for sample, action, label in zip(samples, actions, labels, strict=True):
        kept[sample] = {"keep": True, "relabel": True, "drop": False, "skip": by_rule[sample]}[action]
        judged[sample] |= action != "skip"
        final[sample] = label if action == "relabel" else final[sample]
    assert table["kept"].to_pylist() == kept.tolist()
    assert table["label"].to_pylist() == final.tolist()
    assert table["given_label"].to_pylist() == known.labels.tolist()
    assert table["further"].to_pylist() == known.texts
    assert table["predicted"].to_pylist() == [["cat", "dog's", "ü", "empty"][i % 4] for i in range(scores.size)]
    counts = fates(known.published, chosen)
    assert counts.kept == (kept & judged).sum()
    assert counts.dropped == (~kept & judged).sum()
    assert counts.not_scored == (~judged).sum()
    assert counts.overruled == (kept != by_rule).sum()
    assert counts.relabelled == (final != known.labels).sum()


def test_the_bins_give_the_share_below(known):
    scores = known.scores["fine"]
    scored = np.sort(scores[~np.isnan(scores)])
    edges, shares = cumulative(known.published, "fine")
    assert (np.diff(edges) >= 0).all()
    assert (np.diff(shares) >= 0).all()
    exact = np.searchsorted(scored, scored) / scored.size
    assert np.abs(np.interp(scored, edges, shares) - exact).max() < 0.02
    with pytest.raises(MimicError, match="has the signal 'never'"):
        cumulative(known.published, "never")


def test_an_unknown_column_is_named(known):
    with pytest.raises(MimicError, match="no column 'nope': it has ca'ption"):
        next(export_rows(known.published, chosen_at(known, 0), further="nope"))
    assert versions(known.published) == {}
