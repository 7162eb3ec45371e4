"""A Hugging Face imagefolder: ``<split>/images/…`` and ``<split>/metadata.jsonl`` with label and facts of each image.

Read with ``datasets.load_dataset(PATH)``: README.md names the splits, whatever they are called.
"""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from mimic.reports.exports.images import numbered, place_row, suffix
from mimic.reports.exports.job import Job

WITHOUT_SPLIT = "train"


def write_hugging_face(job: Job, target: Path) -> None:
    """Images by number; columns file_name, label, given_label, id, decision, score; of captions text, no labels.

    A missing text is an empty one: `datasets` refuses splits whose columns differ in type, and nulls alone have none.
    """
    captions = job.selection.published.task == "captions"
    told = ("id", "decision") if captions else ("label", "given_label", "id", "decision")
    splits: dict[str, TextIO] = {}
    with ExitStack() as files:
        for row in job.selection.kept(further="caption" if captions else None):
            split = split_name(row["split"])
            ending = suffix(row["path"])
            if ending is None:
                job.failures.add(row["id"], "file name has no image suffix")
                continue
            name = "images/" + numbered(row, ending)
            reason = place_row(job.selection.published.root, row, target / split / name, job.options.images)
            if reason:
                job.failures.add(row["id"], reason)
                continue
            if split not in splits:
                splits[split] = files.enter_context((target / split / "metadata.jsonl").open("w", encoding="utf-8"))
            facts: dict[str, Any] = {"file_name": name, "score": row["score"]}
            facts |= {key: row[key] or "" for key in told} | ({"text": row["further"] or ""} if captions else {})
            splits[split].write(json.dumps(facts, ensure_ascii=False) + "\n")
    listed = "".join(f"  - split: {split}\n    path: {split}/**\n" for split in sorted(splits))
    card = f"---\nconfigs:\n- config_name: default\n  data_files:\n{listed}---\n" if listed else ""
    (target / "README.md").write_text(card, encoding="utf-8")


def split_name(split: str | None) -> str:
    """A split as `datasets` accepts it: letters, digits and ``_``; everything else becomes ``_``."""
    return re.sub(r"[^A-Za-z0-9_]", "_", split or WITHOUT_SPLIT)
