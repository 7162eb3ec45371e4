"""Hugging Face data sets with their images inside: folders of `save_to_disk`, and Parquet as their Hub keeps it.

Nothing is unpacked from an Arrow file: it is not compressed, so a sample's path says where in it the image lies, as in
a tar (see `mimic.images`). Parquet is compressed: its images are copied once, byte for byte, to Arrow files of ours;
so it may lie on a server, as on the Hub itself.
Both are read by pyarrow, for the places of the bytes are what the package `datasets` does not tell.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mimic.errors import MimicError
from mimic.images import member_path
from mimic.sources.listing import Found, Listing, Root
from mimic.sources.manifest import OTHERWISE, here, listing_of
from mimic.sources.text import clean
from mimic.storage import Location, Remote, children

_STATE, _SPLITS = "state.json", "dataset_dict.json"
_SHARD = re.compile(r"(.+?)-\d{5}-of-\d{5}.*\.parquet")  # train-00000-of-00002.parquet, as the Hub names them
_ROWS = 256  # copied at once
_MAGIC = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"GIF8": ".gif", b"BM": ".bmp"}
_BROKEN = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, OSError, ValueError)


@dataclass(frozen=True)
class _File:
    """One file of a data set, and the split that it belongs to."""

    path: Location
    split: str | None


def is_hugging_face(path: Location) -> bool:
    """Whether a path is a folder of `save_to_disk`, or an Arrow or Parquet file, or a folder of such, with images.

    On a server only Parquet is.
    """
    try:
        if isinstance(path, Path) and path.is_dir() and ((path / _STATE).is_file() or (path / _SPLITS).is_file()):
            return True
        files = _files(path)
        return bool(files) and _image_column(_schema(files[0].path)) is not None
    except (*_BROKEN, MimicError):
        return False


def read_hugging_face(path: Location, into: Path | None, classes: list[str] | None = None) -> Listing:
    """The rows of all splits, in the order of splits and files.

    A column ``label``, or the only one of class labels, is the label; without one, a column of captions is judged.
    Other columns are kept as they came, but for further images and bytes.

    Args:
        path: the folder or file; on a server, of Parquet.
        into: where the images of Parquet files are copied to; None: they are refused.
        classes: class names in the order wanted; by default as the data set's own features name them.

    Raises:
        MimicError: a broken or compressed file; no image column; several columns of class labels and none called label.
    """
    files = _files(path)
    if not files:
        raise MimicError(f"{path} names no files of data: save the data set again with save_to_disk")
    found, tables, names = Found(), [], None
    root = path if path.is_dir() else path.parent
    if files[0].path.suffix == ".parquet":
        if into is None:
            raise MimicError(f"{path} is compressed, and there is nowhere to copy its images to: import it")
        into.mkdir(parents=True, exist_ok=True)
        root = into
    allowed, begun = Root(root), Counter[str | None]()
    for file in files:
        with here(file.path) as local:
            try:
                table, own = _table(file, local, allowed, found, begun)
            except _BROKEN as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise MimicError(
                    f"{file.path} cannot be read as {file.path.suffix} ({reason}): save it again"
                ) from None
        tables.append(table)
        names = names or own
    try:
        whole = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise MimicError(f"the files of {path} have different columns ({str(error).splitlines()[0]})") from None
    if not whole.num_rows and found.counts:
        raise MimicError(f"{path} names its images and has none inside: save it with save_to_disk, which puts them in")
    return replace(listing_of(path, whole, allowed.path, classes or names), kind="hugging face", found=found)


def _files(path: Location) -> list[_File]:
    if path.suffix in (".arrow", ".parquet") and path.is_file():
        return [_File(path, None)] if path.suffix == ".parquet" or isinstance(path, Path) else []
    if not path.is_dir():
        return []
    if isinstance(path, Path) and (path / _SPLITS).is_file():
        splits = [split for split in _json(path / _SPLITS).get("splits", []) if isinstance(split, str)]
        return [_File(file.path, split) for split in splits for file in _saved(path, path / split)]
    if isinstance(path, Path) and (path / _STATE).is_file():
        return _saved(path, path)
    found = _parquet(path)
    return found if found or "data" not in children(path)[1] else _parquet(path / "data")


def _parquet(folder: Location) -> list[_File]:
    """The Parquet files right in a folder, and the splits that their names tell."""
    names = [name for name in children(folder)[0] if name.endswith(".parquet") and not name.startswith(".")]
    return [_File(folder / name, named[1] if (named := _SHARD.fullmatch(name)) else None) for name in names]


def _saved(root: Path, folder: Path) -> list[_File]:
    """The files that a folder of `save_to_disk` names, none of them outside the root."""
    state = _json(folder / _STATE)
    if state.get("_indices_data_files"):
        raise MimicError(f"{folder} is a selection by row numbers: save it again with a newer version of datasets")
    split = state.get("_split") if isinstance(state.get("_split"), str) else None
    allowed = Root(root)
    names = [each.get("filename") for each in state.get("_data_files", []) if isinstance(each, dict)]
    inside = [allowed.relative(f"{folder.resolve()}/{name}") for name in names if isinstance(name, str)]
    return [_File(root.resolve() / name, split) for name in inside]


def _json(file: Path) -> dict[str, Any]:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MimicError(f"{file} cannot be read ({str(error)[:100]}): save the data set again") from None
    return told if isinstance(told, dict) else {}


def _schema(file: Location) -> pa.Schema:
    if isinstance(file, Remote):
        with file.open() as opened:
            return pq.read_schema(opened)
    if file.suffix == ".parquet":
        return pq.read_schema(file)
    with pa.memory_map(str(file)) as mapped:
        return pa.ipc.open_stream(mapped).schema


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """What the data set says of its columns, beside their types."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return {name: each for name, each in told.items() if isinstance(each, dict)} if isinstance(told, dict) else {}


def _image_column(schema: pa.Schema) -> str | None:
    """The column called image, or the first with bytes as Hugging Face keeps images."""
    images = [field.name for field in schema if pa.types.is_struct(field.type) and _is_image(field.type)]
    return "image" if "image" in images else next(iter(images), None)


def _is_image(kind: pa.StructType) -> bool:
    own = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
    return set(own) <= {"bytes", "path"} and "bytes" in own and _is_bytes(own["bytes"])


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Columns of class labels → names in the order of their codes."""
    told = _features(schema)
    labels = {name: told[name].get("names") for name in schema.names if told.get(name, {}).get("_type") == "ClassLabel"}
    return {name: [clean(str(each)) for each in names] for name, names in labels.items() if isinstance(names, list)}


def _table(
    file: _File, local: Path, allowed: Root, found: Found, begun: Counter[str | None]
) -> tuple[pa.Table, list[str] | None]:
    """A file's rows as a manifest would have them, and the names of its label's classes.

    Args:
        file: as it is called.
        local: the same on this machine.
        begun: how many rows of each split are in the files before; told of this one's.
    """
    schema = _schema(local)
    column = _image_column(schema)
    if column is None:
        raise MimicError(
            f"{file.path} has no column of images inside (it has {', '.join(schema.names)}): "
            "cast one with datasets.Image(), or import a manifest with paths"
        )
    wanted = [
        field.name for field in schema
        if not _is_bytes(field.type) and not (pa.types.is_struct(field.type) and _is_image(field.type))
    ]  # fmt: skip
    if file.path.suffix == ".parquet":
        rows = pq.ParquetFile(local).read(columns=wanted)
        places = _places(_copied(local, column, Path(str(allowed.path))), column, allowed)
    else:
        with pa.memory_map(str(local)) as mapped:
            rows = pa.ipc.open_stream(mapped).read_all().select(wanted)
        places = _places(local, column, allowed)
    rows, names = _labelled(file.path, rows, _class_names(schema))
    prefix = f"{file.split}/" if file.split else ""
    paths, first = list(places), begun[file.split]
    begun[file.split] += len(paths)
    ours: dict[str, list[str | None]] = {"path": paths}
    if not {"id", *OTHERWISE["id"]} & set(rows.column_names):
        ours["id"] = [f"{prefix}{first + row}" for row in range(len(paths))]
    if file.split and "split" not in rows.column_names:
        ours["split"] = [file.split] * len(paths)
    for name, values in ours.items():
        rows = rows.append_column(name, pa.array(values, pa.string()))
    there = pa.array([path is not None for path in paths])
    for row in np.flatnonzero(~np.array(there)):
        found.add("rows without an image inside", f"{file.path.name}: row {row}")
    return rows.filter(there), names


def _labelled(file: Location, rows: pa.Table, classes: dict[str, list[str]]) -> tuple[pa.Table, list[str] | None]:
    """The rows with class names for their codes, the label called so, and no column that is taken for ours."""
    taken = [name for name in ("path", *OTHERWISE["path"]) if name in rows.column_names]
    rows = rows.rename_columns([f"{name}_given" if name in taken else name for name in rows.column_names])
    classes = {f"{name}_given" if name in taken else name: each for name, each in classes.items()}
    for name, names in classes.items():
        codes = rows[name].combine_chunks()
        known = pc.if_else(pc.fill_null(pc.less(codes, 0), True), None, codes)
        if len(codes) and (pc.max(known).as_py() or 0) >= len(names):
            raise MimicError(
                f"the column {name} of {file} has codes beyond its {len(names)} class names: check the file"
            )
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(names, pa.string()).take(known))
    if "label" in rows.column_names:
        return rows, classes.get("label")
    captions = {"caption", *OTHERWISE["caption"]} & set(rows.column_names)
    if len(classes) > 1 and not captions:
        raise MimicError(
            f"{file} has the class labels {', '.join(classes)} and none is called label: "
            "give the one that is to be judged that name, with rename_column"
        )
    if len(classes) == 1 and not captions:
        (name,) = classes
        return rows.rename_columns(["label" if each == name else each for each in rows.column_names]), classes[name]
    return rows, None


def _copied(file: Path, column: str, into: Path) -> Path:
    """A Parquet file's images as an Arrow file, named after its contents; written once, whole or not at all."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    copy = into / f"{digest[:20]}.arrow"
    if copy.exists():
        return copy
    temporary = into / f".{copy.stem}.{os.getpid()}.tmp"  # nobody else's, who may be importing the same file
    source = pq.ParquetFile(file)
    schema = pa.schema([source.schema_arrow.field(column).remove_metadata()])
    try:
        with temporary.open("wb") as sink:
            with pa.ipc.new_stream(sink, schema) as writer:
                for batch in source.iter_batches(_ROWS, columns=[column]):
                    writer.write_batch(pa.record_batch(batch.columns, schema=schema))
            sink.flush()
            os.fsync(sink.fileno())
        temporary.replace(copy)
    except OSError as error:
        if error.errno is None:  # of a broken Parquet file
            raise
        raise MimicError(
            f"cannot write {copy} ({os.strerror(error.errno)}): make room or permit it, then import again"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return copy


def _ending(whole: pa.Buffer, first: int) -> str:
    """What an image without a name would end in, by its first bytes."""
    begins = whole[first : first + 12].to_pybytes()
    return next((ending for magic, ending in _MAGIC.items() if begins.startswith(magic)), "")


def _places(file: Path, column: str, allowed: Root) -> Iterator[str | None]:
    """Where in an Arrow file each row's image lies; None where it has none."""
    name = allowed.relative(str(file.resolve()))
    with pa.memory_map(str(file)) as mapped:
        whole = mapped.read_buffer()
        mapped.seek(0)
        row = 0
        for batch in pa.ipc.open_stream(mapped):
            images = batch.column(batch.schema.get_field_index(column))
            images.validate(full=True)  # a stranger's offsets: none of them may lead out of its buffer
            fields = [images.type.field(i).name for i in range(images.type.num_fields)]
            parts = dict(zip(fields, images.flatten(), strict=True))
            data, known = parts["bytes"], np.array(parts["bytes"].is_valid())
            _, offsets, values = data.buffers()
            first = values.address - whole.address if values is not None and values.size else 0
            if not 0 <= first <= whole.size:
                raise MimicError(f"{file} is a compressed Arrow file: save it again with save_to_disk, which is not")
            kind = np.int64 if pa.types.is_large_binary(data.type) else np.int32
            ends = first + np.frombuffer(offsets, kind)[data.offset : data.offset + len(data) + 1].astype(np.int64)
            called = parts["path"].to_pylist() if "path" in parts else [None] * len(data)
            for i, here in enumerate(known):
                said = clean(called[i] or "").rpartition("/")[2] or f"{row}{_ending(whole, int(ends[i]))}"
                yield member_path(name, int(ends[i]), int(ends[i + 1] - ends[i]), said) if here else None
                row += 1
