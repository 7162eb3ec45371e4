"""Parquet files that are known to be what was written: a SHA-256 of the values, kept in the file's own metadata.

Parquet's page checksums leave its footer uncovered: of random flips of one bit in it, one in forty gave another table
without an error. Here the values that reading gives are compared with those that were written, whatever lies between.
A file without a digest is one of version 0.1.0, and taken as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mimic.errors import MimicError
from mimic.files import replacing

_DIGEST = b"sha256"


class DamagedFile(MimicError):
    """A file that is not what was written.

    Attributes:
        why: what is wrong with it, in some words.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} is damaged ({why})")
        self.why = why


def write_sealed(path: Path, table: pa.Table, metadata: Mapping[bytes, str]) -> None:
    """Write a table of numbers, booleans and texts with its digest, in one step.

    Args:
        metadata: further words to keep in the file; they are sealed too.
    """
    told = {key: value.encode() for key, value in metadata.items()}
    table = table.replace_schema_metadata(told)
    sealed = table.replace_schema_metadata(told | {_DIGEST: digest(table).encode()})
    with replacing(path) as temporary:
        # Parquet's minimum and maximum leave NaN out, and DuckDB would conclude from them that there is none.
        pq.write_table(sealed, temporary, write_statistics=False)


def read_sealed(path: Path) -> pa.Table:
    """The table as it was written.

    Raises:
        DamagedFile: it cannot be read, or holds other values.
    """
    try:
        # no threads: a damaged file must not be met twice
        table = pq.read_table(path, use_threads=False)
        told = dict(table.schema.metadata or {})
        expected = told.pop(_DIGEST, None)
        if expected is None or digest(table.replace_schema_metadata(told)).encode() == expected:
            return table.replace_schema_metadata(told)
    except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
        raise DamagedFile(path, str(error).splitlines()[0][:200] if str(error) else "unreadable") from None
    raise DamagedFile(path, "its values are not those that were written")


def digest(table: pa.Table) -> str:
    """SHA-256 of a table's metadata, names, types and values; NaN is NaN, and what lies under a null does not count."""
    found = hashlib.sha256(repr(sorted((table.schema.metadata or {}).items())).encode())
    for field, column in zip(table.schema, table.columns, strict=True):
        array = column.combine_chunks()
        found.update(f"{field.name} {field.type} {len(array)}".encode())
        found.update(np.packbits(array.is_null().to_numpy(zero_copy_only=False)).tobytes())
        known = array.drop_null()
        if pa.types.is_string(field.type):
            found.update(repr(known.to_pylist()).encode())
            continue
        values = known.to_numpy(zero_copy_only=False)
        if values.dtype.kind == "f":
            values = np.where(np.isnan(values), values.dtype.type(np.nan), values)
        found.update(values.tobytes())
    return found.hexdigest()
