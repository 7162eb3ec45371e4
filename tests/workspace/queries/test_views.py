"""The reference's views as the run kept them, no class of a sample twice; groups and true codes."""

import numpy as np
import pytest

from mimic.errors import MimicError
from mimic.workspace.queries.views import groups, has_views, reference_views, true_codes
from tests.pages.conftest import ROWS, published  # noqa: F401


@pytest.fixture
def run(published):  # noqa: F811
    from mimic.workspace.queries.connection import Published

    found = published.run(f"synthetic-{ROWS}")
    return Published.of(found, published.dataset(found.dataset))


def test_views_hold_what_was_kept(run):
    from mimic.workspace.queries.connection import tables

    views = reference_views(run)
    assert has_views(run)
    assert (np.diff(views.samples) > 0).all()
    assert views.drawn_from is None
    with tables(run) as t:
        kept = t.frame(f"SELECT sample, rank, label, logprob FROM {t.predictions} WHERE rank = 1 ORDER BY sample")
        truth = t.frame(
            f"SELECT s.sample, s.label, s.label = s.truth AS good, c.ref_logprob AS own FROM {t.samples} s"
            f" JOIN {t.scores} c ON c.sample = s.sample ORDER BY s.sample"
        ).set_index("sample")
    names = np.array(views.names)
    own = truth.loc[views.samples]
    assert names[views.labels].tolist() == own["label"].tolist()
    assert (views.right == own["good"].astype(int)).all()
    scored = ~np.isnan(own["own"].to_numpy(dtype=float))
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in views.codes)
    np.testing.assert_array_equal(views.codes[:, 0], np.where(scored, views.labels, -1))
    np.testing.assert_allclose(views.log_probs[scored, 0], own["own"].to_numpy(dtype=float)[scored], rtol=1e-6)
    first = kept.set_index("sample").loc[views.samples]
    others = (first["label"].to_numpy() != own["label"].to_numpy()) | ~scored
    codes = np.array([views.names.index(label) for label in first["label"]])
    assert (views.codes[others, 1] == codes[others]).all()
    assert (views.codes[~others, 1] == -1).all()
    np.testing.assert_allclose(views.log_probs[others, 1], first["logprob"].to_numpy(dtype=float)[others], rtol=1e-6)


def test_groups_are_by_sample_and_true_codes_by_number(run):
    from mimic.workspace.queries.connection import tables

    samples = np.array([3, 5, 700], dtype=np.int32)
    with tables(run) as t:
        rows = t.rows(f"SELECT split, truth FROM {t.samples} WHERE sample IN (3, 5, 700) ORDER BY sample")
    assert groups(run, "split", samples).tolist() == [row[0] for row in rows]
    codes = true_codes(run, ROWS)
    assert [None if codes[s] < 0 else run.classes[codes[s]] for s in samples] == [row[1] for row in rows]
    with pytest.raises(MimicError, match="has no column 'nothing'"):
        groups(run, "nothing", samples)
