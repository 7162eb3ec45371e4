"""Streamed decisions and judged scores, against the arrays."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from mimic.errors import MimicError
from mimic.workspace.queries.rows import judged, kept_rows


@pytest.mark.parametrize("drop_unscored", [False, True])
def test_every_sample_leaves_once_with_its_decision(known, drop_unscored):
    scores = known.scores["mimic"]
    batches = list(kept_rows(known.published, "mimic", 0.1, drop_unscored, chunk=500))
    assert max(batch.num_rows for batch in batches) <= 2048  # pieces, not the whole
    table = pa.Table.from_batches(batches)
    assert table.column_names == ["sample", "id", "path", "label", "mimic", "kept"]
    assert table["sample"].to_pylist() == list(range(scores.size))
    expected = np.where(np.isnan(scores), not drop_unscored, scores.astype(np.float64) >= 0.1)
    assert table["kept"].to_pylist() == expected.tolist()
    assert table["mimic"].null_count == np.isnan(scores).sum()
    assert table["label"].to_pylist() == known.labels.tolist()


def test_judged_holds_the_samples_whose_truth_is_known(known):
    found = judged(known.published)
    assert found.known == found.wrong.size == known.judged.sum()
    assert not found.sampled
    assert found.wrong.sum() == known.wrong.sum()
    for signal, column in found.signals.items():
        for wrong in (True, False):
            mine = np.sort(column[found.wrong == wrong])
            np.testing.assert_array_equal(mine, np.sort(known.scores[signal][known.judged & (known.wrong == wrong)]))


def test_a_draw_says_that_it_is_one(known):
    found = judged(known.published, 100)
    assert found.wrong.size == 100
    assert found.sampled
    assert found.known == known.judged.sum()


def test_without_truth_nothing_is_judged(known):
    with pytest.raises(MimicError, match="no column `truth`"):
        judged(replace(known.published, has_truth=False))
