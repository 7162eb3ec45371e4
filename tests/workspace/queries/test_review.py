"""A queue brings every sample once, in its order, to one person; a candidate says what the run knows."""

import numpy as np
import pytest

from mimic.workspace.decisions import Decisions, Subject
from mimic.workspace.layout import Workspace
from mimic.workspace.queries.gallery import LARGEST_PAGE, Where, gallery_page
from mimic.workspace.queries.review import Known, Queue, candidates
from tests.workspace.queries.conftest import CLASSES


@pytest.fixture
def decisions(known, tmp_path, monkeypatch):
    monkeypatch.delenv("MIMIC_DECISIONS_URL", raising=False)
    return Decisions(Workspace(tmp_path), known.workspace.dataset("d"))


def test_candidates_say_what_is_known(known):
    first, second, again = candidates(known.published, "mimic", [7, 1100, 7])
    assert first == again
    assert (first.sample, first.id, first.path, first.label) == (7, "Id/7", "7.png", known.labels[7])
    assert first.guesses == (CLASSES[3],) * 3
    scores = known.scores["mimic"][[7, 1100]]
    assert [np.nan if c.score is None else c.score for c in (first, second)] == pytest.approx(scores, nan_ok=True)
    assert candidates(known.published, "mimic", []) == []


def test_what_is_known_is_not_asked_again(known, monkeypatch):
    memory = Known(known.published, "mimic")
    assert memory.get([5, 3], range(3, 200)) == candidates(known.published, "mimic", [5, 3])
    assert len(memory.kept) == 96
    memory.get(range(500, 500 + LARGEST_PAGE))
    monkeypatch.setattr("mimic.workspace.queries.review.candidates", None)
    assert [one.sample for one in memory.get([80, 4])] == [80, 4]


def test_what_was_known_first_is_forgotten_first(known):
    memory = Known(known.published, "mimic")
    for start in range(0, 1100, 90):
        assert [one.sample for one in memory.get(range(start, start + 90))] == [*range(start, start + 90)]
    assert [*memory.kept] == [*range(1170 - 10 * LARGEST_PAGE, 1170)]


def test_two_people_work_through_a_queue(known, decisions):
    scores = known.scores["fine"]
    wanted = [int(i) for i in np.lexsort((np.arange(scores.size), scores)) if scores[i] < -1]
    where = Where(ranges=(("fine", -np.inf, -1.0),))
    queues = {who: Queue(known.published, "fine", "lowest", where) for who in ("ann", "bob")}
    order, seen = [], {"ann": [], "bob": []}
    while True:
        taken = {who: queue.take(decisions, who, 7) for who, queue in queues.items()}
        if not any(taken.values()):
            break
        assert not set(taken["ann"]) & set(taken["bob"])
        for who, samples in taken.items():
            for sample in samples[:5]:  # the last two stay in hand and come again
                decisions.record(who, "drop", Subject(sample, f"Id/{sample}", None))
                seen[who].append(sample)
                order.append(sample)
    assert sorted(order) == sorted(wanted)
    assert seen["ann"] == sorted(seen["ann"], key=wanted.index)
    assert min(len(seen["ann"]), len(seen["bob"])) > len(wanted) / 4


def test_no_page_is_asked_for_twice_on_the_way(known, decisions, monkeypatch):
    asked = []

    def page(*args, **kwargs):
        asked.append(str(kwargs["after"]))
        return gallery_page(*args, **kwargs)

    def see(published, signal, samples):
        looked_up.append(len(samples))
        return candidates(published, signal, samples)

    monkeypatch.setattr("mimic.workspace.queries.review.gallery_page", page)
    monkeypatch.setattr("mimic.workspace.queries.review.candidates", see)
    queue, order, looked_up = Queue(known.published, "fine", "lowest", Where()), [], []
    for _ in range(2 * LARGEST_PAGE + 10):
        samples = queue.take(decisions, "ann", 4)  # the last ones of a page are in hand with those of the next
        assert [one.sample for one in queue.known.get(samples, queue.page)] == samples
        sample = samples[0]
        decisions.record("ann", "keep", Subject(sample, f"Id/{sample}", None))
        order.append(sample)
    queue._ahead[1].result()
    assert len(asked) == len(set(asked)) == 4  # three that were come to, and the one ahead
    assert looked_up == 4 * [LARGEST_PAGE]
    scores = known.scores["fine"]
    assert order == np.lexsort((np.arange(scores.size), scores))[: len(order)].tolist()


def test_what_is_decided_already_is_not_looked_up(known, decisions, monkeypatch):
    scores = known.scores["fine"]
    order = np.lexsort((np.arange(scores.size), scores))
    for sample in order[: 3 * LARGEST_PAGE].tolist():
        decisions.record("bob", "keep", Subject(sample, f"Id/{sample}", None))
    looked_up = []

    def see(published, signal, samples):
        looked_up.extend(samples)
        return candidates(published, signal, samples)

    monkeypatch.setattr("mimic.workspace.queries.review.candidates", see)
    queue = Queue(known.published, "fine", "lowest", Where())
    taken = queue.take(decisions, "ann", 8)
    queue.known.get(taken, queue.page)
    queue._ahead[1].result()
    assert sorted(looked_up) == sorted(order[3 * LARGEST_PAGE : 5 * LARGEST_PAGE].tolist())


def test_what_is_undone_comes_back(known, decisions):
    queue = Queue(known.published, "fine", "lowest", Where())
    first = queue.take(decisions, "ann", 150)  # more than a page
    assert len(first) == 150
    for sample in first:
        decisions.record("ann", "keep", Subject(sample, f"Id/{sample}", None))
    assert queue.take(decisions, "ann", 1) != []
    assert queue.start is not None
    decisions.undo("ann")
    rest = known.scores["fine"].size
    while taken := queue.take(decisions, "bob", 96):
        for sample in taken:
            decisions.record("bob", "keep", Subject(sample, f"Id/{sample}", None))
        if first[-1] in taken:
            break
        rest -= len(taken)
        assert rest > 0
    assert first[-1] in taken


def test_a_listed_queue_goes_by_its_list_across_pages(known, decisions):
    listed = np.random.default_rng(0).permutation(1000)[:230].astype(np.int32)
    queue = Queue(known.published, "mimic", "highest", Where(), listed=listed)
    order = []
    while taken := queue.take(decisions, "ann", 20):
        order += taken
        for sample in taken:
            decisions.record("ann", "keep", Subject(sample, f"Id/{sample}", None))
    assert order == listed.tolist()
    assert Queue(known.published, "mimic", "highest", Where(), listed=listed[:0]).take(decisions, "bob", 5) == []
