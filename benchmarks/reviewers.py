"""Many people at one queue while a run is going: is a decision ever lost or double, and how long does one wait?

    python -m benchmarks.reviewers [--reviewers 8] [--minutes 10]

Each reviewer has a browser and a name and presses K, D, L (with a class) and U in Review, on the queue of all. What was
pressed and seen to take effect is counted against the events in the database. Meanwhile `mimic score` works on the
sample data in the same workspace, over and over. Writes results/reviewers.csv (a line a half minute) and a section of
docs/results.md. Needs Chromium and playwright.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import Error, Page, sync_playwright

from benchmarks import synthetic
from benchmarks.app import FLAGS, memory, opened, server_on
from benchmarks.tables import Section, markdown, write_csv, write_section
from docs.screenshots import CHROMIUM, serving
from mimic.runs import demo
from mimic.workspace.decisions import Decisions
from mimic.workspace.layout import Workspace

ROWS, CLASSES = 100_000, 10
KEYS, SHARES = ("k", "d", "l", "u"), (0.45, 0.35, 0.1, 0.1)
PAUSE = 0.4  # seconds to look: longer than the guard against keys that come too soon
ANSWERED = """() => Promise.race([
  window.answered, new Promise((_, no) => setTimeout(() => no(new Error('no effect')), 10000))])"""
ACTIONS = {"k": "keep", "d": "drop", "l": "relabel", "u": "undo"}


@dataclass
class Sitting:
    """What one reviewer did: how often each action was seen to take effect, what it took (ms), what went wrong.

    `idle` counts keys without an effect in ten seconds: one that comes while the page is drawn anew is swallowed, by
    design. Should it have had one all the same, it shows as an event too many.
    """

    who: str
    acted: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    idle: int = 0
    errors: list[str] = field(default_factory=list)


def review(base: str, run: str, until: float, seed: int, sitting: Sitting) -> None:
    """One person, pressing keys until the time is up."""
    rng = np.random.default_rng(seed)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: sitting.errors.append(str(error)))
        try:
            opened(page, f"{base}/review?dataset={run}&run={run}&queue=lowest")
            name = page.get_by_role("textbox", name="Who decides")
            name.fill(sitting.who)
            name.press("Enter")
            page.evaluate("() => document.activeElement.blur()")  # keys are for the page, not for the field
            page.wait_for_timeout(1500)
            standing = 0  # decisions of this person that could be taken back
            while time.monotonic() < until:
                key = str(rng.choice(KEYS, p=SHARES))
                if key == "u" and not standing:
                    continue
                time.sleep(PAUSE)
                try:
                    sitting.waits.append(press(page, key))
                except Error as error:
                    if "no effect" not in str(error):
                        raise
                    sitting.idle += 1
                    page.evaluate("() => document.activeElement.blur()")
                    continue
                sitting.acted[ACTIONS[key]] += 1
                standing += -1 if key == "u" else 1
        except Error as error:
            sitting.errors.append(str(error).splitlines()[0])
        for shown in ("stAlertContentError", "stException"):
            sitting.errors += page.get_by_test_id(shown).all_inner_texts()
        browser.close()


def press(page: Page, key: str) -> float:
    """Milliseconds from a key to the next picture; of L from the Enter that takes the class."""
    if key == "l":
        page.keyboard.press("l")
        field = page.get_by_role("combobox", name="New label")
        try:
            field.wait_for(timeout=10_000)
        except Error:
            raise Error("no effect") from None  # swallowed like any other key
        page.wait_for_function("() => document.activeElement?.getAttribute('role') === 'combobox'")
        page.keyboard.type("class")
        page.get_by_role("option").first.wait_for()
        key = "Enter"
    page.evaluate("() => window.watch('picture', false)")
    page.keyboard.press(key)
    return float(page.evaluate(ANSWERED))


def scoring(workspace: Path, over: threading.Event) -> None:
    """`mimic score` on the sample data, another run each time, until it is over."""
    place = ["--workspace", str(workspace)]
    files = {name: str(demo.sample_folder() / f"{name}.safetensors") for name in ("reference", "start")}
    options = [word for name, file in files.items() for word in (f"--{name}", file)]
    subprocess.run([sys.executable, "-m", "mimic.cli", "import", str(demo.sample_folder() / "manifest.csv"), *place])
    for size in count(64):
        if over.is_set():
            return
        command = ["score", "manifest", "--model", demo.MODEL, *options, "--batch-size", str(size), "--threads", "1"]
        subprocess.run([sys.executable, "-m", "mimic.cli", *command, *place], stderr=subprocess.DEVNULL)


def sat(workspace: Path, run: str, reviewers: int, minutes: float) -> tuple[list[Sitting], pd.DataFrame]:
    """Everybody at once; what each did, and the server's memory by the half minute."""
    over, rows = threading.Event(), []
    sittings = [Sitting(f"reviewer-{number}") for number in range(reviewers)]
    with serving(workspace) as base:
        until = time.monotonic() + 60 * minutes
        people = [
            threading.Thread(target=review, args=(base, run, until, seed, sitting))
            for seed, sitting in enumerate(sittings)
        ]
        work = threading.Thread(target=scoring, args=(workspace, over))
        for thread in (*people, work):
            thread.start()
        server, started = server_on(int(base.rsplit(":", 1)[1])), time.monotonic()
        while any(person.is_alive() for person in people):
            rows.append((round(time.monotonic() - started), round(memory(server))))
            time.sleep(min(30, 15 * minutes))
        over.set()
        work.join()
    return sittings, pd.DataFrame(rows, columns=["second", "server_mb"])


def compared(workspace: Workspace, run: str, sittings: list[Sitting]) -> pd.DataFrame:
    """A row a reviewer: acknowledged and stored events, those lost or double, p50 and p95 of the wait, errors."""
    log = Decisions(workspace, workspace.dataset(run)).history(limit=10_000_000)
    rows = []
    for sitting in sittings:
        stored = Counter(log.loc[log["who"] == sitting.who, "action"])
        seen, waits = sum(sitting.acted.values()), sitting.waits or [np.nan]
        wrong = sum(abs(stored[action] - sitting.acted[action]) for action in ACTIONS.values())
        rows.append(
            (
                sitting.who,
                seen,
                sum(stored.values()),
                wrong,
                *np.percentile(waits, [50, 95]),
                sitting.idle,
                len(sitting.errors),
            )
        )
    columns = ["reviewer", "acknowledged", "stored", "lost_or_double", "p50_ms", "p95_ms", "idle_keys", "errors"]
    return pd.DataFrame(rows, columns=columns)


def decided_twice(workspace: Workspace, run: str) -> int:
    """Samples that two people's decisions stand on: claims should keep them apart."""
    log = Decisions(workspace, workspace.dataset(run)).history(limit=10_000_000)
    standing = log[log["action"].isin(["keep", "drop", "relabel"]) & ~log["undone"]]
    return int((standing.groupby("sample")["who"].nunique() > 1).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviewers", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--print-only", action="store_true", help="change no file")
    asked = parser.parse_args()
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as made:
        place = Path(made) / "workspace"
        place.mkdir()
        os.environ.pop("MIMIC_DECISIONS_URL", None)
        synthetic.build(Workspace(place), ROWS, classes=CLASSES, pictures=100)
        run = Workspace(place).runs()[0].id
        sittings, server = sat(place, run, asked.reviewers, asked.minutes)
        table, twice = compared(Workspace(place), run, sittings), decided_twice(Workspace(place), run)
    print("\n".join(sorted({error for sitting in sittings for error in sitting.errors})[:20]))
    waits = np.concatenate([sitting.waits for sitting in sittings])
    words = (
        f"{asked.reviewers} reviewers, {asked.minutes:g} minutes, {ROWS:,} samples, a run going; "
        f"{os.cpu_count()} cores shared by server, run and browsers, load average before {busy:.1f}. "
        f"{table['acknowledged'].sum():,} events seen to take effect, {table['stored'].sum():,} stored, "
        f"{table['lost_or_double'].sum()} lost or double, {twice} samples decided by two people, "
        f"{table['idle_keys'].sum()} keys swallowed, "
        f"{table['errors'].sum()} errors. Key to next picture: p50 {np.percentile(waits, 50):.0f} ms, "
        f"p95 {np.percentile(waits, 95):.0f} ms. The server: {server['server_mb'].min()} MB at least, "
        f"{server['server_mb'].max()} MB at most, {server['server_mb'].iloc[-1]} MB at the end."
    )
    print(
        table.to_string(index=False, float_format=lambda value: f"{value:.0f}"),
        server.to_string(index=False),
        words,
        sep="\n",
    )
    if asked.print_only:
        return
    write_csv("reviewers", pd.concat([table, server], axis=1))
    body = f"{words}\n\n{markdown(table.round(0))}"
    write_section(Section("reviewers", "Reviewers at one queue", "python -m benchmarks.reviewers", body))


if __name__ == "__main__":
    main()
