"""State is derived from what is on the disk, and names are safe."""

import fcntl
from pathlib import Path

import pytest

from mimic.errors import MimicError
from mimic.files import read_json, write_json
from mimic.workspace.layout import FORMAT, Run, Workspace, check_name, first_facts
from mimic.workspace.queries.progress import progress


def a_run(workspace: Workspace, name: str = "r", **facts: object) -> Run:
    folder = workspace.runs_folder / name
    (folder / "parts").mkdir(parents=True)
    write_json(
        folder / "run.json",
        {"format": FORMAT, "run": name, "dataset": "d", "created": "2026-01-01", "samples": 25, "main": "mimic"}
        | {"shards": {"count": 3, "size": 10}, "signals": ["mimic"]}
        | facts,
    )
    return workspace.run(name)


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "a b", ".hidden", "é", "a\0", "x" * 101])
def test_unsafe_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(MimicError, match="cannot name a run"):
        check_name("run", name)
    with pytest.raises(MimicError):
        Workspace(tmp_path).dataset(name)


def test_states_follow_the_disk(tmp_path: Path) -> None:
    run = a_run(Workspace(tmp_path))
    assert run.state == "interrupted"
    with run.lock.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run.state == "running"
    assert run.state == "interrupted"
    write_json(run.folder / "run.json", run.facts | {"error": "no memory"})
    assert Workspace(tmp_path).run("r").state == "failed"
    write_json(run.folder / "run.json", run.facts | {"published": "scores.duckdb"})
    assert Workspace(tmp_path).run("r").state == "published"


def test_watchers_do_not_see_each_other(tmp_path: Path) -> None:
    run = a_run(Workspace(tmp_path))
    run.lock.touch()
    with run.lock.open("rb") as watcher:
        fcntl.flock(watcher, fcntl.LOCK_SH)
        assert run.state == "interrupted"


def test_shards_cover_every_position_once_and_done_counts_their_parts(tmp_path: Path) -> None:
    run = a_run(Workspace(tmp_path))
    assert [position for shard in run.shards for position in range(shard.first, shard.last)] == list(range(25))
    run.part(run.shards[2]).touch()
    assert progress(run).done == 5
    run.part(run.shards[0]).touch()
    (run.folder / "parts" / ".00001.parquet.host-7-0.tmp").touch()
    assert progress(run).done == 15


def test_unknown_names_list_what_there_is(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(MimicError, match="it has none yet"):
        workspace.run("r")
    a_run(workspace, "known-run")
    with pytest.raises(MimicError, match="it has known-run"):
        workspace.run("r")


def test_runs_come_newest_first_and_by_data_set(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for name, created, dataset in [("old", "2025", "d"), ("new", "2027", "d"), ("other", "2026", "e")]:
        a_run(workspace, name, created=created, dataset=dataset)
    assert [run.id for run in workspace.runs()] == ["new", "other", "old"]
    assert [run.id for run in workspace.runs("d")] == ["new", "old"]


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MimicError, match="its format is 99"):
        a_run(Workspace(tmp_path), format=99)


def test_runs_are_numbered_in_the_order_of_their_beginning_whatever_the_clock_says(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    a_run(workspace, "of-0.1.0", created="2031-01-01")
    for name, created in (("first", "2030-01-01"), ("second", "2026-01-01")):  # the clock was turned back in between
        facts = first_facts(workspace, name, "d", "score")
        a_run(workspace, name, **{**facts, "created": created})
    assert [run.id for run in workspace.runs()] == ["second", "first", "of-0.1.0"]


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": "é"})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": "é"}
    path.write_text("[1]")
    with pytest.raises(MimicError, match="JSON object"):
        read_json(path)
    path.write_text("{")
    with pytest.raises(MimicError, match="not valid JSON"):
        read_json(path)


def test_a_run_that_scored_leads_and_a_training_comes_last(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    done = {"published": "scores.duckdb"}
    a_run(workspace, "trained", created="2026-01-09", kind="train", **done)
    assert [run.id for run in workspace.published("d")] == ["trained"]
    a_run(workspace, "imported", created="2026-01-08", kind="import", **done)
    a_run(workspace, "further", created="2026-01-03", kind="signals", **done)
    a_run(workspace, "scored", created="2026-01-02", kind="score", **done)
    a_run(workspace, "old", created="2026-01-01", **done)  # of a version without kinds
    a_run(workspace, "going", created="2026-01-10", kind="score")
    assert [run.id for run in workspace.published("d")] == ["further", "scored", "old", "imported", "trained"]
    assert workspace.published("other") == []
