"""Where everything lies in a workspace, and what state it is in. A folder, not a server.

    W/datasets/<dataset>/   dataset.json  samples.duckdb      imported once, then only relocated
    W/runs/<run>/           run.json  lock  parts/*.parquet   while it runs: the parts are the truth
                            scores.duckdb                     published once, then never changed
    W/filters/<name>.json                                     a named rule
    W/cache/                                                  by content hash; may be deleted at any time

A run's state is derived from what is there, never stored, so that nothing can be wrong about it after a crash.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from mimic.data import Shard, Task
from mimic.errors import MimicError
from mimic.files import read_json
from mimic.storage import Location, location

FORMAT = 1  # of every JSON file here; raised when an older version could not read a file rightly
DEFAULT = Path("mimic-workspace")
ENVIRONMENT = "MIMIC_WORKSPACE"  # the variable that names another default

# Kinds of runs that others go before, where one is picked unasked; see `Workspace.published`.
_LATER = {"import": 1, "train": 2}
State = Literal["published", "running", "failed", "interrupted"]

# What every data set and run says of itself.
_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "dataset.json": {
        "root": str, "samples": int, "classes": list, "columns": list, "splits": dict, "content": str,
        "samples_file": str, "truth": bool,
    },
    "run.json": {"dataset": str, "created": str, "signals": list, "main": str, "samples": int},
}  # fmt: skip

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


def check_name(kind: str, name: str) -> str:
    """The name itself, if it is safe as a file name everywhere; `kind` is what the sentence calls it."""
    if not _NAME.fullmatch(name) or len(name) > 100:
        article = "an" if kind[0] in "aeiou" else "a"
        raise MimicError(
            f"{name!r} cannot name {article} {kind}: use letters, digits, '.', '_' and '-', "
            "not starting with a dot, at most 100 characters"
        )
    return name


def first_facts(workspace: Workspace, run: str, dataset: str, kind: str) -> dict[str, Any]:
    """What every run.json begins with.

    Args:
        workspace: where it goes.
        run: its id, the name of its folder.
        dataset: the name of the data set.
        kind: score, signals, import or train.
    """
    created = datetime.now(UTC).isoformat(timespec="seconds")
    number = 1 + max((each.number for each in workspace.runs()), default=0)
    return {"format": FORMAT, "run": run, "number": number, "dataset": dataset, "kind": kind, "created": created}


@dataclass(frozen=True)
class Dataset:
    """An imported data set: its folder and the facts of its dataset.json."""

    folder: Path
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def workspace(self) -> Workspace:
        """Where it lies."""
        return Workspace(self.folder.parents[1])

    @property
    def root(self) -> Location:
        """The folder that the samples' paths are relative to."""
        return location(str(self.facts["root"]))

    @property
    def size(self) -> int:
        """How many samples it has."""
        return int(self.facts["samples"])

    @property
    def classes(self) -> list[str]:
        """Class names; a label's code is its place here."""
        return list(self.facts["classes"])

    @property
    def columns(self) -> list[str]:
        """The manifest's further columns."""
        return list(self.facts["columns"])

    @property
    def task(self) -> Task:
        """What is judged: labels or captions."""
        return "captions" if self.facts.get("task") == "captions" else "labels"

    @property
    def has_truth(self) -> bool:
        """Whether it is known of any sample if its label (or caption) is right."""
        return bool(self.facts["truth"])

    @property
    def has_images(self) -> bool:
        """Whether samples have images; without, there are only captions and what somebody measured."""
        return bool(self.facts.get("images", True))

    @property
    def splits(self) -> dict[str, int]:
        """Split → number of samples; empty where there are no splits."""
        return dict(self.facts["splits"])

    @property
    def content(self) -> str:
        """SHA-256 of the table: two data sets with the same hash give the same scores for the same images."""
        return str(self.facts["content"])

    @property
    def samples_file(self) -> Path:
        """The DuckDB file with tables ``samples`` and ``classes``."""
        return self.folder / str(self.facts["samples_file"])


@dataclass(frozen=True)
class Run:
    """A run: its folder and the facts of its run.json as they were when it was opened."""

    folder: Path
    facts: dict[str, Any]

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def workspace(self) -> Workspace:
        """Where it lies."""
        return Workspace(self.folder.parents[1])

    @property
    def dataset(self) -> str:
        """The name of the data set it scores."""
        return str(self.facts["dataset"])

    @property
    def number(self) -> int:
        """Its place in the order in which runs were begun, from 1, whatever the clock said; 0 of version 0.1.0."""
        return int(self.facts.get("number", 0))

    @property
    def main(self) -> str:
        """The signal that scores.duckdb is sorted by."""
        return str(self.facts["main"])

    @property
    def signals(self) -> list[str]:
        return list(self.facts["signals"])

    @property
    def config(self) -> dict[str, Any]:
        """What was asked for, as the run's hash sees it."""
        return dict(self.facts["config"])

    @property
    def size(self) -> int:
        """How many samples it scores."""
        return int(self.facts["samples"])

    @property
    def shards(self) -> list[Shard]:
        """The pieces it is done in, in order; each gives one part."""
        size = int(self.facts["shards"]["size"])
        starts = range(0, self.size, size)
        return [Shard(index, first, min(first + size, self.size)) for index, first in enumerate(starts)]

    @property
    def lock(self) -> Path:
        """Held (flock, exclusive) by the process that is working on the run."""
        return self.folder / "lock"

    def part(self, shard: Shard) -> Path:
        """The Parquet file of a shard; it exists if and only if the shard is done."""
        return self.folder / "parts" / f"{shard.index:05}.parquet"

    @property
    def parts(self) -> list[Path]:
        """Finished parts, in order. Looks at the disk each time."""
        return sorted((self.folder / "parts").glob("[0-9]*.parquet"))

    @property
    def missing(self) -> list[Shard]:
        """The shards that are not done. Looks at the disk each time."""
        return [shard for shard in self.shards if not self.part(shard).exists()]

    @property
    def scores_file(self) -> Path | None:
        """The published DuckDB file; None until the run is published."""
        name = self.facts.get("published")
        return self.folder / str(name) if name else None

    @property
    def counts(self) -> dict[str, int]:
        """``scored`` and ``not_scored``; empty until the run is published."""
        return dict(self.facts.get("counts", {}))

    @property
    def check(self) -> dict[str, Any] | None:
        """The reference check; None until the run is published."""
        return self.facts.get("check")

    @property
    def error(self) -> str | None:
        """The sentence that the run ended with, where it failed."""
        return self.facts.get("error")

    @property
    def state(self) -> State:
        """published, running (somebody holds its lock), failed (it ended with a sentence) or interrupted."""
        if self.scores_file is not None:
            return "published"
        if is_locked(self.lock):
            return "running"
        return "failed" if self.error else "interrupted"


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock. It is tried shared and let go at once, so watchers never meet each other."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # nobody has begun, or there are no locks here
    return False


@dataclass(frozen=True)
class Workspace:
    """A workspace, which need not exist yet.

    Raises (from its methods):
        MimicError: an unsafe name; a data set or run that is not there (the sentence says which are); a file of a newer
            format than this version knows.
    """

    path: Path = DEFAULT

    @property
    def option(self) -> str:
        """How a suggested command names it, with a space before: nothing if every command takes it anyway."""
        usual = self.path == DEFAULT and Path(os.environ.get(ENVIRONMENT) or DEFAULT) == DEFAULT
        return "" if usual else f" --workspace {shlex.quote(str(self.path))}"

    @property
    def datasets_folder(self) -> Path:
        return self.path / "datasets"

    @property
    def runs_folder(self) -> Path:
        return self.path / "runs"

    @property
    def filters_folder(self) -> Path:
        return self.path / "filters"

    @property
    def cache_folder(self) -> Path:
        return self.path / "cache"

    def dataset(self, name: str) -> Dataset:
        """The data set of that name."""
        folder = self.datasets_folder / check_name("data set", name)
        facts = _facts(folder / "dataset.json")
        if facts is None:
            known = [dataset.name for dataset in self.datasets()]
            raise MimicError(self._unknown("data set", name, known, f"mimic import PATH{self.option}"))
        return Dataset(folder, facts)

    def datasets(self) -> list[Dataset]:
        """Every data set, by name."""
        return [Dataset(folder, facts) for folder, facts in _entries(self.datasets_folder, "dataset.json")]

    def run(self, run: str) -> Run:
        """The run of that id."""
        folder = self.runs_folder / check_name("run", run)
        facts = _facts(folder / "run.json")
        if facts is None:
            known = [run.id for run in self.runs()]
            raise MimicError(self._unknown("run", run, known, f"mimic score DATASET{self.option} …"))
        return Run(folder, facts)

    def runs(self, dataset: str | None = None) -> list[Run]:
        """Every run, or those of one data set, the newest first."""
        runs = [Run(folder, facts) for folder, facts in _entries(self.runs_folder, "run.json")]
        chosen = [run for run in runs if dataset is None or run.dataset == dataset]
        return sorted(chosen, key=lambda run: (run.number, run.facts["created"], run.id), reverse=True)

    def published(self, dataset: str | None = None) -> list[Run]:
        """The published runs, the one to go by unasked first.

        Those that scored come first, the newest first, then imported columns, then training runs: what a training saw
        of its samples under way is no score of a data set by a reference.
        """
        found = [run for run in self.runs(dataset) if run.state == "published"]
        return sorted(found, key=lambda run: _LATER.get(str(run.facts.get("kind")), 0))

    def filters(self) -> list[Path]:
        """The files of the named filters, by name."""
        return sorted(self.filters_folder.glob("[!.]*.json"))

    def _unknown(self, kind: str, name: str, known: list[str], command: str) -> str:
        if not known:
            return f"no {kind} {name!r} in the workspace {self.path}: it has none yet; `{command}` makes one"
        listed = ", ".join(known[:10]) + (" …" if len(known) > 10 else "")
        return f"no {kind} {name!r} in the workspace {self.path}: it has {listed}"


def read_facts(path: Path, fields: Mapping[str, type | tuple[type, ...]] | None = None) -> dict[str, Any]:
    """The object in a JSON file of a workspace, whichever version wrote it; one that says no format is of format 1.

    Args:
        fields: what it must hold, and of which type.

    Raises:
        MimicError: it is not valid JSON, of a newer format than this version reads, or lacks a field.
        FileNotFoundError: there is no such file.
    """
    facts = read_json(path)
    form = facts.get("format", 1)
    if not isinstance(form, int) or form > FORMAT:
        raise MimicError(
            f"{path} was written by a newer version of mimic (its format is {form}; mimic {version('mimic-score')} "
            f"reads formats up to {FORMAT}): install the newer version, or import and score again in another workspace"
        )
    for name, kind in (fields or {}).items():
        if not isinstance(facts.get(name), kind):
            what = f"lacks the field {name!r}" if name not in facts else f"has no such field {name!r} as mimic writes"
            raise MimicError(f"{path} {what}: restore it, or remove it")
    return facts


def _facts(path: Path) -> dict[str, Any] | None:
    """The facts of a data set or run; None where there is no such file."""
    try:
        return read_facts(path, _FIELDS[path.name])
    except (FileNotFoundError, NotADirectoryError):
        return None


def _entries(folder: Path, file: str) -> list[tuple[Path, dict[str, Any]]]:
    found = []
    for path in sorted(folder.glob(f"[!.]*/{file}")):
        facts = _facts(path)
        if facts is not None:
            found.append((path.parent, facts))
    return found
