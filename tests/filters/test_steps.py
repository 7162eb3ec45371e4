import math

from hypothesis import given, settings

from mimic.filters.expression import expression, parse
from mimic.filters.steps import joined, steps_of, within
from tests.filters.tables import rules


@settings(max_examples=200, deadline=None)
@given(rules)
def test_a_rule_is_its_steps_joined(rule):
    assert joined(steps_of(rule)) == rule


def test_steps_read_from_left_to_right():
    rule = parse("(r:a >= 0 - r:b@mixture) & r:c@top30% & (r:d >= 1 | r:e >= 2)")
    found = [(link, expression(part, "r")) for link, part in steps_of(rule)]
    assert found == [
        ("and", "a >= 0.0"),
        ("minus", "b@mixture"),
        ("and", "c@top30%"),
        ("and", "d >= 1.0 | e >= 2.0"),
    ]
    assert expression(joined(steps_of(rule)[:3]), "r") == "a >= 0.0 - b@mixture & c@top30%"


def test_ranges_are_kept_from_their_low_end_to_below_their_high_one():
    ranges = [("a", -1.0, 2.0), ("b", -math.inf, 3.0), ("c", 0.5, math.inf)]
    found = expression(within("r", ranges, {"a": -9.0, "b": -9.0, "c": -9.0}), "r")
    assert found == "(a >= -1.0 - a >= 2.0 & b >= -9.0) - b >= 3.0 & c >= 0.5"
