"""One sample's facts against the arrays, and its neighbours in an order with ties."""

import numpy as np
import pytest

from mimic.errors import MimicError
from mimic.workspace.queries.sample import neighbours, sample_facts


def test_facts_are_the_imported_row_and_the_scores(known):
    for sample in (0, 1, 700, 1199):
        facts = sample_facts(known.published, sample)
        assert (facts.id, facts.label, facts.truth) == (f"Id/{sample}", known.labels[sample], known.truths[sample])
        assert facts.extra == {"ca'ption": known.texts[sample]}
        assert facts.predictions["label"].tolist() == [["cat", "dog's", "ü", "empty"][sample % 4]] * 3
        for row in facts.signals.itertuples():
            scores = known.scores[row.signal]
            own = scores[sample]
            np.testing.assert_equal(row.score, own)
            scored = scores[~np.isnan(scores)]
            if np.isnan(own):
                assert np.isnan(row.percentile)
            else:
                assert row.percentile == pytest.approx((scored < own).mean() + (scored == own).mean() / 2)


def test_a_sample_that_could_not_be_scored_says_why(known):
    failed = int(np.flatnonzero(np.isnan(known.scores["mimic"]))[0])
    assert sample_facts(known.published, failed).reason == f"no {failed % 3}"
    assert neighbours(known.published, "mimic", failed) == neighbours(known.published, "mimic", 10**6)


def test_neighbours_walk_the_whole_order(known):
    scores = known.scores["mimic"]
    order = [i for i in np.lexsort((np.arange(scores.size), scores)) if not np.isnan(scores[i])]
    for place in (0, 1, 500, 501, len(order) - 1):
        beside = neighbours(known.published, "mimic", int(order[place]))
        assert beside.lower == (order[place - 1] if place else None)
        assert beside.higher == (order[place + 1] if place + 1 < len(order) else None)


def test_an_unknown_sample_is_named(known):
    for sample in (-1, 99999, 10**300):
        with pytest.raises(MimicError, match="run first has no sample"):
            sample_facts(known.published, sample)
