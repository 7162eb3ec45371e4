"""What `benchmarks.faults` does: processes that are killed, and what must be there after the next one has ended.

Every try begins from the same state on the disk. A process is started and killed after a random time between nothing
and what the whole takes, then the same thing is done again to its end. Survived: what is there then is what an
uninterrupted process leaves, to the row (of an export, to the byte), without a temporary file beside it. Of reviews,
every event that was acknowledged is there, once. The processes are forks of one that has loaded torch already.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import torch
from PIL import Image

from mimic.filters.signal_rules import ThresholdRule
from mimic.models.build import build_model
from mimic.models.checkpoint import save_checkpoint
from mimic.reports.exports import Selection, write_export
from mimic.runs.config import ScoreConfig
from mimic.runs.importing import import_dataset
from mimic.runs.manager import score
from mimic.workspace.decisions import Decisions, Subject
from mimic.workspace.layout import Workspace
from mimic.workspace.queries.dense import Dense

PHOTOS = 600
CLASSES = 4
EVENTS = 40  # that a reviewer means to record
_PATIENCE = 120.0  # seconds that an uninterrupted process may take

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["benchmarks.faults_soak"])


@dataclass(frozen=True)
class Place:
    """A folder with photos and checkpoints, and a workspace in it."""

    folder: Path

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder / "workspace")

    @property
    def config(self) -> ScoreConfig:
        weights = {name: str(self.folder / f"{name}.safetensors") for name in ("reference", "start")}
        return ScoreConfig.checked(dataset="photos", model="small:mlp", batch_size=64, **weights)


def draw(place: Place, seed: int = 0) -> None:
    """Writes the photos, one in fifty of them broken, and two checkpoints."""
    rng = np.random.default_rng(seed)
    for i in range(PHOTOS):
        path = place.folder / "photos" / f"class-{i % CLASSES}" / f"{i:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (28, 28), dtype=np.uint8)).save(path)
        if i % 50 == 7:
            path.write_bytes(path.read_bytes()[:60])
    torch.manual_seed(seed)
    module = build_model("small:mlp", CLASSES).module
    for name in ("start", "reference"):
        notes = {"classes": json.dumps([f"class-{code}" for code in range(CLASSES)])}
        save_checkpoint(place.folder / f"{name}.safetensors", module.state_dict(), notes)
        torch.nn.init.normal_(module.head.weight, std=0.1)


# What is killed: each takes the place and a pipe, on which it says that it has begun, and what it has acknowledged.


def do_import(place: Place, told: Connection) -> None:
    told.send("begun")
    import_dataset(place.workspace, place.folder / "photos", "photos")


def do_score(place: Place, told: Connection) -> None:
    torch.set_num_threads(1)
    told.send("begun")
    score(place.workspace, place.config, "cpu", 1)


def do_export(place: Place, told: Connection) -> None:
    workspace = place.workspace
    told.send("begun")
    rule = ThresholdRule(run=workspace.runs()[0].id, signal="mimic", threshold=0.0)
    selection = Selection(Dense(workspace, workspace.dataset("photos")), rule)
    for name, form in (("kept.csv", "csv"), ("kept.parquet", "parquet"), ("kept", "imagefolder")):
        write_export(selection, place.folder / "out" / name, form, overwrite=True)


def do_review(place: Place, told: Connection) -> None:
    decisions = Decisions(place.workspace, place.workspace.dataset("photos"))
    told.send("begun")
    for sample in decisions.claim("ann", range(PHOTOS), EVENTS):
        told.send((sample, decisions.record("ann", "drop", Subject(sample, str(sample), None))))


# What is there afterwards: name → its rows, or a file's hash.


def tables(path: Path) -> dict[str, list[str]]:
    """The rows of every table of a finished file but ``run``, which says when it was made."""
    with duckdb.connect(path, read_only=True) as connection:
        names = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return {name: [str(row) for row in connection.table(name).fetchall()] for name in names if name != "run"}


def left_by_import(place: Place) -> dict[str, list[str]]:
    dataset = place.workspace.dataset("photos")
    facts = {key: value for key, value in dataset.facts.items() if key != "created"}
    return tables(dataset.samples_file) | {"dataset.json": [json.dumps(facts)]}


def left_by_score(place: Place) -> dict[str, list[str]]:
    (run,) = place.workspace.runs()
    assert run.scores_file is not None
    return tables(run.scores_file)


def left_by_export(place: Place) -> dict[str, list[str]]:
    files = sorted(path for path in (place.folder / "out").rglob("*") if path.is_file())
    return {str(path.relative_to(place.folder)): [hashlib.sha256(path.read_bytes()).hexdigest()] for path in files}


@dataclass(frozen=True)
class Operation:
    """What is killed.

    Attributes:
        name: what the table calls it.
        do: the work.
        left: what it leaves.
        before: what must have been done.
        undo: takes a finished workspace back to where the work begins.
    """

    name: str
    do: Callable[[Place, Connection], None]
    left: Callable[[Place], dict[str, list[str]]]
    before: Sequence[Callable[[Place, Connection], None]] = ()
    undo: Callable[[Place], None] = lambda place: None


def unpublish(place: Place) -> None:
    """A run with all its parts and no table."""
    (run,) = place.workspace.runs()
    assert run.scores_file is not None
    run.scores_file.unlink()
    facts = {key: value for key, value in run.facts.items() if not key.startswith("published")}
    (run.folder / "run.json").write_text(json.dumps(facts))


OPERATIONS = (
    Operation("import", do_import, left_by_import),
    Operation("score", do_score, left_by_score, (do_import,)),
    Operation("publish", do_score, left_by_score, (do_import, do_score), unpublish),
    Operation("export", do_export, left_by_export, (do_import, do_score)),
)


@dataclass
class Outcome:
    """A row of the table."""

    operation: str
    tried: int = 0
    killed: int = 0
    survived: int = 0
    lost_rows: int = 0
    left_files: int = 0
    seconds: float = field(default=0.0, repr=False)


@dataclass(frozen=True)
class Ended:
    """How a process ended: whether it was killed, seconds since it had begun, what it had said until then."""

    killed: bool
    seconds: float
    said: list[tuple[int, int]]


def run(do: Callable[[Place, Connection], None], place: Place, after: float | None = None) -> Ended:
    """A process from its beginning to its end, or until it is killed so many seconds after it has begun."""
    mine, theirs = _processes.Pipe(duplex=False)
    child = _processes.Process(target=do, args=(place, theirs))
    child.start()
    theirs.close()
    said = []
    if mine.poll(_PATIENCE):
        mine.recv()
    began = time.monotonic()
    child.join(_PATIENCE if after is None else after)
    seconds, killed = time.monotonic() - began, child.is_alive()
    if killed:
        child.kill()
        child.join()
    try:
        while mine.poll():
            said.append(mine.recv())
    except EOFError:
        pass
    if after is None and (killed or child.exitcode):
        raise RuntimeError(f"{do.__name__} did not end well: exit code {child.exitcode}")
    return Ended(killed, seconds, said)


def lost(expected: dict[str, list[str]], found: dict[str, list[str]]) -> int:
    """Rows that are not there, or are there and should not be."""
    wrong = 0
    for name in expected.keys() | found.keys():
        ours, theirs = expected.get(name, []), found.get(name, [])
        if ours != theirs:
            wrong += max(len(set(ours) ^ set(theirs)), 1)
    return wrong


def temporary(folder: Path) -> int:
    """Files and folders that a killed process has left and nobody took away."""
    return sum(1 for path in folder.rglob(".*") if ".tmp" in path.name or path.name.endswith(".old"))


def killing(operation: Operation, drawn: Place, times: int, rng: random.Random, scratch: Path) -> Outcome:
    """One operation, killed so many times."""
    prepared, place = Place(scratch / "prepared"), Place(scratch / "place")
    shutil.copytree(drawn.folder, prepared.folder)
    for step in operation.before:
        run(step, prepared)
    operation.undo(prepared)
    outcome, longest, expected = Outcome(operation.name), 0.0, None
    began = time.monotonic()
    for number in range(times + 2):
        shutil.rmtree(place.folder, ignore_errors=True)
        _copy(prepared.folder, place.folder)
        if number < 2:  # uninterrupted, twice: the second one's time has nothing that only a first one takes
            longest, expected = run(operation.do, place).seconds, operation.left(place)
            continue
        assert expected is not None
        outcome.tried += 1
        outcome.killed += run(operation.do, place, rng.uniform(0, longest)).killed
        run(operation.do, place)
        wrong, left = lost(expected, operation.left(place)), temporary(place.folder)
        outcome.survived += not wrong and not left
        outcome.lost_rows += wrong
        outcome.left_files += left
    outcome.seconds = time.monotonic() - began
    shutil.rmtree(prepared.folder)
    shutil.rmtree(place.folder)
    return outcome


def _copy(source: Path, target: Path) -> None:
    """A copy whose large files are links: nothing here writes into a finished file."""
    shutil.copytree(source, target, copy_function=os.link)
    for lock in target.rglob("lock"):
        lock.unlink()  # this one is written in place


def reviewing(drawn: Place, times: int, rng: random.Random, scratch: Path) -> Outcome:
    """Reviewers killed one after the other on one workspace; each goes on where the last one was."""
    place = Place(scratch / "place")
    shutil.copytree(drawn.folder, place.folder)
    run(do_import, place)
    outcome, began = Outcome("review"), time.monotonic()
    acknowledged: dict[int, int] = {}
    longest = run(do_review, place).seconds
    dataset = place.workspace.dataset("photos")
    events = len(Decisions(place.workspace, dataset).history(limit=10**6))
    unheard = events - EVENTS
    for _ in range(times):
        outcome.tried += 1
        ended = run(do_review, place, rng.uniform(0, longest))
        outcome.killed += ended.killed
        acknowledged |= {event: sample for sample, event in ended.said}
        log = Decisions(place.workspace, dataset).history(limit=10**6).set_index("event")["sample"]
        missing = sum(log.get(event) != sample for event, sample in acknowledged.items())
        new = len(log) - EVENTS - len(acknowledged) - unheard
        unheard += max(new, 0)  # on the disk, and killed before it could say so
        twice = int(log.duplicated().sum())
        outcome.survived += not missing and not twice and new in (0, 1)
        outcome.lost_rows += missing + twice
    outcome.seconds = time.monotonic() - began
    shutil.rmtree(place.folder)
    return outcome


def soak(times: int, seed: int, scratch: Path) -> pd.DataFrame:
    """Every operation, killed so many times."""
    rng, drawn = random.Random(seed), Place(scratch / "drawn")
    draw(drawn)
    found = [killing(operation, drawn, times, rng, scratch) for operation in OPERATIONS]
    found.append(reviewing(drawn, times, rng, scratch))
    return pd.DataFrame([vars(each) for each in found]).round({"seconds": 1})
