"""Rules: kept ⇔ score ≥ threshold, ties never split, unscored samples abstain; a broken rule says what is wrong."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mimic.data import ABSTAIN, DROP, KEEP
from mimic.errors import MimicError
from mimic.filters.rules import ThresholdRule, read_rule, threshold_keeping

FLOATS = st.floats(-4, 4, width=32)
SCORES = hnp.arrays(
    np.float32, st.integers(1, 50), elements=st.one_of(st.just(np.nan), FLOATS, st.sampled_from([0, 1]))
)


@given(SCORES, FLOATS, st.booleans())
def test_every_sample_gets_the_vote_the_rule_says(scores, line, drop_unscored):
    rule = ThresholdRule(run="r", signal="mimic", threshold=line, drop_unscored=drop_unscored)
    by_hand = [(DROP if drop_unscored else ABSTAIN) if np.isnan(s) else KEEP if s >= line else DROP for s in scores]
    assert rule.votes(scores).votes.tolist() == by_hand


@given(SCORES, st.integers(0, 60))
def test_the_line_for_a_count_is_the_highest_that_keeps_it(scores, count):
    scored = scores[~np.isnan(scores)]
    if not scored.size:
        with pytest.raises(MimicError, match="No sample has a score"):
            threshold_keeping(scores, count)
        return
    line = threshold_keeping(scores, count)
    kept = (scored >= line).sum()
    assert kept >= min(count, scored.size)
    assert (scored > line).sum() < max(count, 1)  # any higher line would keep too few
    if count == 0:
        assert kept == 0


def test_a_rule_survives_its_json():
    rule = ThresholdRule(run="ab12", signal="mimic", threshold=float(np.float32(0.1)))
    assert read_rule(json.loads(rule.model_dump_json())) == rule
    assert rule.reason == "mimic < 0.1"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"kind": "magic"}, "kind 'magic'; known kinds: threshold"),
        ({"kind": "threshold", "run": "r", "signal": "mimic"}, "threshold: Field required"),
        ({"kind": "threshold", "run": "r", "signal": "mimic", "threshold": float("nan")}, "threshold: .*finite"),
        ({"kind": "threshold", "run": "r", "signal": "mimic", "threshold": 1, "colour": 2}, "colour: Extra"),
    ],
)
def test_a_broken_rule_is_named(written, said):
    with pytest.raises(MimicError, match=said):
        read_rule(written)
