"""WebDataset shards: tar files of the kept samples, each with its image, its class and its facts.

000000.tar   000000017.png    the image's bytes as they are
             000000017.cls    the class's code, where the sample has a label
             000000017.txt    the caption, where the data set has one
             000000017.json   id, label, given_label, score, decision

Times, owners and modes in the archives are fixed, so the same samples give the same bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from mimic.data import counted
from mimic.images import Place
from mimic.reports.exports.images import inside, read, suffix
from mimic.reports.exports.job import Job
from mimic.reports.exports.selection import CAPTIONS


def write_webdataset(job: Job, target: Path) -> None:
    """Shards of `Options.shard_size` samples, numbered from 0. Read with ``{000000..000012}.tar``."""
    column = job.selection.column(job.options.column, CAPTIONS)
    codes = {name: code for code, name in enumerate(job.selection.published.classes)}
    usable = _usable(job, column)
    shard = 0
    while rows := list(islice(usable, job.options.shard_size)):
        with tarfile.open(target / f"{shard:06d}.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
            for row, image, ending in rows:
                _add_sample(archive, row, image, ending, codes)
        shard += 1
    job.notes.append(counted(shard, "shard"))


def _usable(job: Job, column: str | None) -> Iterator[tuple[dict[str, Any], Place, str]]:
    root = job.selection.published.root
    for row in job.selection.kept(further=column):
        image, reason = inside(root, row)
        ending = suffix(row["path"])
        if ending is None:
            reason = reason or "file name has no image suffix"
        if image is None or ending is None:
            job.failures.add(row["id"], reason)
            continue
        yield row, image, ending


def _add_sample(
    archive: tarfile.TarFile, row: dict[str, Any], image: Place, ending: str, codes: dict[str, int]
) -> None:
    key = f"{row['sample']:09d}"
    facts = {name: row[name] for name in ("id", "label", "given_label", "score", "decision")}
    texts = {".json": json.dumps(facts, ensure_ascii=False)}
    if row["label"] in codes:
        texts[".cls"] = str(codes[row["label"]])
    if row.get("further") is not None:
        texts[".txt"] = row["further"]
    members = [(ending, read(image)), *((kind, text.encode()) for kind, text in sorted(texts.items()))]
    for kind, data in members:
        member = tarfile.TarInfo(key + kind)  # time 0, no owner, mode 0644
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
