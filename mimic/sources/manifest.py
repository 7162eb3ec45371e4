"""A manifest: a table (CSV, TSV, JSONL or Parquet) with a row an image.

Columns: path, and label or caption, are needed; id (default: the path), truth and split are known, and beside a caption
caption_group and fault; any other is kept as it came. A table with both a label and a caption is one of labels, where
the caption is a further column. A list of captions, or a path in several rows, makes one sample a caption, grouped.
Paths are relative to the manifest's folder, or to a root that is given.

Other names for path and caption that are in use are understood: open_clip's, Hugging Face's imagefolder's. A table with
url and no path is of images that were downloaded already (see `mimic.sources.cached`).
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from mimic.data import Sample, Task
from mimic.errors import MimicError
from mimic.images import is_there
from mimic.sources import cached
from mimic.sources.listing import Found, Listing, Root, class_order
from mimic.sources.text import LONGEST, clean
from mimic.storage import Location

LABELS = ("id", "path", "label", "truth", "split")
CAPTIONS = ("id", "path", "caption", "caption_group", "fault", "split")
# A column that is missing is looked for under these names.
OTHERWISE = {
    "path": ("file_name", "filepath", "image_path"),
    "caption": ("captions", "text", "title"),
    "id": ("uid",),
}

_LOOKED_AT = 100
_BLOCK = 64 << 20  # bytes that are parsed at once: a row may not be longer
# JSON within JSON. Arrow's reader calls itself for each, and takes the process down at some thousands.
_DEEPEST = 64
_STRINGS, _BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"'), re.compile(rb"[\[\]{}]")
_ROWS_A_BYTE = 100  # the paths of different images are never packed so well


def read_manifest(path: Location, root: Location | None = None, classes: list[str] | None = None) -> Listing:
    """The rows of a manifest, in its order.

    Args:
        path: a .csv, .tsv, .jsonl (or .ndjson) or .parquet file.
        root: what its paths are relative to; by default the manifest's folder.
        classes: class names in the order wanted; by default `class_order` of the labels.

    Raises:
        MimicError: an unknown ending; a file that is not what its ending says; a column missing; a row without a path;
            a path that leads out of the root; none of the first images where the root says.
    """
    return listing_of(path, read_table(path), root or path.parent, classes)


def read_table(path: Location) -> pa.Table:
    """A manifest's columns as they came.

    Raises:
        MimicError: an unknown ending; a file that is not what its ending says.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise MimicError(
            f"{path} is no manifest by its ending: use one of {', '.join(READERS)}, a class-folder tree, or shards"
        )
    try:
        with here(path) as file:
            table = reader(file)
        len(table.column_names)  # each is read as text now, if it is text
        return table
    except (pa.ArrowException, ValueError, MemoryError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MimicError(f"{path} cannot be read as {path.suffix.lower()} ({reason}): check the file") from None


def listing_of(path: Location, table: pa.Table, root: Location, classes: list[str] | None = None) -> Listing:
    """The samples of a manifest that has been read; arguments and errors as in `read_manifest`."""
    allowed, found = Root(root), Found()
    if not {"path", *OTHERWISE["path"]} & set(table.column_names) and cached.has_cached(table):
        table = cached.with_paths(path, table, allowed.path, found)
    table, task = _checked(path, table)
    known = CAPTIONS if task == "captions" else LABELS

    def samples() -> Iterator[Sample]:
        return _captions(path, table, allowed) if task == "captions" else _labels(path, table, allowed)

    if not found.counts:  # a cache that lacks some has been looked through already
        _refuse_wrong_root(path, allowed, list(islice(samples(), _LOOKED_AT)))
    labels = pc.unique(table["label"]).to_pylist() if task == "labels" else []
    names = classes or class_order(label for label in labels if label)
    columns = {field.name: field.type for field in table.schema if field.name not in known}
    return Listing("manifest", path.resolve(), allowed.path, names, samples, columns, task, found)


@contextmanager
def here(path: Location) -> Iterator[Path]:
    """A table as a file of this machine: one on a server is copied for as long as it is read."""
    if isinstance(path, Path):
        yield path
        return
    with NamedTemporaryFile(suffix=path.suffix) as copy, path.open() as far:
        shutil.copyfileobj(far, copy, 8 << 20)
        copy.flush()
        yield Path(copy.name)


def _csv(path: Path, delimiter: str = ",") -> pa.Table:
    # Ours are text whatever they look like: "01" is not 1, and a class may be called "NA".
    texts = {*LABELS, *CAPTIONS, *cached.COLUMNS, *(name for names in OTHERWISE.values() for name in names)}
    return pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, delimiter=delimiter),
        convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(texts, pa.string())),
    )


def _jsonl(path: Path) -> pa.Table:
    with path.open("rb") as file:
        while line := file.readline(_BLOCK):
            if len(line) == _BLOCK or _depth(line) > _DEEPEST:
                raise pa.ArrowInvalid(f"a row is longer than {_BLOCK >> 20} MiB, or nested deeper than {_DEEPEST}")
    return pyarrow.json.read_json(path)


def _depth(line: bytes) -> int:
    """How deep a row of JSON is nested, counted to `_DEEPEST` + 1 at most."""
    depth = deepest = 0
    if line.count(b"[") + line.count(b"{") > _DEEPEST:
        for bracket in _BRACKETS.finditer(_STRINGS.sub(b"", line)):
            depth += 1 if bracket.group() in b"[{" else -1
            deepest = max(deepest, depth)
            if deepest > _DEEPEST:
                break
    return deepest


def _parquet(path: Path) -> pa.Table:
    file, size = pyarrow.parquet.ParquetFile(path), path.stat().st_size
    if (rows := file.metadata.num_rows) > _ROWS_A_BYTE * size:
        raise pa.ArrowInvalid(f"it says that it has {rows:,} rows in {size:,} bytes")
    return file.read()


READERS: dict[str, Callable[[Path], pa.Table]] = {
    ".csv": _csv,
    ".tsv": lambda path: _csv(path, "\t"),
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".parquet": _parquet,
}


def _checked(path: Location, table: pa.Table) -> tuple[pa.Table, Task]:
    """The table with our columns as text and the others in types that a database has; what it is a table of."""
    if len(set(table.column_names)) < len(table.column_names):
        raise MimicError(f"{path} has two columns of the same name: rename one of them")
    if not table.num_rows:
        raise MimicError(f"{path} has no rows, so there is nothing to import")
    task: Task = "labels" if "label" in table.column_names else "captions"
    present = ", ".join(table.column_names)
    table = table.rename_columns(_names(table.column_names, CAPTIONS if task == "captions" else ("path",)))
    missing = [
        name for name in ("path", "caption" if task == "captions" else "label") if name not in table.column_names
    ]
    if missing:
        wanted = " and no column ".join(missing).replace("caption", "label or caption")
        raise MimicError(
            f"{path} has no column {wanted} (it has {present}): "
            "a manifest needs path, and label or caption, and may have id, truth and split"
        )
    if task == "captions" and pa.types.is_list(table["caption"].type):
        table = _one_a_caption(table)
    known = CAPTIONS if task == "captions" else LABELS
    columns = {
        name: _text(path, name, table[name]) if name in known else _plain(table[name]) for name in table.column_names
    }
    return pa.table(columns), task


def _names(names: list[str], wanted: tuple[str, ...]) -> list[str]:
    """The columns' names, with ours for those that are called otherwise."""
    ours = {
        other: name
        for name in wanted
        if name not in names
        for other in [other for other in OTHERWISE.get(name, ()) if other in names][:1]
    }
    return [ours.get(name, name) for name in names]


def _one_a_caption(table: pa.Table) -> pa.Table:
    """A row a caption of a column with lists of them; a row without any keeps one, without a caption."""
    lists = table["caption"].combine_chunks()
    lists = pc.if_else(pc.equal(pc.fill_null(pc.list_value_length(lists), 0), 0), pa.scalar([None], lists.type), lists)
    rows = table.drop_columns(["caption"]).take(pc.list_parent_indices(lists))
    return rows.append_column("caption", pc.list_flatten(lists))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    if pa.types.is_null(column.type):
        return column.cast(pa.string())
    if pa.types.is_float16(column.type):
        return column.cast(pa.float32())
    return column


def _text(path: Location, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as strings; whole numbers without a decimal point, for pandas turns integers with a gap into floats."""
    column = _plain(column)
    try:
        if pa.types.is_floating(column.type):
            column = column.cast(pa.int64())
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise MimicError(
            f"the column {name} of {path} holds {column.type}, which is no text: write it as text or as whole numbers"
        ) from None


def _rows(
    path: Location, table: pa.Table, allowed: Root, known: tuple[str, ...]
) -> Iterator[tuple[int, str, list[str | None], dict[str, object]]]:
    """(place, path relative to the root, the columns of ours, the further ones) of every row."""
    further = [name for name in table.column_names if name not in known]
    number = 0
    for batch in table.to_batches(max_chunksize=50_000):
        try:
            columns = {name: batch.column(name).to_pylist() for name in batch.schema.names}
        except (OverflowError, ValueError) as error:
            raise MimicError(
                f"{path} holds a date or text that cannot be read ({error}): mend or leave it out"
            ) from None
        nothing = [None] * batch.num_rows
        ours = zip(*(columns.get(name, nothing) for name in known), strict=True)
        files = columns["path"]
        for row, (file, values) in enumerate(zip(files, ours, strict=True)):
            if not file:
                raise MimicError(f"row {number + 1} of {path} has no path: every row needs one")
            yield number, allowed.relative(file), list(values), {name: columns[name][row] for name in further}
            number += 1


def _labels(path: Location, table: pa.Table, allowed: Root) -> Iterator[Sample]:
    for number, file, (own, _, label, truth, split), extra in _rows(path, table, allowed, LABELS):
        yield Sample(number, own or file, file, label or None, truth or None, split or None, extra)


def _captions(path: Location, table: pa.Table, allowed: Root) -> Iterator[Sample]:
    """Rows of one image are a group. Where they share an id, the first has it, the next is ``ID#1``, and so on."""
    images = pc.value_counts(table["path"].combine_chunks())
    shared = set(images.field("values").filter(pc.greater(images.field("counts"), 1)).to_pylist())
    shared = {allowed.relative(file) for file in shared if file}
    times: Counter[str] = Counter()
    for number, file, (own, _, caption, group, fault, split), extra in _rows(path, table, allowed, CAPTIONS):
        name = clean(own or file)
        if file in shared:
            group = group or file
            times[name] += 1
            name = f"{name}#{times[name] - 1}" if times[name] > 1 else name
        words = None if caption is None else clean(caption[:LONGEST])
        yield Sample(
            number,
            name,
            file,
            split=split or None,
            extra=extra,
            caption=words,
            caption_group=group or None,
            fault=fault,
        )


def _refuse_wrong_root(path: Location, allowed: Root, first: list[Sample]) -> None:
    paths = [sample.path for sample in first if sample.path is not None]
    if not any(is_there(allowed.path, each) for each in paths):
        raise MimicError(
            f"none of the first {len(paths)} images of {path} is there (e.g. {allowed.path}/{paths[0]}): "
            "give the folder that its paths are relative to with --root"
        )
