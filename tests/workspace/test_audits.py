"""A draw is random, grows without forgetting, tells nothing of the score, and belongs to one line."""

import json

import numpy as np
import pytest

from mimic.errors import MimicError
from mimic.workspace.audits import begin_audit, list_audits, load_audit
from tests.workspace.queries.conftest import known  # noqa: F401


def test_each_side_gives_what_was_asked_for(known):  # noqa: F811
    audit = begin_audit(known.workspace, "sides", known.published, "mimic", 0.1, (40, 60))
    scores = known.scores["mimic"].astype(np.float64)
    below, above = audit.zones
    assert (len(below.samples), len(above.samples)) == (40, 60)
    assert (scores[list(below.samples)] < 0.1).all()
    assert (scores[list(above.samples)] >= 0.1).all()
    assert (below.size, above.size) == ((scores < 0.1).sum(), (scores >= 0.1).sum())
    assert load_audit(known.workspace, "sides") == audit
    assert audit in list_audits(known.workspace, known.published.run)
    assert list_audits(known.workspace, "another") == []


def test_more_of_it_begins_with_what_there_was(known):  # noqa: F811
    first = begin_audit(known.workspace, "grows", known.published, "mimic", 0.1, (10, 30), seed=5)
    second = begin_audit(known.workspace, "grows", known.published, "mimic", 0.1, (40, 20), seed=9)
    assert second.seed == 5
    assert [len(zone.samples) for zone in second.zones] == [40, 30]
    for before, after in zip(first.zones, second.zones, strict=True):
        assert after.samples[: len(before.samples)] == before.samples


def test_fewer_than_there_are_is_refused(known):  # noqa: F811
    first = begin_audit(known.workspace, "fewer", known.published, "mimic", 0.1, (10, 30))
    with pytest.raises(MimicError, match=r"'fewer' of 20.* has 40 drawn samples, more than 39: ask for 40"):
        begin_audit(known.workspace, "fewer", known.published, "mimic", 0.1, (20, 19))
    assert load_audit(known.workspace, "fewer") == first


def test_the_order_tells_nothing(known):  # noqa: F811
    audit = begin_audit(known.workspace, "order", known.published, "mimic", 0.1, (100, 100))
    assert sorted(audit.samples) == sorted([*audit.zones[0].samples, *audit.zones[1].samples])
    low = np.isin(audit.samples, audit.zones[0].samples)
    assert abs(np.corrcoef(low, np.arange(200))[0, 1]) < 0.25
    assert 70 < (low[1:] != low[:-1]).sum() < 130  # neither blocks nor turns


def test_every_sample_is_as_likely(known):  # noqa: F811
    scores = known.scores["mimic"]
    times = np.zeros(scores.size)
    for seed in range(120):
        name = f"seed-{seed}"
        for zone in begin_audit(known.workspace, name, known.published, "mimic", 0.1, (50, 50), seed=seed).zones:
            times[list(zone.samples)] += 1
    for side in (scores < 0.1, scores >= 0.1):
        chance = 50 / side.sum()
        spread = times[side].var() / (120 * chance * (1 - chance))
        assert 0.8 < spread < 1.25  # what independent draws give


def test_another_line_needs_another_name(known):  # noqa: F811
    begin_audit(known.workspace, "mine", known.published, "mimic", 0.1, (5, 5))
    with pytest.raises(MimicError, match="there is an audit 'mine'"):
        begin_audit(known.workspace, "mine", known.published, "mimic", 0.2, (5, 5))
    with pytest.raises(MimicError, match="cannot name an audit"):
        begin_audit(known.workspace, "../mine", known.published, "mimic", 0.2, (5, 5))
    with pytest.raises(MimicError, match=r"no audit 'lost' .*`mimic audit lost --draw 300 .*` begins one"):
        load_audit(known.workspace, "lost")
    path = known.workspace.path / "audits" / "broken.json"
    path.write_text(json.dumps({"zones": []}))
    with pytest.raises(MimicError, match=r"broken\.json is no audit of ours"):
        load_audit(known.workspace, "broken")
    path.unlink()
