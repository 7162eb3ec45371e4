"""Decisions: appended, undone by events, handed out once; nothing acknowledged is lost, whoever is killed or hurries.

Everything is tried on SQLite and on a real PostgreSQL server, which the tests start where Debian's package is there.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mimic.data import Sample
from mimic.errors import MimicError
from mimic.workspace.claims import CLAIM_SECONDS
from mimic.workspace.database import URL_VARIABLE
from mimic.workspace.datasets import Source, create_dataset
from mimic.workspace.decisions import Decision, Decisions, Subject, looked_at, overruling, standing
from mimic.workspace.layout import Workspace

ROOT = Path(__file__).resolve().parents[2]
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))


@pytest.fixture(scope="session")
def server():
    """The URL of a PostgreSQL server of our own, on a socket in a folder of its own, ended at the end."""
    if not POSTGRES:
        pytest.skip("no PostgreSQL server here: apt-get install postgresql")
    user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    if user and "postgres" not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # short: a socket's path has at most 107 bytes
    if user:
        shutil.chown(folder, **user)
    programs = POSTGRES[-1].parent

    def run(*command: object) -> None:
        subprocess.run(list(map(str, command)), check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=120, **user)

    run(programs / "initdb", "-D", folder / "data", "-U", "mimic", "-A", "trust", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
    run(programs / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o", options, "start")
    yield f"postgresql://mimic@/postgres?host={folder}"
    run(programs / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request, tmp_path, monkeypatch):
    """A way to open the decisions of one data set, in this process, on either kind of database."""
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    if request.param == "postgres":
        monkeypatch.setenv(URL_VARIABLE, request.getfixturevalue("server"))
    make_dataset(tmp_path)
    return lambda: Decisions(Workspace(tmp_path), Workspace(tmp_path).dataset("d"))


def make_dataset(folder: Path, name: str = "d") -> None:
    # the ids hold the folder's name, so that every test has contents of its own on the one server
    samples = (Sample(i, f"{folder.name} {i}", f"{i}.png", "cat") for i in range(400))
    create_dataset(Workspace(folder), name, samples, ["cat", "dog"], Source("manifest", Path("x")), folder)


def subject(sample: int, **more: str) -> Subject:
    return Subject(sample, f"id {sample}", "cat", **more)


def test_the_latest_event_that_stands_decides(opened):
    decisions = opened()
    first = decisions.record("ann", "drop", subject(7), why="blurred")
    decisions.record("bob", "relabel", subject(7, run="r", source="mimic < 0"), label="dog")
    decisions.record("bob", "skip", subject(8))
    now = decisions.decision(7)
    assert isinstance(now, Decision)
    assert (now.action, now.label, now.who) == ("relabel", "dog", "bob")
    assert decisions.decision(8) is None
    assert decisions.undo("bob") == 8
    assert decisions.undo("bob") == 7
    assert decisions.undo("bob") is None
    assert decisions.decision(7) == Decision(first, "drop", None, "ann", decisions.history(7)["at"].iloc[-1], "blurred")
    assert decisions.undo("cid", first) == 7
    assert decisions.undo("cid", first) is None
    assert decisions.decision(7) is None
    log = decisions.history()
    assert log["action"].tolist() == ["undo", "undo", "undo", "skip", "relabel", "drop"]
    assert log["undone"].tolist() == [False, False, False, True, True, True]
    assert decisions.history(7)[["old_label", "new_label", "run", "source"]].iloc[2].tolist() == [
        "cat", "dog", "r", "mimic < 0",
    ]  # fmt: skip
    assert decisions.history(limit=2)["event"].tolist() == log["event"].tolist()[:2]


def test_what_holds_now_as_a_table(opened):
    decisions = opened()
    for sample, action in ((5, "drop"), (3, "keep"), (4, "skip"), (3, "drop"), (9, "drop")):
        decisions.record("ann", action, subject(sample, source="audit x" if sample == 9 else ""))
    decisions.record("ann", "relabel", subject(5), label="dog")
    decisions.record("ann", "keep", subject(9))
    table = opened().decided()
    assert table.to_pylist() == [
        {"sample": 3, "action": "drop", "label": None},
        {"sample": 5, "action": "relabel", "label": "dog"},
        {"sample": 9, "action": "keep", "label": None},
    ]
    assert decisions.decided("audit x").to_pylist() == [{"sample": 9, "action": "drop", "label": None}]
    assert decisions.counts() == {"keep": 1, "drop": 1, "relabel": 1}
    assert {sample: d.action for sample, d in decisions.decisions([3, 4, 5, 200]).items()} == {3: "drop", 5: "relabel"}


def test_the_same_press_twice_is_one_event(opened):
    first = opened().record("ann", "drop", subject(1), key="press 1")
    assert opened().record("ann", "drop", subject(1), key="press 1") == first
    assert len(opened().history()) == 1


def test_every_event_is_another_version(opened, tmp_path):
    decisions = opened()
    seen = [decisions.version()]
    decisions.record("ann", "keep", subject(1))
    seen.append(decisions.version())
    decisions.undo("ann")
    seen.append(decisions.version())
    assert len(set(seen)) == 3
    assert looked_at(Workspace(tmp_path), Workspace(tmp_path).dataset("d")) == seen[-1]


def test_other_contents_are_other_samples(opened, tmp_path):
    opened().record("ann", "drop", subject(1))
    make_dataset(tmp_path / "another place", "d")
    other = Decisions(Workspace(tmp_path), Workspace(tmp_path / "another place").dataset("d"))
    assert other.decision(1) is None
    assert other.history().empty
    assert other.claim("ann", [1]) == [1]


def test_a_queue_hands_each_sample_to_one_person(opened):
    ann, bob = opened(), opened()
    assert ann.claim("ann", range(10), 2) == [0, 1]
    assert bob.claim("bob", range(10), 2) == [2, 3]
    assert ann.claim("ann", range(10), 2) == [0, 1]  # still in hand
    ann.record("ann", "keep", subject(0))
    ann.record("ann", "skip", subject(1))
    assert ann.claim("ann", range(10), 2) == [4, 5]
    assert bob.claim("bob", range(10), 3) == [1, 2, 3]  # what one skipped is for another to decide
    ann.release("ann")
    assert bob.claim("bob", iter(range(4, 10)), 9) == [4, 5, 6, 7, 8, 9]
    assert ann.claim("ann", range(10)) == []


def test_an_audit_asks_whatever_was_said_before(opened):
    decisions = opened()
    decisions.record("ann", "drop", subject(0))
    decisions.record("ann", "skip", subject(1))
    assert decisions.claim("ann", range(3), 3, source="audit x") == [0, 1, 2]
    decisions.record("ann", "keep", subject(0, source="audit x"))
    decisions.record("ann", "skip", subject(1, source="audit x"))
    assert opened().claim("ann", range(3), 3, source="audit x") == [2]
    assert decisions.skipped("audit x") == {1}
    assert opened().claim("bob", range(3), 3, source="audit y") == [0, 1]


def test_a_claim_runs_out(opened):
    assert opened().claim("ann", [3], seconds=0.2) == [3]
    assert opened().claim("bob", [3]) == []
    time.sleep(0.25)
    assert opened().claim("bob", [3]) == [3]
    assert opened().claim("ann", [3]) == []


def test_a_claim_holds_against_who_asked_the_time_before_it_was_made(opened):
    """On a server two people's questions overlap: a claim made meanwhile ends later than one's own would."""
    assert opened().claim("ann", [3], seconds=CLAIM_SECONDS + 1) == [3]
    assert opened().claim("bob", [3, 4]) == [4]


def test_what_is_taken_back_and_held_goes_to_nobody_else(opened):
    ann, got, over = opened(), [], threading.Event()
    assert ann.claim("ann", [7]) == [7]

    def ask():
        bob = opened()
        while not over.is_set():
            got.extend(bob.claim("bob", [7]))

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            for _ in range(30):
                ann.record("ann", "keep", subject(7))
                assert ann.undo("ann", hold=True) == 7
                assert ann.claim("ann", [7]) == [7]
        finally:
            over.set()
        asking.result()
    assert got == []
    ann.record("ann", "keep", subject(7))
    ann.undo("ann")
    assert opened().claim("bob", [7]) == [7]  # who does not hold it lets it go


def test_what_is_no_decision_is_said(opened):
    decisions = opened()
    with pytest.raises(MimicError, match="'explode' is no decision"):
        decisions.record("ann", "explode", subject(1))
    with pytest.raises(MimicError, match="needs one"):
        decisions.record("ann", "relabel", subject(1))
    with pytest.raises(MimicError, match="'cow' is no class"):
        decisions.record("ann", "relabel", subject(1), label="cow")
    with pytest.raises(MimicError, match="say who"):
        decisions.record(" ", "keep", subject(1))
    assert decisions.history().empty


REVIEWER = """
import sys
from pathlib import Path
from mimic.workspace.decisions import Decisions, Subject
from mimic.workspace.layout import Workspace
place, who, stop = Workspace(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
decisions = Decisions(place, place.dataset("d"))
taken = decisions.claim(who, range(stop))  # so that everybody has at least one to decide
print("ready", flush=True)
sys.stdin.readline()
while taken:
    event = decisions.record(who, "drop", Subject(taken[0], str(taken[0]), "cat"))
    print(taken[0], event, flush=True)
    taken = decisions.claim(who, range(stop))
print("done", flush=True)
"""


def reviewer(folder: Path, who: str, stop: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", REVIEWER, str(folder), who, str(stop)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
    assert process.stdout.readline() == "ready\n"
    return process


def test_reviewers_at_once_lose_and_double_nothing(opened, tmp_path):
    people = [reviewer(tmp_path, who, 60) for who in ("ann", "bob", "cid")]
    for process in people:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120)[0].split("\n") for process in people]
    assert all(lines[-2] == "done" for lines in said)
    acknowledged = [line.split() for lines in said for line in lines if line and line != "done"]
    assert sorted(int(sample) for sample, _ in acknowledged) == list(range(60))
    log = opened().history()
    assert sorted(log["event"]) == sorted(int(event) for _, event in acknowledged)
    assert Counter(log["sample"]).most_common(1)[0][1] == 1
    assert log["who"].nunique() == 3


def test_killed_at_any_moment_nothing_acknowledged_is_lost(opened, tmp_path):
    acknowledged = []
    for round_ in range(3):
        process = reviewer(tmp_path, "ann", 400)
        process.stdin.write("go\n")
        process.stdin.flush()
        for _ in range(5 + round_):
            acknowledged.append(process.stdout.readline().split())
        os.kill(process.pid, signal.SIGKILL)
        rest = process.communicate(timeout=60)[0]
        acknowledged += [line.split() for line in rest.split("\n")[:-1]]
        log = opened().history().set_index("event")
        assert all(log.loc[int(event), "sample"] == int(sample) for sample, event in acknowledged)
        assert len(log) - len(acknowledged) in range(round_ + 2)  # at most one a kill was not heard of
        assert log["sample"].is_unique


def test_a_url_that_is_none_is_said(tmp_path, monkeypatch):
    make_dataset(tmp_path)
    for url, said in (
        ("x", "no database URL"),
        ("mysql://a/b", "'mysql'"),
        ("postgres://u@localhost:1/x", "cannot be"),
    ):
        monkeypatch.setenv(URL_VARIABLE, url)
        with pytest.raises(MimicError, match=said):
            Decisions(Workspace(tmp_path), Workspace(tmp_path).dataset("d"))


def test_a_broken_file_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    make_dataset(tmp_path)
    (tmp_path / "decisions.db").write_text("not a database" * 100)
    with pytest.raises(MimicError, match="decisions cannot be read"):
        Decisions(Workspace(tmp_path), Workspace(tmp_path).dataset("d"))


def test_looking_makes_no_database(tmp_path, monkeypatch):
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    make_dataset(tmp_path)
    place, dataset = Workspace(tmp_path), Workspace(tmp_path).dataset("d")
    assert standing(place, dataset, [1, 2]) == {}
    assert overruling(place, dataset).num_rows == 0
    assert not (tmp_path / "decisions.db").exists()
    Decisions(place, dataset).record("ann", "drop", subject(2))
    assert {sample: one.action for sample, one in standing(place, dataset, [1, 2]).items()} == {2: "drop"}
    assert overruling(place, dataset).to_pylist() == [{"sample": 2, "action": "drop", "label": None}]
