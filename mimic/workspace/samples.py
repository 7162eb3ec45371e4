"""Reading a data set's samples, which `mimic.workspace.datasets` writes: all of them, or what scoring may know."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mimic.data import Sample
from mimic.errors import MimicError
from mimic.workspace.files import reading
from mimic.workspace.layout import Dataset

# Only of data sets of captions: a manifest of labels may have further columns of these names.
CAPTIONS = ("caption", "caption_group", "fault")


def read_samples(dataset: Dataset, first: int, last: int) -> list[Sample]:
    """The samples ``first ≤ number < last``, in order, with everything known of them."""
    with reading(dataset.samples_file) as connection:
        result = connection.execute(
            "SELECT * FROM samples WHERE rowid >= ? AND rowid < ? ORDER BY rowid", [first, last]
        )
        names = [column[0] for column in result.description or []]
        rows = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    return [
        Sample(
            number=row["sample"],
            id=row["id"],
            path=row["path"],
            label=row["label"],
            truth=row["truth"],
            split=row["split"],
            **{column: row[column] for column in CAPTIONS if dataset.task == "captions"},
            extra={column: row[column] for column in dataset.columns},
        )
        for row in rows
    ]


@dataclass(frozen=True)
class Inputs:
    """What scoring may know of samples: no truth.

    Attributes:
        numbers: (N,) int32, the samples' keys.
        paths: their N files, relative to the root.
        codes: (N,) int32, class codes of the given labels; −1 where a sample has no label.
        captions: their N captions, None where a sample has none; empty in a data set of labels.
        ids: their N ids.
    """

    numbers: NDArray[np.int32]
    paths: list[str]
    codes: NDArray[np.int32]
    captions: list[str | None] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def rows(self, first: int, last: int) -> Inputs:
        """Those of the rows ``first ≤ row < last``."""
        some = slice(first, last)
        return Inputs(self.numbers[some], self.paths[some], self.codes[some], self.captions[some], self.ids[some])


def read_inputs(dataset: Dataset, numbers: NDArray[np.int32], images: bool = True) -> Inputs:
    """Paths, given labels, captions and ids of some samples, in the order of their (ascending) numbers.

    Args:
        images: whether the images will be read.

    Raises:
        MimicError: the images are wanted and the data set has none.
    """
    if images and not dataset.has_images:
        raise MimicError(
            f"data set {dataset.name!r} has no images, only captions and columns: import its images' shards to score it"
        )
    caption = ", s.caption" if dataset.task == "captions" else ""
    with reading(dataset.samples_file) as connection:
        connection.register("wanted", pa.table({"number": numbers}))
        table = connection.sql(
            f"SELECT s.id, s.path, coalesce(s.label_code, -1) AS code{caption}"
            " FROM samples s JOIN wanted w ON s.rowid = w.number ORDER BY s.rowid"
        ).to_arrow_table()
    captions = table["caption"].to_pylist() if caption else []
    codes = table["code"].to_numpy().astype(np.int32)
    return Inputs(numbers, table["path"].to_pylist(), codes, captions, table["id"].to_pylist())


def caption_groups(dataset: Dataset, numbers: NDArray[np.int32]) -> NDArray[np.int64]:
    """(N,) a number for what samples of one image have in common; one of its own for an image with one caption."""
    with reading(dataset.samples_file) as connection:
        connection.register("wanted", pa.table({"number": numbers}))
        table = connection.sql(
            "SELECT dense_rank() OVER (ORDER BY s.caption_group, if(s.caption_group IS NULL, s.rowid, 0)) AS place"
            " FROM samples s JOIN wanted w ON s.rowid = w.number ORDER BY s.rowid"
        ).to_arrow_table()
    return np.array(table["place"].to_numpy(), np.int64)


def label_codes(dataset: Dataset) -> NDArray[np.int32]:
    """(dataset.size,) class codes of the given labels, by sample; −1 where a sample has none."""
    with reading(dataset.samples_file) as connection:
        table = connection.sql("SELECT coalesce(label_code, -1) AS code FROM samples ORDER BY sample").to_arrow_table()
    codes: NDArray[np.int32] = table["code"].to_numpy()
    return codes


def sample_numbers(dataset: Dataset, split: str | None, limit: int | None = None) -> NDArray[np.int32]:
    """The numbers of the samples of a split (None: of all), ascending; at most `limit`, spread evenly over them.

    Spread evenly, because the first of a class-folder tree all belong to one class.
    """
    with reading(dataset.samples_file) as connection:
        where = "" if split is None else "WHERE split = ?"
        table = connection.sql(
            f"SELECT sample FROM samples {where} ORDER BY sample", params=None if split is None else [split]
        ).to_arrow_table()
    found: NDArray[np.int32] = table["sample"].to_numpy()
    if limit is not None and limit < len(found):
        found = found[np.arange(limit) * len(found) // limit]
    return found
