"""`mimic export` and `mimic audit` as people meet them, on a small published run."""

import csv
import json
import shlex
import sys

import numpy as np
import pytest

import mimic
from mimic import cli
from mimic.evaluation.assess import assess
from mimic.workspace.decisions import Decisions, Subject
from mimic.workspace.filters import save_filter
from tests.workspace.queries.conftest import forget, known  # noqa: F401

RULE = {"kind": "threshold", "run": "first", "signal": "mimic", "threshold": 0.1, "drop_unscored": False}


@pytest.fixture
def command(known, monkeypatch, capsys):  # noqa: F811
    monkeypatch.delenv("MIMIC_DECISIONS_URL", raising=False)
    save_filter(known.workspace, "strict", "d", RULE, {"kept": 1, "dropped": 1, "not_scored": 1})

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mimic", *map(str, arguments), "--workspace", str(known.workspace.path)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_export_says_what_it_wrote(known, command, tmp_path):  # noqa: F811
    out = tmp_path / "kept.parquet"
    code, said, _ = command("export", "strict", "--format", "parquet", "--out", out, "--dry-run")
    assert code == 0
    assert "nothing was written" in said
    assert not out.exists()
    code, said, _ = command("export", "strict", "--format", "parquet", "--out", out)
    assert code == 0
    assert said.splitlines()[0] in command("export", "strict", "--format", "csv", "--out", out, "--dry-run")[1]
    facts = json.loads((tmp_path / "kept.parquet.json").read_text())
    assert facts["sha256"] in said
    loaded = mimic.load_filter(out)
    assert loaded.kept.sum() == facts["counts"]["kept"] + facts["counts"]["not_scored"]
    code, _, said = command("export", "strict", "--format", "parquet", "--out", out)
    assert (code, said.count("\n")) == (2, 1)
    assert "there already" in said
    assert command("export", "strict", "--format", "parquet", "--out", out, "--overwrite")[0] == 0


def test_export_says_that_dropped_and_unscored_samples_are_in_it(known, command, tmp_path):  # noqa: F811
    unscored = int(np.isnan(known.scores["mimic"]).sum())
    for rule, kept, said in (("filter(strict)", True, "exported as kept; a rule that ends with ! drops them"),
                             ("filter(strict)!", False, "dropped, as the rule ends with !")):  # fmt: skip
        assert command("filter", "first", "--rule", rule, "--name", "asked", "--replace")[0] == 0
        out = tmp_path / f"{kept}.csv"
        code, told, _ = command("export", "asked", "--format", "csv", "--out", out)
        assert code == 0
        assert "holds       every sample, dropped ones too: go by the column kept" in told
        assert f"not scored  {said}" in told
        with out.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(known.labels)
        marked = [row["kept"] for row in rows if row["scored"] == "false"]
        assert marked == [str(kept).lower()] * unscored
        beside = json.loads((tmp_path / f"{kept}.csv.json").read_text())
        assert (beside["rule"]["drop_unscored"], beside["holds"] in told) == (not kept, True)
    told = command("export", "strict", "--format", "datacomp", "--out", tmp_path / "x", "--dry-run")[1]
    assert "holds       only what is kept\n" in told
    assert command("export", "strict", "--format", "lost", "--out", tmp_path / "x", "--dry-run")[0] == 2


def test_export_heeds_decisions_unless_told_not_to(known, command, tmp_path):  # noqa: F811
    kept = int((known.scores["mimic"] >= 0.2).argmax())
    decisions = Decisions(known.workspace, known.workspace.dataset("d"))
    decisions.record("ann", "drop", Subject(kept, f"Id/{kept}", None))
    command("export", "strict", "--format", "jsonl", "--out", tmp_path / "a.jsonl")
    command("export", "strict", "--format", "jsonl", "--out", tmp_path / "b.jsonl", "--no-decisions")
    assert not mimic.load_filter(tmp_path / "a.jsonl").kept[kept]
    assert mimic.load_filter(tmp_path / "b.jsonl").kept[kept]
    assert decisions.undo("ann") == kept


def test_audit_from_draw_to_intervals(known, command, tmp_path):  # noqa: F811
    path = tmp_path / "judge.csv"
    code, said, _ = command("audit", "strict", "--draw", 300, "--out", path)
    assert code == 0
    assert "drawn       150 samples that strict drops and 150 that it keeps" in said
    assert command("audit", "strict", "--draw", 300, "--out", path)[0] == 2  # it may hold verdicts by now
    code, said, _ = command("audit", "strict", "--draw", 300)
    assert (code, "150 that it keeps; 300 of them were drawn before" in said) == (0, True)
    code, _, said = command("audit", "strict", "--draw", 20, "--out", tmp_path / "few.csv")
    assert (code, said.count("\n"), (tmp_path / "few.csv").exists()) == (2, 1, False)
    assert "audit 'strict' of 20" in said
    assert "has 300 drawn samples, more than 20" in said
    words = shlex.split(said.split("`")[1].replace("NAME", "another"))
    assert command(*words[1 : words.index("--workspace")])[0] == 0  # the way out that it names
    assert "10 that it keeps\n" in command("audit", "another", "--draw", 20)[1]
    (known.workspace.filters_folder / "another.json").unlink()
    code, _, said = command("audit", "strict", "--verdicts", path)
    assert (code, "no verdict is filled in" in said, said.count("\n")) == (2, True, 1)
    code, _, said = command("audit", "strict")
    assert (code, "nobody has judged a sample of audit strict yet" in said, said.count("\n")) == (2, True, 1)
    lines = path.read_text().splitlines()
    filled = [lines[0]] + [
        line + ("bad" if known.wrong[int(line.split(",")[1][:-4])] else "good") for line in lines[1:]
    ]
    path.write_text("\n".join(filled) + "\n")
    code, said, _ = command("audit", "strict", "--verdicts", path, "--at", "0.5")
    assert code == 0
    assert said.count("300 verdicts, 95% intervals") == 2
    assert said.count("precision ") == said.count("recall ") == 2
    assert "more verdicts" in said
    assert "recorded    300 verdicts\n" in said
    assert "recorded    0 verdicts; 300 were there already" in command("audit", "strict", "--verdicts", path)[1]
    assert "300 verdicts, 95% intervals" in command("audit", "strict")[1]
    code, said, _ = command("evaluate", "detect", "first:mimic", "first:fine", "--truth", "audit:strict")
    assert (code, "audit strict, weighted: " in said) == (0, True)
    assert assess(known.workspace, known.workspace.dataset("d")).quality.method == "audit"
    forget(known)
    code, _, said = command("audit", "unheard-of")
    assert (code, said.count("\n")) == (2, 1)


def test_a_wrong_format_or_name_is_one_sentence(command, tmp_path):
    code, _, said = command("export", "strict", "--format", "xlsx", "--out", tmp_path / "x")
    assert (code, said.count("\n")) == (2, 1)
    code, _, said = command("export", "lost", "--format", "csv", "--out", tmp_path / "x")
    assert (code, said.count("\n")) == (2, 1)
    assert "no filter 'lost'" in said
