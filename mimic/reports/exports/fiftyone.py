"""FiftyOne's FiftyOneImageClassificationDataset: labels.json and the images under data/.

labels.json: ``{"labels": {uuid: {"label": …, "attributes": {…}}, …}}``; a uuid is the image's path below data/ without
its suffix, and null stands where there is no label. Without a list of classes, labels are written by name.
"""

from __future__ import annotations

import json
from pathlib import Path

from mimic.reports.exports.images import numbered, place_row, suffix
from mimic.reports.exports.job import Job


def write_fiftyone(job: Job, target: Path) -> None:
    """The kept samples; given_label, score and id are attributes of each label."""
    (target / "data").mkdir()
    with (target / "labels.json").open("w", encoding="utf-8") as file:
        file.write('{"labels": {')
        separator = "\n"
        for row in job.selection.kept():
            ending = suffix(row["path"])
            if ending is None:
                job.failures.add(row["id"], "file name has no image suffix")
                continue
            name = numbered(row, "")
            image = target / "data" / (name + ending)
            if reason := place_row(job.selection.published.root, row, image, job.options.images):
                job.failures.add(row["id"], reason)
                continue
            attributes = {key: row[key] for key in ("id", "given_label", "score", "decision")}
            label = None if row["label"] is None else {"label": row["label"], "attributes": attributes}
            file.write(f"{separator}{json.dumps(name)}: {json.dumps(label, ensure_ascii=False)}")
            separator = ",\n"
        file.write("\n}}\n")
