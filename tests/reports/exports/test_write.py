"""An export appears whole or not at all, says what it is, is the same twice, and overwrites nothing unasked."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mimic.errors import MimicError
from mimic.filters.expression import parse
from mimic.filters.signal_rules import ThresholdRule
from mimic.reports.exports import FORMATS, Options, Selection, export_bytes, write_export
from mimic.reports.exports.load import load_filter


def contents(path):
    """Every file below a path with its bytes, links by where they lead."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {
        str(file.relative_to(path)): str(file.readlink()).encode() if file.is_symlink() else file.read_bytes()
        for file in path.rglob("*")
        if not file.is_dir()
    }


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_rule_twice_gives_the_same_bytes(pile, tmp_path, form):
    first = write_export(pile.decided, tmp_path / "a" / "out", form)
    second = write_export(pile.decided, tmp_path / "b" / "out", form)
    assert contents(first.path) == contents(second.path) != {}
    beside = [one.path.with_name("out.json").read_bytes() for one in (first, second)]
    assert beside[0] == beside[1]
    facts = json.loads(beside[0])
    assert facts["sha256"] == first.sha256 == second.sha256
    assert facts["rule"] == {"kind": "threshold", "run": "r", "signal": "mimic", "threshold": 0, "drop_unscored": False}
    assert facts["versions"].keys() == {"mimic", "torch"}
    assert facts["counts"] == first.counts
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["out", "out.json"]
    if FORMATS[form].suffix:
        assert hashlib.sha256(first.path.read_bytes()).hexdigest() == first.sha256


def test_another_rule_gives_another_hash(pile, tmp_path):
    hashes = {write_export(pile.rule, tmp_path / form, form).sha256 for form in FORMATS}
    hashes |= {write_export(pile.decided, tmp_path / f"{form} decided", form).sha256 for form in FORMATS}
    assert len(hashes) == 2 * len(FORMATS)


def test_the_counts_are_what_is_written(pile, tmp_path):
    export = write_export(pile.decided, tmp_path / "out", "jsonl")
    rows = [json.loads(line) for line in export.path.read_text(encoding="utf-8").splitlines()]
    abstain = [row for row in rows if row["score"] is None and row["decision"] is None]
    assert export.counts["not_scored"] == len(abstain) == 2
    assert export.counts["kept"] == sum(row["kept"] for row in rows) - 2
    assert export.counts["dropped"] == sum(not row["kept"] for row in rows)
    assert (export.counts["relabelled"], export.counts["overruled"]) == (1, 3)
    assert pile.decided.counts() == export.counts


@pytest.mark.parametrize("form", ["csv", "hf"])
def test_nothing_is_overwritten_unasked(pile, tmp_path, form):
    path = tmp_path / "out"
    first = write_export(pile.rule, path, form)
    with pytest.raises(MimicError, match="there already"):
        write_export(pile.decided, path, form)
    assert json.loads((tmp_path / "out.json").read_text())["sha256"] == first.sha256
    second = write_export(pile.decided, path, form, overwrite=True)
    assert second.sha256 != first.sha256
    assert json.loads((tmp_path / "out.json").read_text())["sha256"] == second.sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.json"]


def test_a_folder_of_somebody_else_is_never_replaced(pile, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "only.jpg").write_text("x")
    with pytest.raises(MimicError, match="no export made"):
        write_export(pile.rule, tmp_path / "photos", "hf", overwrite=True)
    assert (tmp_path / "photos" / "only.jpg").exists()


def test_a_folder_keeps_its_name_where_the_new_one_cannot_take_it(pile, tmp_path, monkeypatch):
    path = tmp_path / "out"
    write_export(pile.rule, path, "hf")
    before, rename, refused = contents(tmp_path), Path.rename, []

    def fails_once(self, target):
        if Path(target) == path and not refused:
            refused.append(self)
            raise OSError("it may not be renamed")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_once)
    with pytest.raises(OSError, match="may not be renamed"):
        write_export(pile.decided, path, "hf", overwrite=True)
    assert contents(tmp_path) == before  # with its description


KILLED = """
import os, signal, sys
from pathlib import Path
from mimic.filters.signal_rules import ThresholdRule
from mimic.reports.exports import Selection, write_export
from mimic.workspace.layout import Workspace
from mimic.workspace.queries.dense import Dense
place, path = Workspace(Path(sys.argv[1])), Path(sys.argv[2])
rename = Path.rename
def killed(self, target):
    if Path(target) == path:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
Path.rename = killed
rule = ThresholdRule(run="r", signal="mimic", threshold=0.5)
write_export(Selection(Dense(place, place.dataset("d")), rule), path, "hf", overwrite=True)
"""


def test_a_folder_is_not_lost_where_its_replacing_is_killed(pile, tmp_path):
    path = tmp_path / "out"
    write_export(pile.rule, path, "hf")
    before = contents(path)
    command = [sys.executable, "-c", KILLED, pile.rule.table.workspace.path, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == -9, done.stderr
    assert not path.exists()
    with pytest.raises(MimicError, match="there already"):  # whatever is asked for next puts it back
        write_export(pile.rule, path, "hf")
    assert contents(path) == before
    write_export(pile.decided, path, "hf", overwrite=True)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "out.json"]


def test_replacing_links_leaves_the_images(pile, tmp_path):
    before = sorted(pile.root.rglob("*"))
    write_export(pile.rule, tmp_path / "out", "fiftyone")
    write_export(pile.rule, tmp_path / "out", "fiftyone", overwrite=True)
    assert sorted(pile.root.rglob("*")) == before


@pytest.mark.parametrize("form", FORMATS)
def test_a_failing_export_leaves_nothing(pile, tmp_path, form, monkeypatch):
    def fails(*args, **kwargs):
        yield from ()
        raise OSError("the disk is full")

    monkeypatch.setattr(Selection, "tables", fails)
    with pytest.raises(OSError, match="the disk is full"):
        write_export(pile.rule, tmp_path / "out", form)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_is_said(pile, tmp_path):
    with pytest.raises(MimicError, match="no export format 'xlsx': choose one of parquet"):
        write_export(pile.rule, tmp_path / "out", "xlsx")
    with pytest.raises(MimicError, match="no run 'other'"):
        Selection(pile.rule.table, ThresholdRule(run="other", signal="mimic", threshold=0)).counts()
    with pytest.raises(MimicError, match="not as 'move'"):
        Options(images="move")
    with pytest.raises(MimicError, match="no column 'nope': it has caption, uid"):
        write_export(pile.rule, tmp_path / "out", "open_clip", Options(column="nope"))


def test_a_download_is_the_file(pile, tmp_path):
    path = write_export(pile.rule, tmp_path / "export", "csv").path
    assert export_bytes(pile.rule.table, pile.rule.rule, "csv") == path.read_bytes()


def test_exporting_needs_no_torch():
    code = "import mimic.reports.exports, mimic.reports.exports.registry, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_any_rule_leaves_with_its_expression(pile, tmp_path):
    rule = parse("r:mimic@top60% - r:mimic@bottom50%")
    selection = Selection(pile.rule.table, rule)
    written = write_export(selection, tmp_path / "out.csv", "csv")
    scores = pile.scores
    scored = np.sort(scores[~np.isnan(scores)])[::-1]
    line = scored[int(np.ceil(0.6 * scored.size - 1e-6)) - 1]
    assert line < scored[int(np.ceil(0.5 * scored.size - 1e-6)) - 1]
    kept = scores >= scored[int(np.ceil(0.5 * scored.size - 1e-6)) - 1]  # both lines hold, so the higher one does
    loaded = load_filter(written.path)
    assert loaded.kept.tolist() == (kept | np.isnan(scores)).tolist()
    np.testing.assert_array_equal(loaded.scores, scores)  # of its first signal
    facts = json.loads((tmp_path / "out.csv.json").read_text())
    assert facts["expression"] == "r:mimic@top60% - r:mimic@bottom50%"
    assert facts["rule"]["kind"] == "minus"
    assert facts["reason"] == "mimic not in the top 60% or mimic in the bottom 50%"
    assert facts["counts"]["not_scored"] == np.isnan(scores).sum()
    strict = write_export(
        Selection(pile.rule.table, parse("(r:mimic >= 0 & r:mimic@top90%)!")), tmp_path / "s.csv", "csv"
    )
    assert not load_filter(strict.path).kept[np.isnan(scores)].any()
