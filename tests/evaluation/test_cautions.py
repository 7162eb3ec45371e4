"""What is said beside the rule that is tried by itself."""

from pathlib import Path

import pytest

from mimic.evaluation.cautions import cautions
from mimic.evaluation.ruling import Outcome
from mimic.filters.mean_rules import Draw, VisitsRule
from mimic.filters.signal_rules import SplitRule
from mimic.workspace.layout import Run

SPLIT = SplitRule(run="r", signal="mimic")
VISITS = VisitsRule(run="r", measure="score", draw=Draw(by="line", at=0.0), mean="score")


def run(verdict: str | None) -> Run:
    return Run(Path("r"), {"check": verdict and {"verdict": verdict, "sentence": "The reason why."}})


@pytest.mark.parametrize("verdict", ["Weak", "Do not use"])
def test_a_reference_that_is_not_good_is_said(verdict: str) -> None:
    (said,) = cautions(SPLIT, Outcome(80, 20, 0), run(verdict))
    assert said == f"The reference check of r says {verdict}: The reason why."


@pytest.mark.parametrize("verdict", ["Good", None])
def test_nothing_is_said_without_need(verdict: str | None) -> None:
    assert cautions(SPLIT, Outcome(50, 50, 9), run(verdict)) == []  # half is not more than half


def test_nothing_or_most_dropped_is_said() -> None:
    (said,) = cautions(SPLIT, Outcome(100, 0, 3), run("Good"), "caption")
    assert "nothing to remove, whether or not captions are wrong" in said
    (said,) = cautions(VISITS, Outcome(100, 0, 3), run(None))
    assert "no score lies below the line" in said
    (said,) = cautions(SPLIT, Outcome(49, 51, 300), run("Good"))
    assert said.startswith("51% of what is scored is dropped")
