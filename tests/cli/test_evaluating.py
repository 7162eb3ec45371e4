"""mimic evaluate and mimic report, as people meet them."""

# ruff: noqa: F811 (fixtures are imported by name)

from __future__ import annotations

import pandas as pd
import pytest
import torch

from mimic.runs import manager
from mimic.workspace.decisions import Decisions, Subject
from mimic.workspace.layout import Run, Workspace
from tests.runs.conftest import Digits, digits, workspace  # noqa: F401
from tests.test_cli import Command, mimic  # noqa: F401


@pytest.fixture
def run(digits: Digits, workspace: Workspace) -> Run:
    torch.set_num_threads(1)
    return manager.score(workspace, digits.config())


def test_quality_detect_and_report(mimic: Command, run: Run, workspace: Workspace) -> None:
    path = workspace.path / "parts.csv"
    code, out, _ = mimic("evaluate", "quality", "digits", "--by", "class", "--csv", path)
    assert code == 0
    assert "true share" in out
    assert set(pd.read_csv(path).columns) == {"part", "samples", "share", "low", "high", "true"}
    code, out, _ = mimic("evaluate", "detect", run.id, "--by", "class", "--csv", path)
    assert (code, "judged by   the data set's own column: 600 samples" in out) == (0, True)
    assert " against " in out
    assert {"part", "signal", "auroc", "auroc_low", "auroc_high"} <= set(pd.read_csv(path).columns)
    code, out, _ = mimic("report", run.id, "--out", workspace.path / "r.html")
    assert (code, "written" in out, (workspace.path / "r.html").exists()) == (0, True, True)


def test_a_data_set_s_name_is_its_newest_run_in_every_command(mimic: Command, run: Run, workspace: Workspace) -> None:
    told = f"run {run.id}: the newest that scores data set digits\n"
    for name, *arguments in (
        ("digits", "evaluate", "detect", "{}"),
        ("digits:mimic", "evaluate", "detect", "{}", "{}:margin".replace("{}", "digits")),
        ("digits", "compare", "{}", "margin"),
        ("digits:margin", "compare", "digits:mimic", "{}"),
        ("digits", "evaluate", "quality", "digits", "--run", "{}"),
        ("digits", "report", "{}", "--out", str(workspace.path / "r.html")),
        ("digits", "show", "{}"),
        ("digits", "filter", "{}", "--dry-run"),
    ):
        by_name, by_run = (
            mimic(*(each.format(word) for each in arguments)) for word in (name, name.replace("digits", run.id))
        )
        assert by_name[0] == 0, by_name[2]
        assert by_name[1].splitlines() == by_run[1].splitlines(), arguments
        assert by_name[2].count(told) == 1, arguments
    code, _, err = mimic("evaluate", "detect", "digit")
    assert (code, f"no run 'digit' in the workspace {workspace.path}: it has {run.id}" in err) == (2, True)
    code, _, err = mimic("evaluate", "retrain", "digits", "--run", "digits", "--filters", "digits:mimic")
    assert (code, told in err, "no split that scoring has left untouched" in err) == (2, True, True)


def test_reviews_judge_too_and_mistakes_are_sentences(mimic: Command, run: Run, workspace: Workspace) -> None:
    code, _, err = mimic("evaluate", "detect", run.id, "--truth", "reviews")
    assert (code, "two of each" in err) == (2, True)
    decisions = Decisions(workspace, workspace.dataset("digits"))
    for sample in range(8):
        decisions.record("me", "drop" if sample % 2 else "keep", Subject(sample, str(sample), None))
    code, out, _ = mimic("evaluate", "detect", f"{run.id}:mimic", "--truth", "reviews")
    assert (code, "8 samples, 4 of them wrong" in out) == (0, True)
    for arguments, words in (
        (("detect", run.id, "--truth", "nobody"), "column, reviews, or audit:NAME"),
        (("detect", run.id, "--against", "nothing"), "choose one of"),
        (("quality", "digits", "--by", "nothing"), "has no column 'nothing'"),
        (("retrain", "digits", "--budgets", "some"), "give shares to keep"),
        (("retrain", "digits"), "no split that scoring has left untouched"),
    ):
        code, _, err = mimic("evaluate", *arguments)
        assert (code, words in err, err.count("\n")) == (2, True, 1), err
