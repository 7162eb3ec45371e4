"""The expression and the rule mean the same; a mistake is said with its place."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimic.errors import MimicError
from mimic.filters.expression import Scope, expression, notes, parse
from mimic.filters.rule import Column
from mimic.filters.rules import AndRule, MinusRule, OrRule
from mimic.filters.signal_rules import ThresholdRule
from tests.filters.tables import rules


@settings(max_examples=150, deadline=None)
@given(rules)
def test_a_rule_is_its_expression_is_the_rule(rule):
    assert parse(expression(rule)) == rule


def test_the_run_at_hand_goes_without_its_name():
    rule = parse("r:clip@top30% - s:mimic@bottom15%")
    assert expression(rule, "r") == "clip@top30% - s:mimic@bottom15%"


@given(st.text(max_size=60) | st.text(alphabet='abr:@%&|-()!top0123456789.,*{}/ "', max_size=40))
def test_no_text_brings_it_down(text):
    try:
        rule = parse(text)
    except MimicError:
        return
    assert parse(expression(rule)) == rule


def of(signal: str) -> ThresholdRule:
    return ThresholdRule(run="r", signal=signal, threshold=0)


ALL_FOUR = OrRule(rules=[of("a"), AndRule(rules=[of("b"), MinusRule(of=of("c"), without=of("d"))])])


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("r:a>=0|r:b>=0&r:c>=0-r:d>=0", ALL_FOUR),
        ("r:a >= 0 or r:b >= 0 and r:c >= 0 minus r:d >= 0", ALL_FOUR),
        ("r:a>=0 - r:b>=0 - r:c>=0", MinusRule(of=MinusRule(of=of("a"), without=of("b")), without=of("c"))),
        ("r:a>=0 & r:b>=0 & r:c>=0", AndRule(rules=[of("a"), of("b"), of("c")])),
        ("( r:a >=\n0 )!", of("a").model_copy(update={"drop_unscored": True})),
    ],
)  # fmt: skip
def test_what_binds_tighter(text, rule):
    assert parse(text) == rule


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("r:clip@tpo30%", 8, "at 'tpo30%': expected top, bottom, mixture or two_means"),
        ("clip@top30%", 1, "'clip' is of no run: write RUN:clip"),
        ("r:clip@top30% r:b", 15, r"expected \|, &, - or the end"),
        ("r:clip@top30% -", 16, "at its end: expected a signal"),
        ("r:a@top3.5", 8, "a share such as 30%, or a whole number"),
        ("r:a@top130%", 8, "130% is no share: give 0% to 100%"),
        ("r:a@top-5%", 8, "-5% is no share"),
        ("r:a > 0.1", 5, "use >= ; a rule says what is kept"),
        ("r:a < 0.1", 5, "use >= ; "),
        ("NOT r:a >= 1", 1, "there is no NOT: .* minus .*!"),
        ("r:a >= 1 & not (r:b >= 1)", 12, "there is no NOT"),
        ("mean(r:a)@top3%", 9, "a comma, and 2 or more"),
        ("mean(r:a, r:b)@bottom3%", 24, "is cut by"),
        ("majority(r:a >= 1)", 18, "a comma, and 2 or more"),
        ("weighted(2 r:a >= 1)", 12, r"expected \*"),
        ("r:a@top3%/class{x 4}", 20, "in the unit of the general one"),
        ("visits(r, speed >= 1, majority)", 11, "expected score, weight, margin or neg_loss"),
        ("filter(x)", 8, "no filter 'x'"),
        ('r:"a\\x" >= 1', 3, "a JSON string"),
        ("(" * 40 + "r:a >= 0" + ")" * 40, 21, "deep at most"),
        ("r:a >= 1e999", 1, "finite"),
        (" - ".join(["r:a >= 1"] * 40), 220, "one after another"),
    ],
)
def test_a_mistake_is_said_with_its_place(text, place, said):
    with pytest.raises(MimicError, match=rf"at character {place}, .*{said}"):
        parse(text)


def test_names_with_a_minus_are_names():
    rule = parse("my-run:a-b >= 1-my-run:c >= 2")
    assert isinstance(rule, MinusRule)
    assert rule.columns == (Column(run="my-run", signal="a-b"), Column(run="my-run", signal="c"))
    with pytest.raises(MimicError, match=r"a minus after a name needs spaces around it \(a - b\)"):
        parse("a-b >= 2")


def test_a_number_that_may_have_been_meant_as_a_share_is_noted():
    (note,) = notes(parse("r:a@top80 - r:b@bottom15%"), "r")
    assert note == "a@top80 keeps 80 samples; 80% would be a@top80%"
    (note,) = notes(parse("majority(r:a@top5/class, r:b@mixture)"))
    assert note == "r:a@top5/class keeps 5 samples of each class; 5% would be r:a@top5%/class"
    assert not notes(parse("r:a@top80% | r:a@top5000"))


def test_rules_in_the_documentation_are_rules():
    here = Scope(lambda run, signal: Column(run=run or "r", signal=signal), lambda name: name, lambda name: of(name))
    root = Path(__file__).parents[2]
    said = [(root / name).read_text(encoding="utf-8") for name in ("README.md", "docs/curation.md")]
    rules = re.findall(r'--rule "([^"]+)"', "\n".join(said))
    rules += [cell for cell in re.findall(r"^\| `([^`]+)`", said[1], re.MULTILINE) if re.search(r"[@>]", cell)]
    assert len(rules) >= 8
    for rule in rules:
        parse(rule, here)
