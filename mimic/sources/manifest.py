"""A manifest: a table (CSV, JSONL or Parquet) with a row an image.

Columns: path and label are needed; id (default: the path), truth and split are known; any other is kept as it came.
Paths are relative to the manifest's folder, or to a root that is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from mimic.data import Sample
from mimic.errors import MimicError
from mimic.images import is_there
from mimic.sources.listing import Listing, Root, class_order

NEEDED = ("path", "label")
KNOWN = ("id", "path", "label", "truth", "split")

_LOOKED_AT = 100


def read_manifest(path: Path, root: Path | None = None, classes: list[str] | None = None) -> Listing:
    """The rows of a manifest, in its order.

    Args:
        path: a .csv, .jsonl (or .ndjson) or .parquet file.
        root: what its paths are relative to; by default the manifest's folder.
        classes: class names in the order wanted; by default `class_order` of the labels.

    Raises:
        MimicError: an unknown ending; a file that is not what its ending says; a column missing; a row without a path;
            a path that leads out of the root; none of the first images where the root says.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise MimicError(
            f"{path} is no manifest by its ending: use one of {', '.join(READERS)}, or a class-folder tree"
        )
    try:
        table = reader(path)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise MimicError(f"{path} cannot be read as {path.suffix.lower()} ({reason}): check the file") from None
    table = _checked(path, table)
    allowed = Root(root or path.parent)

    def samples() -> Iterator[Sample]:
        return _samples(path, table, allowed)

    _refuse_wrong_root(path, allowed, list(islice(samples(), _LOOKED_AT)))
    labels = pc.unique(table["label"]).to_pylist()
    names = classes or class_order(label for label in labels if label)
    columns = {field.name: field.type for field in table.schema if field.name not in KNOWN}
    return Listing("manifest", path.resolve(), allowed.path, names, samples, columns)


def _csv(path: Path) -> pa.Table:
    # Ours are text whatever they look like: "01" is not 1, and a class may be called "NA".
    types = {name: pa.string() for name in KNOWN}
    return pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types=types),
    )


READERS: dict[str, Callable[[Path], pa.Table]] = {
    ".csv": _csv,
    ".jsonl": pyarrow.json.read_json,
    ".ndjson": pyarrow.json.read_json,
    ".parquet": lambda path: pyarrow.parquet.ParquetFile(path).read(),
}


def _checked(path: Path, table: pa.Table) -> pa.Table:
    """The table with our columns as text and the others in types that a database has."""
    missing = [name for name in NEEDED if name not in table.column_names]
    present = ", ".join(table.column_names) or "none"
    if missing:
        raise MimicError(
            f"{path} has no column {' and no column '.join(missing)} (it has {present}): "
            "a manifest needs path and label, and may have id, truth and split"
        )
    if len(set(table.column_names)) < len(table.column_names):
        raise MimicError(f"{path} has two columns of the same name: rename one of them")
    if not table.num_rows:
        raise MimicError(f"{path} has no rows, so there is nothing to import")
    columns = {
        name: _text(path, name, table[name]) if name in KNOWN else _plain(table[name]) for name in table.column_names
    }
    return pa.table(columns)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    if pa.types.is_null(column.type):
        return column.cast(pa.string())
    if pa.types.is_float16(column.type):
        return column.cast(pa.float32())
    return column


def _text(path: Path, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
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


def _samples(path: Path, table: pa.Table, allowed: Root) -> Iterator[Sample]:
    further = [name for name in table.column_names if name not in KNOWN]
    number = 0
    for batch in table.to_batches(max_chunksize=50_000):
        columns = {name: batch.column(name).to_pylist() for name in batch.schema.names}
        nothing = [None] * batch.num_rows
        known = [columns.get(name, nothing) for name in KNOWN]
        for row, (own_id, file, label, truth, split) in enumerate(zip(*known, strict=True)):
            if not file:
                raise MimicError(f"row {number + 1} of {path} has no path: every row needs one")
            relative = allowed.relative(file)
            extra = {name: columns[name][row] for name in further}
            yield Sample(number, own_id or relative, relative, label or None, truth or None, split or None, extra)
            number += 1


def _refuse_wrong_root(path: Path, allowed: Root, first: list[Sample]) -> None:
    paths = [sample.path for sample in first if sample.path is not None]
    if not any(is_there(allowed.path, each) for each in paths):
        raise MimicError(
            f"none of the first {len(paths)} images of {path} is there (e.g. {allowed.path / paths[0]}): "
            "give the folder that its paths are relative to with --root"
        )
