"""Once: visitors who ask at the same time share one answer; as many as fit are kept."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimic.workspace.queries.once import Kept, once


def test_visitors_at_once_wait_for_one_another_and_what_is_made_is_made_once():
    kept, made, running = Kept(10), Counter(), []

    def make(name):
        made[name] += 1
        running.append(len(running))
        assert len(running) == 1  # nobody else is at it
        time.sleep(0.02)
        running.pop()
        return name

    def ask(name):
        # what is made may ask for what it is made of
        return kept.get((name, "whole"), lambda: kept.get((name, "part"), lambda: make(name)))

    names = ["a", "b", "a", "b", "a", "b", "a", "b"]
    with ThreadPoolExecutor(8) as visitors:
        assert list(visitors.map(ask, names)) == names
    assert made == {"a": 1, "b": 1}


def test_nothing_is_remembered_too():
    kept, calls = Kept(10), []
    for _ in range(2):
        assert kept.get("none", lambda: calls.append(1)) is None
    assert calls == [1]


@given(st.lists(st.integers(0, 6), max_size=40), st.integers(0, 20))
def test_no_more_is_kept_than_may_be_and_one_always_is(asked, most):
    kept, weights = Kept(most, lambda weight: weight), []
    for weight in asked:
        kept.get(weight, lambda weight=weight: weight)
        weights = [weight, *(other for other in weights if other != weight)]
        expected = [place for place in range(len(weights)) if place == 0 or sum(weights[: place + 1]) <= most]
        weights = weights[: len(expected)]
        assert [kept.has(weight) for weight in range(7)] == [weight in weights for weight in range(7)]
        for weight in reversed(weights):  # asking is using
            kept.get(weight, list)


def test_the_longest_unused_answers_are_forgotten_and_errors_are_not_kept():
    made = Counter()

    @once(2)
    def twice(number, *, plus=0):
        made[number, plus] += 1
        if number < 0:
            raise ValueError("below zero")
        return 2 * number + plus

    assert not twice.knows(1)
    assert [twice(1), twice(2), twice(1), twice(3), twice(1), twice(2), twice(1, plus=1)] == [2, 4, 2, 6, 2, 4, 3]
    assert [twice.knows(1), twice.knows(1, plus=1), twice.knows(2), twice.knows(3)] == [False, True, True, False]
    assert made == {(1, 0): 1, (2, 0): 2, (3, 0): 1, (1, 1): 1}
    for _ in range(2):
        with pytest.raises(ValueError, match="below zero"):
            twice(-1)
    assert not twice.knows(-1)
    assert made[-1, 0] == 2
