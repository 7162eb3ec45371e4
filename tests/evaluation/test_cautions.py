"""What is said beside the rule that is tried by itself."""

from pathlib import Path

import pytest

from mimic.data import Task
from mimic.evaluation.cautions import cautions, of_reference
from mimic.evaluation.ruling import Outcome
from mimic.filters.mean_rules import Draw, VisitsRule
from mimic.filters.signal_rules import SplitRule
from mimic.scores import FURTHER_PAIR_SIGNALS, FURTHER_SIGNALS, PAIR_SIGNALS, SIGNALS, rests_on_reference
from mimic.workspace.layout import Run

SPLIT = SplitRule(run="r", signal="mimic")
VISITS = VisitsRule(run="r", measure="score", draw=Draw(by="line", at=0.0), mean="score")


def run(verdict: str | None) -> Run:
    return Run(Path("r"), {"check": verdict and {"verdict": verdict, "sentence": "The reason why."}})


@pytest.mark.parametrize("verdict", ["Weak", "Do not use"])
def test_a_reference_that_is_not_good_is_said(verdict: str) -> None:
    assert of_reference(run(verdict)) == f"The reference check of r says {verdict}: The reason why."


@pytest.mark.parametrize("verdict", ["Good", None])
def test_nothing_is_said_without_need(verdict: str | None) -> None:
    assert of_reference(run(verdict)) is None
    assert cautions(SPLIT, Outcome(50, 50, 9)) == []  # half is not more than half


def test_nothing_or_most_dropped_is_said() -> None:
    (said,) = cautions(SPLIT, Outcome(100, 0, 3), "caption")
    assert "nothing to remove, whether or not captions are wrong" in said
    (said,) = cautions(VISITS, Outcome(100, 0, 3))
    assert "no score lies below the line" in said
    (said,) = cautions(SPLIT, Outcome(49, 51, 300))
    assert said.startswith("51% of what is scored is dropped")


# Their meanings do not name the reference, and yet they are of the Mimic Score.
UNNAMED = {"neg_draw_error"}


@pytest.mark.parametrize(
    ("task", "signals"), [("labels", SIGNALS | FURTHER_SIGNALS), ("captions", PAIR_SIGNALS | FURTHER_PAIR_SIGNALS)]
)
def test_a_signal_rests_on_the_reference_where_its_meaning_names_it(task: Task, signals: dict[str, str]) -> None:
    expected = {name for name, meaning in signals.items() if "reference" in meaning or name in UNNAMED}
    assert {name for name in signals if rests_on_reference(name, task)} == expected
