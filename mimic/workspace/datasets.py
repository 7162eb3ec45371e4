"""Data sets of a workspace: the table of samples, written once; only the images' root may move later.

samples.duckdb   samples(sample, id, path, label, label_code, truth, split, further columns …), rowid = sample;
                 a data set of captions has caption, caption_group and fault after split
                 classes(code, name)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from mimic.data import Sample, Task
from mimic.errors import MimicError
from mimic.files import finish, make_folder, needing_room, read_json, remove, temporary_name, write_json
from mimic.images import is_there
from mimic.storage import Location, reached
from mimic.workspace.files import SAMPLES_FILE, building, is_sound
from mimic.workspace.layout import FORMAT, Dataset, Workspace, check_name
from mimic.workspace.samples import CAPTIONS, read_samples

RESERVED = ("sample", "id", "path", "label", "label_code", "truth", "split")

_CHUNK = 50_000
_JSON = json.JSONEncoder(default=str)


@dataclass(frozen=True)
class Source:
    """Where a data set was imported from: kept for people, never read again."""

    kind: str
    path: Location


def create_dataset(
    workspace: Workspace,
    name: str,
    samples: Iterable[Sample],
    classes: Sequence[str],
    source: Source,
    root: Location,
    columns: Mapping[str, pa.DataType] | None = None,
    task: Task = "labels",
) -> Dataset:
    """Write a data set. The same contents under the same name again give the data set that is there.

    Args:
        samples: numbered from 0 without a gap; read once, never held.
        classes: class names in the order of their codes; every label must be among them.
        root: the folder that the samples' paths are relative to.
        columns: further column → type. Every one is read from `Sample.extra`.
        task: what is judged. Of captions, the three columns of `CAPTIONS` are kept as well.

    Raises:
        MimicError: no samples; duplicate ids; a label without a class; a column that clashes with one of ours; a data
            set of that name with other contents; a folder that cannot be written.
    """
    columns = dict(columns or {})
    ours = RESERVED + (CAPTIONS if task == "captions" else ())
    _check_columns(columns, ours)
    tally = _Tally(classes, columns, task)
    return add_dataset(workspace, name, lambda folder: _write(folder, name, samples, tally, source, root))


def add_dataset(workspace: Workspace, name: str, write: Callable[[Path], dict[str, Any]]) -> Dataset:
    """A data set that appears whole or not at all.

    Args:
        write: writes samples.duckdb and dataset.json into a folder, and returns the facts of the latter.

    Raises:
        MimicError: a data set of that name with other contents; a folder that cannot be written.
    """
    check_name("data set", name)
    target = make_folder(workspace.datasets_folder) / name
    building_folder = temporary_name(target)
    try:
        with needing_room(target):
            building_folder.mkdir()
        facts = write(building_folder)
        if target.exists():
            return _same_or_refuse(workspace, name, facts, building_folder / SAMPLES_FILE)
        building_folder.rename(target)  # the data set appears whole
    finally:
        remove(building_folder)
    return workspace.dataset(name)


def relocate(dataset: Dataset, root: Location) -> Dataset:
    """Say where a data set's images lie now.

    Raises:
        MimicError: no such folder, or the first sample's file is not in it.
    """
    root = root.expanduser().resolve()
    with reached(root):
        if not root.is_dir():
            raise MimicError(f"{root} is not a folder: give the folder that the images' paths are relative to")
    first = read_samples(dataset, 0, 1)[0]
    if first.path is None:
        raise MimicError(f"data set {dataset.name!r} has no images, so there is nothing to move")
    if not is_there(root, first.path):
        raise MimicError(
            f"{root} does not hold {first.path}, the first image of data set {dataset.name!r}: "
            f"give the folder that corresponds to {dataset.root}"
        )
    facts = {**read_json(dataset.folder / "dataset.json"), "root": str(root)}
    write_json(dataset.folder / "dataset.json", facts)
    return Dataset(dataset.folder, facts)


def _check_columns(columns: Mapping[str, pa.DataType], ours: Sequence[str]) -> None:
    taken = set(ours)
    for column in columns:
        if not column or column.lower() in taken:  # SQL's column names know no case
            raise MimicError(
                f"the further column {column!r} clashes with another one (names are compared without case; "
                f"{', '.join(ours)} are ours): rename it in the manifest"
            )
        taken.add(column.lower())


def _same_or_refuse(workspace: Workspace, name: str, facts: Mapping[str, Any], samples: Path) -> Dataset:
    """The data set that is there; its table is replaced by the new one where it is damaged."""
    present = workspace.dataset(name)
    if present.content == facts["content"] and present.facts["root"] == facts["root"]:
        if not is_sound(present.samples_file):
            finish(samples, present.samples_file)
        return present
    if present.content == facts["content"]:
        raise MimicError(
            f"data set {name!r} is there with the same samples and root {present.root}: "
            f"if its images have moved, run `mimic relocate {name} --root {facts['root']}{workspace.option}`"
        )
    raise MimicError(
        f"data set {name!r} is there with other contents: choose another --dataset name, or delete {present.folder}"
    )


def _write(
    folder: Path,
    name: str,
    samples: Iterable[Sample],
    tally: _Tally,
    source: Source,
    root: Location,
) -> dict[str, Any]:
    classes, columns = tally.classes, tally.columns
    schema = samples_schema(columns, tally.task)
    with building(folder / SAMPLES_FILE) as connection:
        types = pa.RecordBatchReader.from_batches(schema, iter(()))
        connection.from_arrow(types).create("samples")
        rows = iter(samples)
        while chunk := list(islice(rows, _CHUNK)):
            batch = tally.table(chunk, schema)
            connection.register("chunk", batch)
            connection.execute("INSERT INTO samples SELECT * FROM chunk")
            connection.unregister("chunk")
        if not tally.samples:
            raise MimicError(f"{source.path} holds no samples, so there is nothing to import")
        refuse_duplicates(connection, source)
        connection.execute("CREATE TABLE classes (code INTEGER, name VARCHAR)")
        codes = pa.array(range(len(classes)), pa.int32())
        connection.register("names", pa.table({"code": codes, "name": pa.array(classes, pa.string())}))
        connection.execute("INSERT INTO classes SELECT * FROM names ORDER BY code")
    known: dict[str, Any] = {
        "samples": tally.samples,
        "task": tally.task,
        "images": tally.images,
        "classes": list(classes),
    }
    known |= {"columns": list(columns), "truth": tally.truth, "splits": tally.splits, "content": tally.digest()}
    return write_facts(folder, name, source, root, known)


def write_facts(folder: Path, name: str, source: Source, root: Location, known: Mapping[str, Any]) -> dict[str, Any]:
    """Write dataset.json beside samples.duckdb; what it says.

    Args:
        known: samples, task, images, classes, columns, truth, splits, content, as the properties of `Dataset`.
    """
    facts = {
        "format": FORMAT,
        "name": name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": {"kind": source.kind, "path": str(source.path)},
        "root": str(root.expanduser().resolve()),
        **known,
        "samples_file": SAMPLES_FILE,
    }
    write_json(folder / "dataset.json", facts)
    return facts


def samples_schema(columns: Mapping[str, pa.DataType], task: Task) -> pa.Schema:
    """The columns of the table ``samples``, in order."""
    text = pa.string()
    ours = [pa.field("sample", pa.int32()), pa.field("id", text), pa.field("path", text), pa.field("label", text)]
    ours += [pa.field("label_code", pa.int32()), pa.field("truth", text), pa.field("split", text)]
    if task == "captions":
        ours += [pa.field(column, text) for column in CAPTIONS]
    return pa.schema([*ours, *(pa.field(column, kind) for column, kind in columns.items())])


def refuse_duplicates(connection: duckdb.DuckDBPyConnection, source: Source) -> None:
    """
    Raises:
        MimicError: two rows of the table ``samples`` have one id.
    """
    # Hashes first, which are small: where no two are the same, no two ids are.
    rows, hashes = connection.execute("SELECT count(*), count(DISTINCT hash(id)) FROM samples").fetchall()[0]
    if rows == hashes:
        return
    twice = connection.execute(
        "SELECT id, count(*), min(sample) AS first FROM samples GROUP BY id HAVING count(*) > 1 ORDER BY first LIMIT 1"
    ).fetchone()
    if twice:
        raise MimicError(
            f"{source.path} has the id {twice[0]!r} {twice[1]} times: an id names one sample, "
            "so give each its own in a column `id`"
        )


@dataclass
class _Tally:
    """Turns samples into columns, and keeps count of what dataset.json says of them."""

    classes: Sequence[str]
    columns: Mapping[str, pa.DataType]
    task: Task
    samples: int = 0
    truth: bool = False
    images: bool = False
    splits: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._codes = {name: code for code, name in enumerate(self.classes)}
        self._hash = hashlib.sha256()

    def table(self, chunk: Sequence[Sample], schema: pa.Schema) -> pa.Table:
        rows = list(self._rows(chunk))
        data = zip(*rows, strict=True)
        return pa.table(
            [pa.array(values, kind) for values, kind in zip(data, schema.types, strict=True)], schema=schema
        )

    def digest(self) -> str:
        """SHA-256 of the rows as JSON lines, then of the classes' and columns' names."""
        final = self._hash.copy()
        final.update(json.dumps([list(self.classes), list(self.columns)]).encode())
        return final.hexdigest()

    def _rows(self, chunk: Sequence[Sample]) -> Iterator[list[Any]]:
        for sample in chunk:
            if sample.number != self.samples:
                raise ValueError(f"sample {sample.number} in place {self.samples}: numbers are dense from 0")
            code = None if sample.label is None else self._codes.get(sample.label)
            if sample.label is not None and code is None:
                raise MimicError(
                    f"{sample.id} has the label {sample.label!r}, which is not among the classes: add it to --classes"
                )
            self.samples += 1
            known = sample.fault if self.task == "captions" else sample.truth
            self.truth = self.truth or known is not None
            self.images = self.images or sample.path is not None
            if sample.split is not None:
                self.splits[sample.split] = self.splits.get(sample.split, 0) + 1
            row = [sample.number, sample.id, sample.path, sample.label, code, sample.truth, sample.split]
            if self.task == "captions":
                row += [sample.caption, sample.caption_group, sample.fault]
            row += [sample.extra.get(column) for column in self.columns]
            self._hash.update(_JSON.encode(row).encode() + b"\n")
            yield row
