"""Hugging Face's imagefolder: images beside a metadata.csv, .jsonl or .parquet whose file_name says which is which.

FOLDER/metadata.jsonl                     {"file_name": "0001.png", "text": "a red cube"}
FOLDER/<split>/metadata.jsonl             or one in each split's folder
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from mimic.errors import MimicError
from mimic.sources.listing import Listing
from mimic.sources.manifest import OTHERWISE, listing_of, read_table
from mimic.storage import Location, children

NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def is_image_folder(path: Location) -> bool:
    """Whether a folder, or a folder in it, has a metadata file."""
    return path.is_dir() and bool(_metadata(path))


def read_image_folder(path: Location, root: Location | None = None, classes: list[str] | None = None) -> Listing:
    """The rows of the metadata; a split's folder names the split. Arguments and errors as in `read_manifest`."""
    found = _metadata(path)
    tables = [_placed(path, file, read_table(file)) for file in found]
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise MimicError(f"the columns of {found[0]} and the others in {path} do not match ({reason})") from None
    return listing_of(path, table, root or path, classes)


def _metadata(path: Location) -> list[Location]:
    """The metadata file of the folder itself, or those of the folders in it, by name."""
    files, folders = children(path)
    if own := [path / name for name in NAMES if name in files]:
        return own[:1]
    below = {folder: children(path / folder)[0] for folder in folders if not folder.startswith(".")}
    return [
        path / folder / last
        for folder, names in below.items()
        if (last := next((n for n in NAMES if n in names), None))
    ]


def _placed(path: Location, file: Location, table: pa.Table) -> pa.Table:
    """The table with paths relative to the whole folder, and the split."""
    if file.parent == path:
        return table
    split = file.parent.name
    for name in ("path", *OTHERWISE["path"]):
        if name in table.column_names:
            place = table.column_names.index(name)
            paths = pc.binary_join_element_wise(pa.scalar(split), table[name].cast(pa.string()), "/")
            table = table.set_column(place, name, paths)
            break
    if "split" not in table.column_names:
        table = table.append_column("split", pa.array([split] * table.num_rows, pa.string()))
    return table
