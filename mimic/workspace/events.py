"""What happened to a run, in order: one line of JSON an event, in its folder and in the log of whoever watches.

    W/runs/<run>/events.jsonl   {"at": "2026-11-24T15:04:05.123+00:00", "event": "shard", "shard": 3, "samples": 256, …}

begun, resumed (how many were done), shard (each, with its seconds), stopped (by Ctrl-C), failed (with the sentence),
published. Nothing reads them to decide anything: a line that is lost, as on a full disk, costs nobody anything but the
line.

With ``MIMIC_LOG=-`` every event goes to stderr too, with ``MIMIC_LOG=FILE`` to the end of that file, and so does what
the library logs under the name ``mimic``: one JSON object a line.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mimic.workspace.layout import Run

ENVIRONMENT = "MIMIC_LOG"
FILE = "events.jsonl"
_LOG = logging.getLogger("mimic.runs")


def note(run: Run, event: str, **facts: Any) -> None:
    """Append an event to the run's own. Several processes may do so at once."""
    line = {"at": _now(), "event": event, "process": f"{os.getpid()} on {socket.gethostname()}", **facts}
    with suppress(OSError), (run.folder / FILE).open("ab", buffering=0) as file:
        file.write(json.dumps(line, ensure_ascii=False).encode(errors="replace") + b"\n")  # one write: never mixed
    _LOG.info(event, extra={"facts": {"run": run.id, **facts}})


def events(run: Run, last: int = 200) -> list[dict[str, Any]]:
    """The run's latest events, in order; a line that was cut off is left out, and so is every run before events."""
    found = []
    with suppress(OSError):
        for line in (run.folder / FILE).read_bytes().splitlines()[-last:]:
            with suppress(ValueError, RecursionError):
                event = json.loads(line)
                if isinstance(event, dict) and isinstance(event.get("event"), str) and isinstance(event.get("at"), str):
                    found.append(event)
    return found


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"at": _now(), "level": record.levelname.lower(), "logger": record.name, "event": record.getMessage()}
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def log_as_asked() -> None:
    """Send what is logged where ``MIMIC_LOG`` says; nothing without it.

    Raises:
        OSError: the file cannot be written.
    """
    where = os.environ.get(ENVIRONMENT)
    if not where:
        return
    handler = logging.StreamHandler() if where == "-" else logging.FileHandler(Path(where), encoding="utf-8")
    handler.setFormatter(JsonLines())
    log = logging.getLogger("mimic")
    log.addHandler(handler)
    log.setLevel(logging.INFO)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
