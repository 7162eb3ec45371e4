"""DataComp's metadata: Parquet files with a row a pair, its uid, text, sizes and CLIP scores, and no image.

Known by what they have: uid, text and a clip_*_similarity_score; and by what they lack: a path. 12.8 million rows are
its smallest pool, so nothing is read here but the files' footers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mimic.errors import MimicError
from mimic.sources.manifest import OTHERWISE

# Column → signal, the one that runs are sorted by first.
SCORES = {"clip_l14_similarity_score": "clip_l14", "clip_b32_similarity_score": "clip_b32"}
# Further columns of the data set, with their types.
COLUMNS = {"original_width": pa.int32(), "original_height": pa.int32()}


@dataclass(frozen=True)
class Metadata:
    """Files of one schema.

    Attributes:
        path: what was given.
        files: in order.
        rows: of each.
        columns: the further columns that are there.
        scores: column → signal, of those that are there.
    """

    path: Path
    files: list[Path]
    rows: list[int]
    columns: dict[str, pa.DataType]
    scores: dict[str, str]


def is_metadata(path: Path) -> bool:
    """Whether a path is such a file, or a folder that holds some right in it and nothing beside DataComp's."""
    try:
        files = _files(path)
        return bool(files) and _known(pq.read_schema(files[0]).names)
    except (pa.ArrowInvalid, OSError):
        return False


def read_metadata(path: Path) -> Metadata:
    """What the files hold, by their footers.

    Raises:
        MimicError: a file that cannot be read, or that is no metadata of DataComp's.
    """
    files, names = _files(path), set[str]()
    rows: list[int] = []
    for file in files:
        try:
            footer = pq.read_metadata(file)
        except (pa.ArrowInvalid, OSError) as error:
            raise MimicError(f"{file} cannot be read as .parquet ({str(error).splitlines()[0]})") from None
        found = footer.schema.to_arrow_schema().names
        if not _known(found):
            raise MimicError(f"{file} has no uid, text and CLIP scores as {files[0]} has: leave it out of the folder")
        names = names & set(found) if rows else set(found)
        rows.append(footer.num_rows)
    columns = {name: kind for name, kind in COLUMNS.items() if name in names}
    return Metadata(path, files, rows, columns, {name: signal for name, signal in SCORES.items() if name in names})


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix == ".parquet" and not file.name.startswith("."))
    return [path] if path.suffix.lower() == ".parquet" and path.is_file() else []


def _known(names: list[str]) -> bool:
    return {"uid", "text"} <= set(names) and bool(SCORES.keys() & set(names)) and not {
        "path", *OTHERWISE["path"]
    } & set(names)  # fmt: skip
