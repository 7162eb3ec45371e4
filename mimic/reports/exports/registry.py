"""The formats by name: what writes it, whether it is a file or a folder, and what it is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mimic.errors import MimicError
from mimic.reports.exports.cleanlab import write_cleanlab
from mimic.reports.exports.datacomp import write_datacomp
from mimic.reports.exports.fiftyone import write_fiftyone
from mimic.reports.exports.hugging_face import write_hugging_face
from mimic.reports.exports.image_folder import write_image_folder
from mimic.reports.exports.job import Job
from mimic.reports.exports.open_clip import write_open_clip
from mimic.reports.exports.tables import write_csv, write_jsonl, write_parquet
from mimic.reports.exports.webdataset import write_webdataset


@dataclass(frozen=True)
class Format:
    """An export format.

    Attributes:
        write: writes a job to a path: a new file, or into an empty folder.
        suffix: how its file's name ends; empty for a folder.
        images: whether image files go into it.
        meaning: one line for people.
        marks: the column that tells kept from dropped where every sample has a row; empty where only what is kept
            goes in.
    """

    write: Callable[[Job, Path], None]
    suffix: str
    images: bool
    meaning: str
    marks: str = ""

    @property
    def holds(self) -> str:
        """Which samples are in it, in words."""
        return f"every sample, dropped ones too: go by the column {self.marks}" if self.marks else "only what is kept"


FORMATS: dict[str, Format] = {
    "parquet": Format(write_parquet, ".parquet", False, "every sample with its score and whether it is kept", "kept"),
    "csv": Format(write_csv, ".csv", False, "every sample for a spreadsheet, safe against formulas in texts", "kept"),
    "jsonl": Format(write_jsonl, ".jsonl", False, "every sample, one object a line", "kept"),
    "datacomp": Format(write_datacomp, ".npy", False, "DataComp subset: kept uids, sorted, dtype u8,u8"),
    "webdataset": Format(write_webdataset, "", True, "tar shards of the kept samples with image, class and facts"),
    "hf": Format(write_hugging_face, "", True, "Hugging Face imagefolder with metadata.jsonl"),
    "imagefolder": Format(write_image_folder, "", True, "torchvision ImageFolder view: a folder a class"),
    "open_clip": Format(write_open_clip, ".tsv", False, "open_clip's table of filepath and title"),
    "fiftyone": Format(write_fiftyone, "", True, "FiftyOne image classification data set with labels.json"),
    "cleanlab": Format(
        write_cleanlab,
        ".parquet",
        False,
        "is_label_issue, label_score, given_label, predicted_label",
        "is_label_issue",
    ),
}


def format_of(name: str) -> Format:
    """The format of that name.

    Raises:
        MimicError: there is none.
    """
    if name not in FORMATS:
        raise MimicError(f"no export format {name!r}: choose one of {', '.join(FORMATS)}")
    return FORMATS[name]
