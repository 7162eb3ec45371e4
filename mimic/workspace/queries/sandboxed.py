"""The child of `sandbox`: reads what is asked from standard input, and answers with a line of JSON and an Arrow stream.

python -I -m mimic.workspace.queries.sandboxed
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import threading
import time
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc


class RefusedError(Exception):
    """The sentence that the person gets to read."""


def main() -> None:
    asked = json.load(sys.stdin)
    for kind, most in (
        (resource.RLIMIT_AS, asked["space"]),
        (resource.RLIMIT_CPU, int(4 * asked["seconds"]) + 5),
        (resource.RLIMIT_FSIZE, 0),  # no file can be written; standard output is a pipe
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # macOS knows no limit of addresses
            resource.setrlimit(kind, (most, most))
    facts, body = answer(asked)
    sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n" + body)


def answer(asked: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Facts (more, seconds; or slow; or refused, a sentence) and the answer as an Arrow stream."""
    try:
        table, facts = _answer(asked)
        return facts, _written(table, asked["output"])
    except RefusedError as refused:
        return {"refused": str(refused)}, b""
    except duckdb.InterruptException:
        return {"slow": True}, b""
    except (duckdb.OutOfMemoryException, MemoryError):
        return {"refused": f"the statement needs more than {asked['memory']} of memory: ask for less"}, b""
    except duckdb.PermissionException:
        return {
            "refused": "a statement may read this run's tables and nothing else: no file, address or extension"
        }, b""
    except (duckdb.Error, pa.ArrowException) as error:
        return {"refused": str(error)}, b""


def _answer(asked: dict[str, Any]) -> tuple[pa.Table, dict[str, Any]]:
    connection = _shut_in(asked)
    found = connection.extract_statements(asked["statement"])
    if len(found) != 1 or found[0].type != duckdb.StatementType.SELECT:
        raise RefusedError("write one SELECT: nothing else is run here")
    timer = threading.Timer(asked["seconds"], connection.interrupt)
    timer.daemon = True
    timer.start()
    started = time.monotonic()
    reader: pa.RecordBatchReader = connection.execute(found[0]).to_arrow_reader(asked["rows"] + 1)
    if len(reader.schema) > asked["columns"]:
        raise RefusedError(f"the answer has {len(reader.schema)} columns, and {asked['columns']} may be shown")
    batches, rows = [], 0
    for batch in reader:
        batches.append(batch)
        rows += batch.num_rows
        if rows > asked["rows"]:
            break
    table = pa.Table.from_batches(batches, reader.schema)
    facts = {"more": rows > asked["rows"], "seconds": time.monotonic() - started}
    return _plain(table.slice(0, asked["rows"]), asked["cell"]), facts


def _shut_in(asked: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """A connection that holds the run's tables, and from which nothing else can be reached."""
    connection = duckdb.connect(":memory:", config={"memory_limit": asked["memory"], "threads": 2})
    for name in ("samples", "scores"):
        path = asked[name].replace("'", "''")
        connection.execute(f"ATTACH '{path}' AS file_of_{name} (READ_ONLY)")
        shown = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = ?", [f"file_of_{name}"]
        )
        for (table,) in shown.fetchall():
            called = '"' + table.replace('"', '""') + '"'
            connection.execute(f"CREATE VIEW {called} AS FROM file_of_{name}.{called}")
    connection.execute("SET autoload_known_extensions = false; SET autoinstall_known_extensions = false")
    connection.execute("SET enable_external_access = false; SET lock_configuration = true")
    return connection


def _plain(table: pa.Table, cell: int) -> pa.Table:
    """The table with nested and large values as texts, and every text cut."""
    columns = []
    for column in table.columns:
        kind = column.type
        if not (pa.types.is_primitive(kind) or pa.types.is_string(kind) or pa.types.is_decimal(kind)):
            column = pa.array([None if v is None else str(v) for v in column.to_pylist()], pa.string())
        columns.append(pc.utf8_slice_codeunits(column, 0, cell) if pa.types.is_string(column.type) else column)
    names = [
        name if table.column_names.count(name) == 1 else f"{name} {i}" for i, name in enumerate(table.column_names)
    ]
    return pa.table(columns, names=names)


def _written(table: pa.Table, most: int) -> bytes:
    if table.nbytes > most:
        raise RefusedError(f"the answer holds more than {most >> 20} MB: ask for fewer rows or columns")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


if __name__ == "__main__":
    main()
