"""CSV that a spreadsheet opens: somebody's text never runs as a formula, and comes back as it was.

A text that a spreadsheet could take for a formula begins with an apostrophe in the file, which marks it as text there.
So does a text that begins with an apostrophe itself: taking one off is always right.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from mimic.files import replacing

# OWASP's list of what begins a formula, with the full-width signs, and the apostrophe.
_RISKY = "^[=+\\-@\\t\\r\\n'＝＋－＠]"


def harmless(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The texts as they may stand in a CSV; nulls stay."""
    marked = pc.binary_join_element_wise(pa.scalar("'"), texts, pa.scalar(""))
    return pc.if_else(pc.fill_null(pc.match_substring_regex(texts, _RISKY), False), marked, texts)


def original(text: str) -> str:
    """The text that `harmless` was given."""
    return text.removeprefix("'")


def write_texts(path: Path, frame: pd.DataFrame) -> None:
    """Write a small table of texts as CSV, in one step; what is missing is empty."""
    columns = [harmless(pa.array(frame[name], pa.string(), from_pandas=True)).to_pylist() for name in frame.columns]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(frame.columns)
        writer.writerows(zip(*columns, strict=True))


def csv_bytes(table: pa.Table) -> bytes:
    """A table of any columns as CSV; its texts and its columns' names are harmless."""
    columns = [harmless(column) if pa.types.is_string(column.type) else column for column in table.columns]
    names = harmless(pa.array(table.column_names, pa.string())).to_pylist()
    out = io.BytesIO()
    pa.csv.write_csv(pa.table(columns, names=names), out)
    return out.getvalue()
