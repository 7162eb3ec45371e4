"""A run is removed whole, never under somebody's hands, and what needs it is named."""

import fcntl

import pytest

from benchmarks import synthetic
from mimic.errors import MimicError
from mimic.workspace.filters import save_filter
from mimic.workspace.layout import Workspace
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.summary import signal_summary
from mimic.workspace.removal import needed_by, remove_run

NOTHING = {"kept": 0, "dropped": 0, "not_scored": 0}


@pytest.fixture
def workspace(tmp_path):
    made = Workspace(tmp_path)
    synthetic.build(made, 200, classes=3, pictures=2)
    return made


def test_a_run_goes_and_everything_else_stays(workspace):
    run = workspace.run("synthetic-200")
    published = Published.of(run, workspace.dataset("synthetic-200"))
    signal_summary(published)  # the file is open now
    remove_run(run)
    assert workspace.runs() == []
    assert list(workspace.runs_folder.iterdir()) == []
    assert workspace.dataset("synthetic-200").size == 200
    with pytest.raises(MimicError, match="is gone"):
        signal_summary.__wrapped__(published)


def test_nothing_happens_to_a_run_that_is_being_worked_on(workspace):
    run = workspace.run("synthetic-200")
    with run.lock.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(MimicError, match="being worked on by another process"):
            remove_run(run)
    assert workspace.run("synthetic-200").scores_file.exists()


def test_what_needs_it_is_named_however_deep_the_rule(workspace):
    run = workspace.run("synthetic-200")
    one = {"kind": "threshold", "run": run.id, "signal": "mimic", "threshold": 0.0}
    save_filter(workspace, "strict", run.dataset, one, NOTHING)
    save_filter(workspace, "both", run.dataset, {"kind": "and", "rules": [one | {"run": "x"}, one]}, NOTHING)
    save_filter(workspace, "other", run.dataset, one | {"run": f"{run.id}-more"}, NOTHING)
    assert sorted(needed_by(workspace, run)) == ["filter both", "filter strict"]
