"""How long a run of any size takes to publish, in how much memory, and how long the app's questions take then.

    python -m benchmarks.publication --rows 1_000_000 10_000_000 [100_000_000]         results/publication.csv

A run of two signals, drawn from a seed by `benchmarks.synthetic`, is published by a process of its own: seconds and
processor seconds, its peak of resident memory by the system's figure, and the file. A second process asks what the
pages ask, each question several times with other numbers in it; told are the slowest answer of the first round, from a
cold file, and of the others. Beside the rows' tables 100 M rows take 15 GB of disk, and about six minutes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import synthetic
from benchmarks.tables import Section, markdown, write_csv, write_section
from mimic.workspace.layout import Workspace
from mimic.workspace.publish import publish
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.gallery import Where, count_matching, gallery_page
from mimic.workspace.queries.histogram import histogram
from mimic.workspace.queries.sample import neighbours, sample_facts
from mimic.workspace.queries.summary import failure_reasons, signal_summary
from mimic.workspace.queries.threshold import line_at, line_keeping

CLASSES = 1000
SIGNALS = 2
ROUNDS = 4

Told = dict[str, Any]


def make(place: Path, rows: int) -> Told:
    began = time.monotonic()
    synthetic.begun(Workspace(place), rows, classes=CLASSES, signals=SIGNALS)
    return {"making s": time.monotonic() - began}


def publication(place: Path, rows: int) -> Told:
    workspace = Workspace(place)
    run = workspace.run(f"synthetic-{rows}")
    began = time.monotonic()
    published = publish(run, workspace.dataset(run.dataset), {"check": None})
    seconds, used = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    assert published.scores_file is not None
    return {
        "rows": rows,
        "seconds": seconds,
        "processor s": used.ru_utime + used.ru_stime,
        "peak MiB": round(used.ru_maxrss / 1024),
        "file MB": round(published.scores_file.stat().st_size / 1e6),
    }


def questions(place: Path, rows: int) -> Told:
    workspace = Workspace(place)
    run = workspace.run(f"synthetic-{rows}")
    published = Published.of(run, workspace.dataset(run.dataset))
    main, other = run.signals
    slowest: list[tuple[float, str]] = []
    for k in range(ROUNDS):
        within, beyond = Where(ranges=((main, 0.001 * k, 0.02),)), Where(ranges=((other, 0.1 * k - 1, 1.0),))
        asked: dict[str, Callable[[], object]] = {
            "summary": lambda: signal_summary.__wrapped__(published),
            "failures": lambda: failure_reasons(published),
            "histogram": lambda k=k: histogram(published, main, "none", 150 + k),
            "histogram, other signal": lambda k=k: histogram(published, other, "truth", 150 + k),
            "gallery": lambda k=k: gallery_page(published, main, "nearest", near=0.01 * k),
            "gallery, other signal": lambda where=within: gallery_page(published, other, "lowest", where),
            "gallery, random": lambda k=k: gallery_page(published, main, "random", seed=k),
            "brush": lambda where=within: count_matching(published, main, where),
            "brush, other signal": lambda where=beyond: count_matching(published, other, where),
            "line": lambda k=k: line_keeping(published, main, rows * (6 + k) // 10),
            "line, other signal": lambda k=k: line_keeping(published, other, rows * (6 + k) // 10),
            "line at a score": lambda k=k: line_at(published, other, 0.1 * k),
            "sample": lambda k=k: sample_facts(published, rows // (k + 2)),
            "its neighbours": lambda k=k: neighbours(published, other, rows // (k + 2)),
        }  # fmt: skip
        times = []
        for name, ask in asked.items():
            began = time.monotonic()
            ask()
            times.append((time.monotonic() - began, name))
            print(f"{rows:>12,}  round {k + 1}  {times[-1][0]:7.3f} s  {name}", flush=True)
        slowest.append(max(times))
    cold, warm = slowest[0], max(slowest[1:])
    return {"cold s": cold[0], "cold": cold[1], "warm s": warm[0], "warm": warm[1]}


def in_a_process(do: Callable[[Path, int], Told], place: Path, rows: int) -> Told:
    """What a process of its own tells: its memory is its own then."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_telling, args=(do, place, rows, theirs))
    child.start()
    theirs.close()
    try:
        told: Told = mine.recv()
    finally:
        child.join()
    return told


def _telling(do: Callable[[Path, int], Told], place: Path, rows: int, told: Connection) -> None:
    told.send(do(place, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers: Callable[[str], int] = lambda text: int(text.replace("_", ""))  # noqa: E731
    parser.add_argument("--rows", type=numbers, nargs="+", default=[1_000_000])
    parser.add_argument("--folder", type=Path, help="where there is room; the system's temporary folder if not given")
    parser.add_argument("--print-only", action="store_true", help="change no file")
    asked = parser.parse_args()
    found = []
    for rows in asked.rows:
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            row: Told = {}
            for do in (make, publication, questions):
                row |= in_a_process(do, Path(folder), rows)
            found.append(row)
    first = ["rows", "seconds", "processor s", "peak MiB", "file MB", "cold s", "cold", "warm s", "warm"]
    table = pd.DataFrame(found)[[*first, "making s"]].round(2)
    print(table.to_string(index=False))
    if not asked.print_only:
        write_csv("publication", table)
        words = (
            "Two signals of drawn samples in 1,000 classes; the slowest of 14 questions, from a cold file and after it."
        )
        sizes = " ".join(f"{rows:_}" for rows in asked.rows)
        body = f"{words}\n\n{markdown(table.drop(columns='making s'), 2)}"
        command = f"python -m benchmarks.publication --rows {sizes}"
        write_section(Section("publication", "Publishing millions of samples", command, body))


if __name__ == "__main__":
    main()
