"""Bad days: damaged files, a full disk, a workspace that cannot be written, two processes or machines at one run."""

import fcntl
import logging
import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pytest

from mimic.errors import MimicError
from mimic.runs.further import add_signals
from mimic.runs.importing import import_dataset
from mimic.runs.manager import score
from mimic.runs.progress import Progress
from mimic.workspace.decisions import Decisions, Subject
from mimic.workspace.filters import save_filter
from mimic.workspace.layout import Run, Workspace
from mimic.workspace.queries.connection import Published, tables
from tests.runs.conftest import FILES, Digits

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("scores", "predictions", "failures", "bins")

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["mimic.runs.manager", "mimic.models.small", "pytest"])


def contents(run: Run) -> str:
    assert run.scores_file is not None
    with duckdb.connect(run.scores_file, read_only=True) as connection:
        return str([connection.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall() for table in TABLES])


def read_all(published: Published) -> None:
    for name in (*TABLES, "run"):
        with tables(published) as t:
            t.frame(f"SELECT * FROM {getattr(t, name)}")


def flip(path: Path, place: int) -> None:
    changed = bytearray(path.read_bytes())
    changed[place] ^= 4
    path.write_bytes(changed)


def test_only_a_damaged_part_s_shard_is_scored_again(
    workspace: Workspace, digits: Digits, caplog: pytest.LogCaptureFixture
) -> None:
    whole = contents(score(workspace, digits.config()))
    run = workspace.runs()[0]
    flip(run.parts[1], run.parts[1].stat().st_size // 2)
    run.parts[2].write_bytes(run.parts[2].read_bytes()[:500])
    before = {part.name: part.stat().st_mtime_ns for part in run.parts}
    flip(run.scores_file, run.scores_file.stat().st_size // 2)
    seen: list[Progress] = []
    with caplog.at_level(logging.WARNING):
        again = score(workspace, digits.config(), on_progress=seen.append)
    assert contents(again) == whole
    assert (seen[0].resumed, seen[0].total) == (256, 600)
    kept = {part.name for part in again.parts if part.stat().st_mtime_ns == before[part.name]}
    assert kept == {"00000.parquet"}
    for name in ("scores.duckdb is damaged or gone", "part 00001.parquet of run", "part 00002.parquet of run"):
        assert name in caplog.text


def test_a_damaged_table_is_a_sentence_and_is_published_again_from_its_parts(
    workspace: Workspace, digits: Digits
) -> None:
    run = score(workspace, digits.config())
    whole, dataset = contents(run), workspace.dataset("digits")
    published = Published.of(run, dataset)
    with tables(published) as t:
        t.rows(f"SELECT sum(mimic) FROM {t.scores}")
    rng = np.random.default_rng(0)
    for place in rng.integers(12288, run.scores_file.stat().st_size, 3):
        copy = run.scores_file.read_bytes()
        run.scores_file.unlink()  # a file put in its place, as a disk or a copy would
        run.scores_file.write_bytes(copy)
        flip(run.scores_file, int(place))
        with pytest.raises(MimicError, match=r"scores\.duckdb is damaged .* the command that made the run again"):
            read_all(published)
        seen: list[Progress] = []
        run = score(workspace, digits.config(), on_progress=seen.append)
        assert seen[0].resumed == run.size  # nothing was scored
        assert contents(run) == whole
        with tables(Published.of(run, dataset)) as t:
            t.rows(f"SELECT sum(mimic) FROM {t.scores}")


def test_damaged_samples_are_a_sentence_and_the_same_import_brings_them_back(
    workspace: Workspace, digits: Digits
) -> None:
    file = workspace.dataset("digits").samples_file
    whole = file.read_bytes()
    for block in range(12288, len(whole), 262144):
        flip(file, block + 100)
    with pytest.raises(MimicError, match=r"samples\.duckdb is damaged .*import the same source again"):
        score(workspace, digits.config())
    import_dataset(workspace, digits.manifest, "digits")
    assert len(file.read_bytes()) == len(whole)
    assert score(workspace, digits.config()).state == "published"
    assert [entry.name for entry in workspace.datasets_folder.iterdir()] == ["digits"]


def test_a_damaged_part_of_a_scored_run_is_named_when_signals_are_added(workspace: Workspace, digits: Digits) -> None:
    run = score(workspace, digits.config())
    flip(run.parts[0], 2000)
    with pytest.raises(MimicError, match=rf"00000\.parquet is damaged .* command that made run {run.id} again"):
        add_signals(workspace, run, ["sharpness"])
    score(workspace, digits.config())
    assert add_signals(workspace, workspace.run(run.id), ["sharpness"]).state == "published"


def test_of_two_processes_one_works_and_the_other_says_who_has_it(workspace: Workspace, digits: Digits) -> None:
    place = str(workspace.path)
    command = [sys.executable, "-m", "mimic.cli", "score", "digits", "--workspace", place, "--model", "small:mlp"]
    command += ["--reference", digits.reference, "--start", digits.start]
    seen: list[str] = []

    def second(state: Progress) -> None:
        if not seen:
            ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
            assert ended.returncode == 2, ended.stderr
            seen.append(ended.stderr)

    assert score(workspace, digits.config(), on_progress=second).state == "published"
    holder = rf"process {os.getpid()} on {re.escape(socket.gethostname())} since 20\d\d-\d\d-\d\dT\S+"
    assert re.search(
        rf"is being worked on by another process \({holder}\): wait for it; `mimic show \S+ --work", seen[0]
    )


def without_locks(workspace: Workspace, digits: Digits, go: object) -> None:
    """Scores where flock gives everybody the lock, as some network folders do."""
    fcntl.flock = lambda file, how: None  # type: ignore[assignment]
    go.wait()  # type: ignore[attr-defined]
    score(workspace, digits.config())


def test_two_machines_without_locks_publish_the_right_table(workspace: Workspace, digits: Digits) -> None:
    whole = contents(score(workspace, digits.config(batch_size=16)))
    again = digits.config(batch_size=16)
    for _ in range(3):
        shutil.rmtree(workspace.runs_folder)
        go = processes.Barrier(2)
        both = [processes.Process(target=without_locks, args=(workspace, digits, go)) for _ in range(2)]
        for child in both:
            child.start()
        for child in both:
            child.join(120)
        assert [child.exitcode for child in both] == [0, 0]
        (run,) = workspace.runs()
        assert contents(score(workspace, again)) == whole
        assert {path.name for path in run.folder.iterdir()} == FILES


def mounting(script: str, *arguments: object) -> str:
    """What a shell script prints that may mount things which nobody else sees."""
    if (
        sys.platform != "linux"
        or os.geteuid() != 0
        or subprocess.run(["unshare", "-m", "true"], check=False).returncode
    ):
        pytest.skip("mounting needs root on Linux")
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    command = ["unshare", "-m", "bash", "-ec", script, "sh", *map(str, arguments)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=250, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-3000:]
    return ended.stdout


FULL = """
import os, sys
from pathlib import Path
from mimic.errors import MimicError
from mimic.filters.rules import read_rule
from mimic.reports.exports import Selection, write_export
from mimic.runs.config import ScoreConfig
from mimic.runs.importing import import_dataset
from mimic.runs.manager import score
from mimic.workspace.decisions import Decisions, Subject
from mimic.workspace.filters import save_filter
from mimic.workspace.layout import Workspace
from mimic.workspace.queries.dense import Dense
disk, digits = Path(sys.argv[1]), Path(sys.argv[2])
place, fill, told = Workspace(disk / "w"), disk / "fill", {}
config = ScoreConfig.checked(dataset="digits", model="small:mlp", reference=str(digits / "reference.safetensors"),
                             start=str(digits / "start.safetensors"))

def tried(name, what, room=0):
    with fill.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
        os.truncate(fill, max(fill.stat().st_size - room, 0))
    try:
        what()
        told[name] = "went well"
    except MimicError as error:
        told[name] = str(error)
    fill.unlink()
    what()
    print(name, "|", told[name])

tried("import", lambda: import_dataset(place, digits / "manifest.csv", "digits"), 100_000)
for name, room in (("score", 30_000), ("publish", 400_000)):
    tried(name, lambda: score(place, config), room)
    run = place.runs()[0]
    if name == "score":
        first = run.scores_file.read_bytes()
        run.scores_file.unlink()
        [part.unlink() for part in run.parts[1:]]
decisions, n = Decisions(place, place.dataset("digits")), iter(range(100))
tried("decide", lambda: decisions.record("ann", "drop", Subject(next(n), "id", "1")))
rule = read_rule({"kind": "threshold", "run": run.id, "signal": "mimic", "threshold": 0.0})
selection = Selection(Dense(place, place.dataset("digits")), rule)
tried("export", lambda: write_export(selection, disk / "kept.csv", "csv", overwrite=True))
tried("filter", lambda: save_filter(place, "strict", "digits", {}, {}))
left = [str(path) for path in disk.rglob("*.tmp*")]
print("left |", left)
print("events |", len(decisions.history()))
"""


def test_a_full_disk_is_a_sentence_and_the_same_command_goes_on(digits: Digits, tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=8m none "$1"; "$PYTHON" -c "$3" "$1" "$2"'
    (tmp_path / "disk").mkdir()
    said = dict(line.split(" | ") for line in mounting(script, tmp_path / "disk", digits.folder, FULL).splitlines())
    assert said["left"] == "[]"
    assert int(said["events"]) == 1 + (said["decide"] == "went well")
    for name in ("import", "score", "publish", "export", "filter"):
        assert re.search(r"cannot (write|make) .*No space left on device.*", said[name]), (name, said[name])
    assert "cannot be read or written (database or disk is full)" in said["decide"]


READ_ONLY = """
mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"
if touch "$1/x" 2>/dev/null; then echo writable; fi
for words in WORDS; do
  "$PYTHON" -m mimic.cli $words --workspace "$1" > "$3/out" 2> "$3/err" && echo "0 $words" \\
    || { echo "$? $words"; cat "$3/err"; }
done
MIMIC_WORKSPACE="$1" "$PYTHON" -c "$4" "$5"
"""
WRITING = ["filter $2 --rule mimic@top80%", "export strict --format csv --out $3/kept.csv"]
LOOKING = ["runs", "show $2", "show digits", "compare $2:mimic $2:logprob", "evaluate quality digits"]
PAGES = """
import sys
from pathlib import Path
from streamlit.testing.v1 import AppTest
from mimic.workspace.decisions import Decisions, Subject
from mimic.workspace.layout import Workspace
import os
place = Workspace(Path(os.environ["MIMIC_WORKSPACE"]))
decisions = Decisions(place, place.dataset("digits"))
print("decided", decisions.counts())
try:
    decisions.record("ann", "drop", Subject(5, "5", "1"))
except Exception as error:
    print("refused", error)
for page in PAGES:
    app = AppTest.from_file(sys.argv[1], default_timeout=60)
    if page != "overview":
        app.switch_page(f"pages/{page}.py")
    app.run()
    print("page", page, len(app.exception), [each.value for each in app.error])
"""


@pytest.mark.parametrize("log", [False, True], ids=["closed", "a killed reviewer's log"])
def test_a_read_only_workspace_is_read(workspace: Workspace, digits: Digits, tmp_path: Path, log: bool) -> None:
    run = score(workspace, digits.config())
    rule = {"kind": "threshold", "run": run.id, "signal": "mimic", "threshold": 0.0}
    save_filter(workspace, "strict", "digits", rule, {"kept": 1, "dropped": 1, "not_scored": 0})
    child = processes.Process(target=decide, args=(workspace, log))
    child.start()
    child.join(60)
    assert (workspace.path / "decisions.db-wal").exists() == log
    out = tmp_path / "out"
    out.mkdir()
    # Every command and page as it is after a reviewer was killed, which is harder; else those that read decisions.
    looked_at = sorted(path.stem for path in (ROOT / "pages").glob("*.py")) if log else ["export", "review"]
    opened = f"PAGES = {looked_at}\n{PAGES}"
    words = " ".join(f'"{each}"' for each in (*(LOOKING if log else []), *WRITING))
    said = mounting(
        READ_ONLY.replace("WORDS", words), workspace.path, run.id, out, opened, ROOT / "app.py"
    ).splitlines()
    assert "writable" not in said
    failed = [line for line in said if line[:1].isdigit() and not line.startswith("0 ")]
    assert failed == [f"2 filter {run.id} --rule mimic@top80%"], "\n".join(said)  # which would save a filter
    assert any("no permission to write in" in line for line in said)
    assert "decided {'keep': 0, 'drop': 3, 'relabel': 0}" in said
    assert any("refused" in line and "read-only" in line for line in said)
    pages = [line.replace("\\", "") for line in said if line.startswith("page ")]
    assert len(pages) == len(looked_at)
    assert [line for line in pages if not line.endswith(" 0 []") and "read-only" not in line] == []


def decide(workspace: Workspace, killed: bool) -> None:
    decisions = Decisions(workspace, workspace.dataset("digits"))
    for sample in range(3):
        decisions.record("ann", "drop", Subject(sample, str(sample), "1"))
    if killed:
        os._exit(9)
    from mimic.workspace import database

    engine = database._engine(database._file(workspace.path))
    engine.dispose()


def test_a_clock_that_is_turned_back_changes_no_order(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    decisions, now = Decisions(workspace, workspace.dataset("digits")), time.time()
    decisions.record("ann", "drop", Subject(1, "1", "1"))
    assert decisions.claim("ann", [2, 3], 2) == [2, 3]
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    decisions.record("bob", "keep", Subject(1, "1", "1"))
    assert decisions.decision(1).action == "keep"
    assert decisions.claim("bob", [2, 3], 2) == [2, 3]  # a claim from a time to come holds nobody up for an hour
    assert decisions.claim("cid", [2, 3], 2) == []
