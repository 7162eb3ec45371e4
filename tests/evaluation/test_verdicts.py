"""An audit from draw to judgement, on a published run whose every label's truth is at hand."""

import csv
import math

import numpy as np
import pytest

from mimic.errors import MimicError
from mimic.evaluation.audit import quotas
from mimic.evaluation.verdicts import judge_lines, read_verdicts, record, recorded, to_judge
from mimic.workspace.audits import begin_audit
from mimic.workspace.decisions import Decisions, Subject
from mimic.workspace.queries.threshold import line_at
from mimic.workspace.spreadsheets import write_texts
from tests.workspace.queries.conftest import forget, known  # noqa: F401

LINE = 0.1


@pytest.fixture
def audit(known, request):  # noqa: F811
    line = line_at(known.published, "fine", LINE)
    numbers = quotas(line.dropped, line.kept, 120)
    return begin_audit(known.workspace, request.node.name[:60].split("[")[0], known.published, "fine", LINE, numbers)


def truth(known, audit):  # noqa: F811
    return {sample: "bad" if known.wrong[sample] else "good" for sample in audit.samples}


def test_judging_everything_gives_the_truth(known):  # noqa: F811
    every = begin_audit(known.workspace, "everything", known.published, "fine", LINE, (10_000, 10_000))
    scores = known.scores["fine"].astype(np.float64)
    scored = ~np.isnan(scores)
    assert len(every.samples) == scored.sum()
    for line, found in zip(
        lines := [LINE, -0.7, 0.9, -math.inf, 99.0],
        judge_lines(known.published, every, truth(known, every), lines),
        strict=True,
    ):
        dropped = scores < line
        if dropped.any():
            precision = known.wrong[dropped].mean()
            assert found.precision.low == pytest.approx(precision)
            assert found.precision.high == pytest.approx(precision)
        recall = known.wrong[dropped].sum() / known.wrong[scored].sum()
        assert (found.recall.low, found.recall.high) == pytest.approx((recall, recall))


def test_a_draw_brackets_the_truth(known, audit):  # noqa: F811
    scores = known.scores["fine"].astype(np.float64)
    lines = [LINE, -0.5, 0.6]
    for line, found in zip(lines, judge_lines(known.published, audit, truth(known, audit), lines), strict=True):
        dropped = scores < line
        assert found.verdicts == 120
        assert found.precision.low <= known.wrong[dropped].mean() <= found.precision.high
        recall = known.wrong[dropped].sum() / known.wrong[~np.isnan(scores)].sum()
        assert found.recall.low <= recall <= found.recall.high


def test_a_csv_goes_out_and_comes_back(known, audit, tmp_path):  # noqa: F811
    path = tmp_path / "judge.csv"
    write_texts(path, to_judge(known.published, audit))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "path", "label", "verdict"]
    assert [row["id"] for row in rows] == [f"Id/{sample}" for sample in audit.samples]
    words = ["good", "Bad ", "unsure", ""]
    for place, row in enumerate(rows):
        row["verdict"] = words[place % 4]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    verdicts = read_verdicts(path, known.published, audit)
    expected = {s: words[i % 4].strip().lower() for i, s in enumerate(audit.samples) if i % 4 != 3}
    assert verdicts == expected
    (found,) = judge_lines(known.published, audit, verdicts, [LINE])
    assert found.verdicts == sum(word != "unsure" for word in expected.values())
    path.write_text(path.read_text().replace("unsure", "perhaps"))
    with pytest.raises(MimicError, match="says 'perhaps': a verdict is good, bad, unsure"):
        read_verdicts(path, known.published, audit)
    path.write_text("id,verdict\nId/1,good\nnot drawn,bad\n")
    with pytest.raises(MimicError, match="did not draw"):
        read_verdicts(path, known.published, audit)
    path.write_text(f"id,verdict\nId/{audit.samples[0]},\n")
    with pytest.raises(MimicError, match="no verdict is filled in"):
        read_verdicts(path, known.published, audit)
    path.write_text("name,verdict\n")
    with pytest.raises(MimicError, match="needs the columns id and verdict"):
        read_verdicts(path, known.published, audit)


def test_verdicts_are_decisions_of_this_audit(known, audit, monkeypatch):  # noqa: F811
    monkeypatch.delenv("MIMIC_DECISIONS_URL", raising=False)
    decisions = Decisions(known.workspace, known.workspace.dataset("d"))
    first, second, third, fourth, fifth = audit.samples[:5]
    for sample, action, source, label in (
        (first, "keep", audit.source, None),
        (second, "drop", audit.source, None),
        (third, "relabel", audit.source, "cat"),
        (fourth, "skip", audit.source, None),
        (fifth, "drop", "review", None),
        (first, "drop", "review", None),
    ):
        decisions.record("ann", action, Subject(sample, str(sample), None, source=source), label=label)
    expected = {first: "good", second: "bad", third: "bad", fourth: "unsure"}
    assert recorded(decisions, audit) == expected
    decisions.record("bob", "keep", Subject(fourth, str(fourth), None, source=audit.source))
    assert recorded(decisions, audit) == expected | {fourth: "good"}
    forget(known)


def test_recorded_verdicts_are_those_given_and_the_same_again_adds_nothing(known, audit, monkeypatch):  # noqa: F811
    monkeypatch.delenv("MIMIC_DECISIONS_URL", raising=False)
    decisions = Decisions(known.workspace, known.workspace.dataset("d"))
    first, second, third, fourth = audit.samples[:4]
    given = {first: "good", second: "bad", third: "unsure"}
    assert record(decisions, known.published, audit, given, "ann") == 3
    assert record(decisions, known.published, audit, given, "ann") == 0
    assert recorded(decisions, audit) == given
    changed = {first: "unsure", second: "good", third: "bad"}
    assert record(decisions, known.published, audit, changed, "bob") == 3
    assert recorded(decisions, audit) == changed
    assert record(decisions, known.published, audit, {fourth: "good"}, "bob") == 1
    assert recorded(decisions, audit) == changed | {fourth: "good"}
    row = decisions.history(fourth).iloc[0]
    assert (row["who"], row["id"], row["run"], row["source"]) == (
        "bob", f"Id/{fourth}", known.published.run, audit.source,
    )  # fmt: skip
    forget(known)
