"""Workspaces of every released version are read and gone on with; those of a newer one are refused in a sentence."""

import json
import re
import shutil
import sqlite3
import tarfile
from pathlib import Path

import pytest

from mimic import __version__
from mimic.errors import MimicError
from mimic.workspace.audits import list_audits
from mimic.workspace.decisions import Decisions, Subject
from mimic.workspace.filters import list_filters, load_filter
from mimic.workspace.layout import Workspace
from mimic.workspace.publish import damaged_parts, finished, publish, read_part
from mimic.workspace.queries.connection import Published, tables
from mimic.workspace.queries.summary import signal_summary

RELEASED = sorted((Path(__file__).parent / "released").glob("*.tar.xz"))


@pytest.fixture(params=RELEASED, ids=[path.name.removesuffix(".tar.xz") for path in RELEASED])
def workspace(request, tmp_path):
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    return Workspace(tmp_path)


def test_every_released_version_has_left_a_workspace_here():
    said = (Path(__file__).resolve().parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")
    released = set(re.findall(r"^## (\d+\.\d+\.\d+)", said, re.MULTILINE)) - {__version__}
    assert {"0.1.0"} <= released <= {path.name.removesuffix(".tar.xz") for path in RELEASED}


def test_everything_of_an_older_version_is_read(workspace):
    dataset = workspace.dataset("synthetic-300")
    run = finished(workspace, "synthetic-300")
    published = Published.of(run, dataset)
    assert signal_summary(published)["signal"].tolist() == run.signals
    assert [one.name for one in list_filters(workspace)] == ["strict"]
    assert list_audits(workspace)[0].published_at == published.published_at
    decisions = Decisions(workspace, dataset)
    assert decisions.counts() == {"keep": 0, "drop": 3, "relabel": 0}
    assert decisions.record("ann", "keep", Subject(9, "id", None)) == 6


def test_its_parts_are_good_for_publishing_again(workspace):
    run = workspace.run("synthetic-300")
    with tables(Published.of(run, workspace.dataset(run.dataset))) as t:
        before = t.rows(f"SELECT * FROM {t.scores}")
    assert damaged_parts(run) == {}
    assert read_part(run, run.shards[1]).num_rows == 100
    run = publish(run, workspace.dataset(run.dataset), {})
    with tables(Published.of(run, workspace.dataset(run.dataset))) as t:
        assert str(t.rows(f"SELECT * FROM {t.scores}")) == str(before)
    begun = workspace.run("interrupted")
    assert (begun.state, [shard.index for shard in begun.missing]) == ("interrupted", [1, 2])


@pytest.mark.parametrize(
    "file", ["datasets/synthetic-300/dataset.json", "runs/interrupted/run.json", "filters/strict.json"]
)
def test_a_newer_file_is_refused_with_both_versions_named(workspace, file):
    facts = json.loads((workspace.path / file).read_text())
    (workspace.path / file).write_text(json.dumps(facts | {"format": 2}))
    with pytest.raises(
        MimicError, match=r"newer version of mimic \(its format is 2; mimic \d[.\d]* reads formats up to 1\)"
    ):
        workspace.datasets(), workspace.runs(), load_filter(workspace, "strict")
    del facts["format"]  # as of format 1
    (workspace.path / file).write_text(json.dumps(facts))
    assert workspace.datasets()
    assert workspace.runs()
    assert load_filter(workspace, "strict")


def test_newer_decisions_are_refused_too(workspace):
    with sqlite3.connect(workspace.path / "decisions.db") as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS mimic_format (version INTEGER)")  # 0.1.0 had none
        connection.execute("DELETE FROM mimic_format")
        connection.execute("INSERT INTO mimic_format VALUES (2)")
    connection.close()
    with pytest.raises(MimicError, match=r"decisions were written by a newer version .*format is 2"):
        Decisions(workspace, workspace.dataset("synthetic-300"))


def test_decisions_of_this_version_say_their_format(workspace, tmp_path):
    (tmp_path / "new").mkdir()
    shutil.copytree(workspace.datasets_folder, tmp_path / "new/datasets")
    other = Workspace(tmp_path / "new")
    Decisions(other, other.dataset("synthetic-300"))
    with sqlite3.connect(tmp_path / "new/decisions.db") as connection:
        assert connection.execute("SELECT version FROM mimic_format").fetchall() == [(1,)]
    connection.close()
