"""One SELECT of a stranger's over a published run, in a process of its own that can reach nothing else.

The child attaches the run read-only, then shuts every door: no file or network access, no extension, no setting can be
changed, no file can be written (RLIMIT_FSIZE). What DuckDB itself does not bound (`repeat('x', 1e9)` would not be
interrupted) the kernel does: address space, processor time, and the parent kills it when its time is up.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from mimic.errors import MimicError
from mimic.workspace.queries.connection import Published, tables

SECONDS = 10.0
ROWS, MOST_ROWS, COLUMNS = 1_000, 100_000, 200
CELL = 10_000  # characters of a text

_MEMORY = "512MB"
_SPACE = 3 << 30  # bytes of addresses: DuckDB's memory, its threads' stacks, Python and Arrow
_OUTPUT = 64 << 20  # bytes of an answer
_TURNS = threading.BoundedSemaphore(2)  # one a core of a small machine; others wait
_STARTING = 5.0  # seconds that a child may need before its statement begins


@dataclass(frozen=True)
class Answer:
    """What a statement gave.

    Attributes:
        table: at most so many rows as were asked for; texts are cut at `CELL` characters, nested values are texts.
        more: whether there were more rows.
        seconds: how long the statement took.
    """

    table: pa.Table
    more: bool
    seconds: float


def ask(published: Published, statement: str, *, rows: int = ROWS, seconds: float = SECONDS) -> Answer:
    """Run one SELECT over the run's tables (`columns_of` names them).

    Args:
        statement: SQL as DuckDB speaks it.
        rows: at most so many come back, ≤ `MOST_ROWS`.
        seconds: how long it may take.

    Raises:
        MimicError: no single SELECT; what DuckDB says is wrong with it; it reaches for something else than the run; too
            much time, memory, or too large an answer; too many statements at once.
    """
    asked = question(published, statement, rows, seconds)
    if not _TURNS.acquire(timeout=2 * seconds):
        raise MimicError("others' statements are running: try again in a moment")
    try:
        # -I and no environment: neither this folder nor a variable decides what the child imports, nor can it read any
        ended = subprocess.run(
            [sys.executable, "-I", "-m", "mimic.workspace.queries.sandboxed"],
            input=json.dumps(asked).encode(), capture_output=True, env={}, timeout=seconds + _STARTING, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise MimicError(_too_long(seconds)) from None
    finally:
        _TURNS.release()
    facts, _, body = ended.stdout.partition(b"\n")
    if ended.returncode or not facts:
        raise MimicError(
            f"the statement needed more memory or processor time than it may have ({_MEMORY}): ask for less"
        )
    told = json.loads(facts)
    if told.get("slow"):
        raise MimicError(_too_long(seconds))
    if "refused" in told:
        raise MimicError(told["refused"])
    return Answer(pa.ipc.open_stream(body).read_all(), told["more"], told["seconds"])


def question(published: Published, statement: str, rows: int, seconds: float) -> dict[str, str | int | float]:
    """What the child is told."""
    return {
        "scores": str(published.scores_file.resolve()),
        "samples": str(published.samples_file.resolve()),
        "statement": statement,
        "rows": min(rows, MOST_ROWS),
        "seconds": seconds,
        "columns": COLUMNS,
        "cell": CELL,
        "memory": _MEMORY,
        "space": _SPACE,
        "output": _OUTPUT,
    }


def columns_of(published: Published) -> pd.DataFrame:
    """What a statement may name: columns table, columns (their names and types, as one text)."""
    with tables(published) as t:
        return t.frame(
            "SELECT table_name AS \"table\", string_agg(column_name || ' ' || data_type, ', ' ORDER BY column_index)"
            " AS columns FROM duckdb_columns() WHERE database_name IN (?, ?) GROUP BY table_name ORDER BY table_name",
            [t.scores.split(".")[0], t.samples.split(".")[0]],
        )


def _too_long(seconds: float) -> str:
    return f"the statement was ended after {seconds:g} s: ask for less, or for a share with USING SAMPLE"
