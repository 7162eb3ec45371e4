"""open_clip's CSV data set: ``filepath`` and ``title`` of the kept samples, tab-separated. Image paths are absolute.

Read with ``--train-data FILE --dataset-type csv --csv-img-key filepath --csv-caption-key title``. It is read by pandas,
which takes some words for missing values; they get a trailing space, which the tokenizer drops.
"""

from __future__ import annotations

import csv
from pathlib import Path

from mimic.reports.exports.images import inside
from mimic.reports.exports.job import Job
from mimic.reports.exports.selection import CAPTIONS

# pandas.read_csv reads these as NaN (its documented `na_values`).
_MISSING = {
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
}  # fmt: skip


def write_open_clip(job: Job, target: Path) -> None:
    """The title is the caption's column if there is one, else the label; of a relabelled sample, the new label."""
    column = job.selection.column(job.options.column, CAPTIONS)
    root = job.selection.published.root
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
        writer.writerow(["filepath", "title"])
        for row in job.selection.kept(further=column):
            title = row["label"] if column is None or row["decision"] == "relabel" else row["further"]
            image, reason = inside(root, row)
            if title is None:
                reason = f"has no {column or 'label'}"
            if image is not None and image.size is not None:
                reason = "lies in a tar, where a table of files cannot lead: export it as webdataset"
            if image is None or reason:
                job.failures.add(row["id"], reason)
                continue
            writer.writerow([str(image.file), title + " " if title in _MISSING else title])
