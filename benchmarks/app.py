"""How long a person waits: every step in a real browser, from the input to the last pixel of its answer.

    python -m benchmarks.synthetic --rows 10_000_000 --workspace big
    python -m benchmarks.app --workspace big [--repeat 15]

One warm user; p50 and p95 in milliseconds, and the first paint of each page. Writes results/app.csv and a section of
docs/results.md. Needs Chromium and playwright, as the browser tests do.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import Page, sync_playwright

from benchmarks.tables import Section, markdown, write_csv, write_section
from docs.screenshots import CHROMIUM, serving, settle
from mimic.workspace.layout import Workspace

REACH = {"brush a histogram": 250, "slider released": 200, "page change": 200, "compare at another budget": 350}
# Changes on every pass of the script; what is waited for is that it has ended and nothing drawn before it is left.
DONE = (
    "() => document.querySelector('[data-testid=stApp]').getAttribute('data-test-script-state') === 'notRunning'"
    " && !document.querySelector('[data-stale=true]')"
)


def timed(page: Page, act: Callable[[], None], answer: Callable[[], str]) -> float:
    """Milliseconds from an input to its answer on the page, settled: `answer` reads what must change."""
    before = answer()
    started = time.perf_counter()
    act()
    while answer() == before:
        time.sleep(0.002)
    page.wait_for_function(DONE, polling="raf")
    return 1000 * (time.perf_counter() - started)


def said(page: Page, words: str) -> Callable[[], str]:
    return lambda: page.get_by_text(re.compile(words)).first.inner_text()


def brushes(page: Page) -> Iterator[Callable[[], None]]:
    box = page.locator(".nsewdrag").first.bounding_box()
    assert box
    for start in cycle(np.linspace(0.05, 0.5, 7)):

        def drag(start: float = float(start)) -> None:
            y = box["y"] + box["height"] / 2
            page.mouse.move(box["x"] + start * box["width"], y)
            page.mouse.down()
            page.mouse.move(box["x"] + (start + 0.3) * box["width"], y, steps=2)
            page.mouse.up()

        yield drag


def first_paint(page: Page, url: str) -> float:
    started = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("h1")
    page.wait_for_function(DONE, polling="raf")
    return 1000 * (time.perf_counter() - started)


def measure(page: Page, base: str, repeat: int) -> pd.DataFrame:
    """One row a step: p50, p95 in ms."""
    times: dict[str, list[float]] = {}
    for name in ("", "explore", "threshold", "compare", "sample"):
        first_paint(page, f"{base}/{name}")  # the caches of a first visitor
        times[f"first paint, {name or 'overview'}"] = [first_paint(page, f"{base}/{name}") for _ in range(5)]

    page.goto(f"{base}/explore")
    settle(page)
    count, drags = said(page, r"^[\d,]+ samples"), brushes(page)
    times["brush a histogram"] = [timed(page, next(drags), count) for _ in range(repeat)]
    page.get_by_role("button", name="Clear the brush").click()
    settle(page)
    tile = page.locator("a.tile").first
    following = page.get_by_role("button", name="Next")
    times["page change"] = [
        timed(page, following.click, lambda: tile.get_attribute("href") or "") for _ in range(repeat)
    ]

    for name, page_name, metric in (
        ("slider released", "threshold", "Kept"),
        ("compare at another budget", "compare", "Only A drops"),
    ):
        page.goto(f"{base}/{page_name}")
        settle(page)
        slider = page.get_by_role("slider")
        value = page.get_by_test_id("stMetric").filter(has_text=metric).first
        slider.focus()
        keys = cycle(["PageDown", "PageDown", "PageDown", "PageUp"])
        presses = [partial(slider.press, next(keys)) for _ in range(repeat)]
        times[name] = [timed(page, press, value.inner_text) for press in presses]
    rows = [(name, np.percentile(t, 50), np.percentile(t, 95), REACH.get(name)) for name, t in times.items()]
    return pd.DataFrame(rows, columns=["step", "p50_ms", "p95_ms", "reach_p95_ms"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--repeat", type=int, default=15)
    asked = parser.parse_args()
    samples = max(run.size for run in Workspace(asked.workspace).runs())
    with serving(asked.workspace) as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(60_000)
        table = measure(page, base, asked.repeat)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.0f}"))
    write_csv("app", table.assign(samples=samples))
    load = os.getloadavg()[0]
    words = f"{samples:,} samples, {os.cpu_count()} cores shared by server and browser, load average {load:.1f}; ms."
    command = "python -m benchmarks.app --workspace big"
    write_section(Section("app", "The app in a browser", command, f"{words}\n\n{markdown(table.round(0))}"))


if __name__ == "__main__":
    main()
