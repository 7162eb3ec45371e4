"""A DataComp subset file: the uids of the kept samples as a sorted NumPy array of dtype ``u8,u8``, each once.

A uid is 32 hexadecimal digits; the array holds its two halves as integers. The array is filled and sorted on the disk.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimic.errors import MimicError
from mimic.reports.exports.job import Job

UIDS = ("uid",)
DTYPE = np.dtype("u8,u8")


def write_datacomp(job: Job, target: Path) -> None:
    """The uid comes from the column `uid` if the data set has one, else from the sample's id.

    Raises:
        MimicError: a uid that is not 32 hexadecimal digits.
    """
    column = job.selection.column(job.options.column, UIDS)
    parts = target.with_name(target.name + ".parts")
    try:
        count = _collect(job, column, parts)
        uids = np.memmap(parts, DTYPE, "r+", shape=(count,)) if count else np.empty(0, DTYPE)
        order = np.lexsort((uids["f1"], uids["f0"]))
        ordered = uids[order]
        unique = np.ones(count, np.bool_)
        unique[1:] = ordered[1:] != ordered[:-1]
        with target.open("wb") as file:
            np.save(file, ordered[unique])
        if repeated := count - int(unique.sum()):
            job.notes.append(f"samples that share their uid with another one, and are in the file once: {repeated:,}")
    finally:
        parts.unlink(missing_ok=True)


def _collect(job: Job, column: str | None, parts: Path) -> int:
    count = 0
    with parts.open("wb") as file:
        for table in job.selection.tables(further=column):
            kept = table.filter(table["kept"])
            uids = _halves(kept["further" if column else "id"].to_pylist(), column or "id")
            file.write(uids.tobytes())
            count += len(uids)
    return count


def _halves(texts: list[str | None], column: str) -> NDArray[np.void]:
    uids = np.empty(len(texts), DTYPE)
    for place, text in enumerate(texts):
        try:
            if text is None or len(text) != 32:
                raise ValueError
            raw = bytes.fromhex(text)
        except ValueError:
            raise MimicError(
                f"{text!r} in the column {column} is no DataComp uid, which has 32 hexadecimal digits: "
                "name the column that holds them with --column"
            ) from None
        uids[place] = (int.from_bytes(raw[:8]), int.from_bytes(raw[8:]))
    return uids
