"""Paging against NumPy: forward visits every matching sample once in order, back gives the same pages."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimic.errors import MimicError
from mimic.workspace.queries.bins import count_between, far_end
from mimic.workspace.queries.gallery import ORDERS, Cursor, Where, count_matching, gallery_page
from mimic.workspace.queries.histogram import histogram

FILTERS = {
    "everything": Where(),
    "a range": Where(ranges=(("mimic", -0.5, 0.9),)),
    "a range of another signal": Where(ranges=(("fine", 0.0, float("inf")),)),
    "labels": Where(labels=("cat", "ü")),
    "an unknown label": Where(labels=("zebra",)),
    "text, any case": Where(text="rEd"),
    "wildcards are letters": Where(text="100%_7"),
    "wrong": Where(wrong=True),
    "right, and more": Where(ranges=(("mimic", -1.0, 1.0),), labels=("dog's",), text="blue", wrong=False),
}


def matching(known, where):
    use = np.ones(known.labels.size, dtype=bool)
    for signal, low, high in where.ranges:
        scores = known.scores[signal].astype(np.float64)
        use &= (scores >= low) & (scores < high)
    if where.labels:
        use &= np.isin(known.labels.astype(str), where.labels)
    if where.text:
        wanted = where.text.lower()
        use &= np.array([wanted in t.lower() or wanted in f"id/{i}" for i, t in enumerate(known.texts)])
    if where.wrong is not None:
        use &= known.judged & (known.wrong == where.wrong)
    return use


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("order", ORDERS)
def test_pages_walk_the_whole_order_and_back(known, name, order):
    where, scores = FILTERS[name], known.scores["mimic"].astype(np.float64)
    numbers = np.flatnonzero(matching(known, where) & (np.isnan(scores) == (order == "unscored")))
    keys = {"lowest": scores, "highest": -scores, "nearest": np.abs(scores - 0.3)}.get(order)
    keys = np.zeros_like(scores) if order == "unscored" else keys
    options = {"size": 96, "near": 0.3, "seed": 5}
    pages = [gallery_page(known.published, "mimic", order, where, **options)]
    while pages[-1].after:
        pages.append(gallery_page(known.published, "mimic", order, where, after=pages[-1].after, **options))
    visited = np.concatenate([page.rows["sample"].to_numpy() for page in pages]).astype(int)
    if keys is None:
        assert sorted(visited) == numbers.tolist()
    else:
        assert visited.tolist() == numbers[np.lexsort((numbers, keys[numbers]))].tolist()
    assert pages[0].before is None
    for earlier, later in pairwise(pages):
        back = gallery_page(known.published, "mimic", order, where, before=later.before, **options)
        assert back.rows["sample"].tolist() == earlier.rows["sample"].tolist()
        assert (back.before is None) == (earlier.before is None)
        assert back.after == earlier.after


@pytest.mark.parametrize("name", FILTERS)
def test_counts_are_exact(known, name):
    found = matching(known, FILTERS[name]) & ~np.isnan(known.scores["fine"])
    assert count_matching(known.published, "fine", FILTERS[name]) == found.sum()
    left = matching(known, FILTERS[name]) & np.isnan(known.scores["fine"])
    assert count_matching(known.published, "fine", FILTERS[name], scored=False) == left.sum()


def test_rows_carry_what_a_tile_shows(known):
    page = gallery_page(known.published, "fine", "lowest", size=5)
    for row in page.rows.itertuples():
        assert row.id == f"Id/{row.sample}"
        assert row.path == f"{row.sample}.png"
        assert row.score == known.scores["fine"][row.sample]
        assert row.label == known.labels[row.sample]
        assert row.truth == known.truths[row.sample]


def test_another_seed_is_another_shuffle(known):
    first, again, other = (
        gallery_page(known.published, "fine", "random", size=50, seed=seed).rows["sample"].tolist()
        for seed in (1, 1, 2)
    )
    assert first == again
    assert len({*first} & {*other}) < 15
    assert np.mean(first) == pytest.approx(600, abs=200)  # a shuffle, not a run of numbers


def test_a_cursor_survives_a_link():
    cursor = Cursor(float(np.float32(-0.1)), 17)
    assert Cursor.parse(str(cursor)) == cursor
    with pytest.raises(MimicError, match="not a place in the gallery"):
        Cursor.parse("1;DROP TABLE")


def test_a_page_is_bounded(known):
    with pytest.raises(MimicError, match="1 to 96 samples, not 97"):
        gallery_page(known.published, "mimic", "lowest", size=97)


def test_what_a_brush_lets_through_is_counted_by_whole_bins(known):
    bars = histogram(known.published, "fine", bars=12)
    for first, last in [(0, 11), (2, 5), (7, 7), (9, 11)]:
        low, high = float(bars["low"].iloc[first]), float(bars["high"].iloc[last])
        scores = known.scores["fine"]
        expected = int(((scores >= low) & (scores < high)).sum())
        assert count_between(known.published, "fine", low, high) == expected
        assert count_matching(known.published, "fine", Where(ranges=(("fine", low, high),))) == expected
    assert count_between(known.published, "fine", float(np.nanmedian(scores)) + 1e-4, np.inf) is None


@pytest.mark.parametrize("down", [False, True])
@settings(max_examples=60, deadline=None)
@given(near=st.floats(-4, 4), count=st.integers(1, 700), signal=st.sampled_from(["mimic", "fine", "flat"]))
def test_the_far_end_leaves_enough_between(known, down, near, count, signal):
    scores, end = known.scores[signal].astype(np.float64), far_end(known.published, signal, near, count, down=down)
    all_of_them = (scores < near) if down else (scores >= near)
    between = all_of_them & ((scores >= end) if down else (scores < end))
    assert between.sum() >= min(count, all_of_them.sum())
