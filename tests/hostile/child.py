"""Runs commands of mimic, each in a process of its own that has little memory and little time.

    python -m tests.hostile.child < commands      a JSON list of arguments a line; answers with a JSON object a line

The libraries are loaded once; every command is forked from there, so that hundreds of them take seconds. Nothing here
is replaced: a command is `mimic.cli.main`, with its own exit code, output and end.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.csv
import pyarrow.json
import pyarrow.parquet  # noqa: F401
import torch

from mimic import cli
from mimic.runs import importing, manager  # noqa: F401

ADDRESSES = 6 << 30  # bytes that a command may ask for beyond what the libraries have taken
SECONDS = 60


def taken() -> int:
    """Bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def command(arguments: list[str], out: int) -> None:
    """The command itself, in the child: never returns."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    resource.setrlimit(resource.RLIMIT_AS, (taken() + ADDRESSES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(SECONDS)
    sys.argv = ["mimic", *arguments]
    code = 70
    try:
        cli.main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for line in sys.stdin:
        with tempfile.TemporaryFile() as out:
            began, child = time.monotonic(), os.fork()
            if child == 0:
                command(json.loads(line), out.fileno())
            _, status, used = os.wait4(child, 0)
            out.seek(0)
            said = out.read().decode("utf-8", "replace")
        answer = {
            "code": os.waitstatus_to_exitcode(status),
            "said": said[-20_000:],
            "megabytes": (used.ru_maxrss - before) / 1024,
            "seconds": time.monotonic() - began,
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
