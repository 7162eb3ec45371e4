"""Numbers as people read them, and text that stays text."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimic.reports import text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.000"), (0.0123456, "0.01235"), (-0.0123456, "−0.01235"), (12.3456, "12.35"), (-1234.5, "−1,234"),
        (1e-7, "1.000e−07"), (2.5e9, "2.500e+09"), (math.nan, "–"), (None, "–"), (math.inf, "∞"), (-math.inf, "−∞"),
    ],
)  # fmt: skip
def test_scores(value, shown):
    assert text.score(value) == shown


def test_an_estimate_has_its_interval_and_a_dash_for_what_is_not_known():
    assert text.estimated(0.9521, 0.943, 0.96) == "0.952 (0.943–0.960)"
    assert text.estimated(0.9521, math.nan, math.nan) == "0.952 (–)"
    assert text.estimated(math.nan, math.nan, math.nan) == "–"


@given(st.floats(-1e5, 1e5))
def test_a_score_is_shown_to_four_digits(value):
    shown = float(text.score(value).replace("−", "-").replace(",", ""))
    assert shown == pytest.approx(value, rel=6e-4, abs=1e-9)


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0, "0.0%"), (1, "100.0%"), (0.734, "73.4%"), (1e-9, "0.1%"), (1 - 1e-9, "99.9%"), (math.nan, "–")],
)
def test_shares_are_nought_or_all_only_where_they_are(share, shown):
    assert text.percent(share) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 00 s"),
        (245, "4 min 05 s"),
        (12_000, "3 h 20 min"),
        (90_000, "1 d 01 h"),
        (None, "–"),
    ],
)
def test_durations(seconds, shown):
    assert text.duration(seconds) == shown


def test_fewer_digits_where_there_is_less_room():
    assert [text.score(value, 3) for value in (-0.123456, 12.3456, 0, 1e-7)] == ["−0.123", "12.3", "0.00", "1.00e−07"]


def test_counts_and_ranges():
    assert text.count(1234567) == "1,234,567"
    assert text.interval(-math.inf, math.inf) == "all scores"
    assert text.interval(-math.inf, 0.5) == "below 0.5000"
    assert text.interval(0.25, math.inf) == "from 0.2500"
    assert text.interval(-0.25, 0.5) == "−0.2500 … 0.5000"


@given(st.text(max_size=300))
def test_plain_text_is_one_bounded_line_without_marks(somebodys):
    line = text.plain(somebodys, 50)
    assert len(line) <= 50
    assert line.isprintable()


@given(st.text(max_size=60))
def test_markdown_keeps_every_letter_behind_an_escape(somebodys):
    escaped = text.markdown(somebodys)
    assert escaped.replace("\u2060", "").replace("\\\\", "\0").replace("\\", "").replace("\0", "\\") == text.plain(
        somebodys
    )


@pytest.mark.parametrize(
    "attack", ["![x](http://evil/a.png)", "<img src=x>", "[a](javascript:b)", ":smile:", "$x$", "**b**"]
)
def test_markdown_of_an_attack_has_no_bare_punctuation(attack):
    escaped = text.markdown(attack)
    bare = [c for before, c in zip(" " + escaped, escaped, strict=False) if c in "![]()<>:$*" and before != "\\"]
    assert bare == []
