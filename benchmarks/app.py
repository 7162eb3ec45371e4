"""How long a person waits: every step in a real browser, from the input's own event to its answer on the screen.

    python -m benchmarks.synthetic --rows 10_000_000 --classes 1000 --workspace big
    python -m benchmarks.app --workspace big [--repeat 40] [--browsers 8 --minutes 5]
    python -m benchmarks.app --workspace mimic-workspace      the demonstration's: writes results/app_small.csv

One warm user; p50 and p95 in milliseconds, and the first paint of each page. The page's own clock measures: asking it
from outside over and over whether it is ready takes the time away that it needs to become so. With --browsers so many
people click for so many minutes instead: how much memory the server takes, how much processor time it and the browsers
take, and whether any page shows an error. Writes results/app.csv or results/app_load.csv and a section of
docs/results.md. Needs Chromium and playwright.
"""

from __future__ import annotations

import argparse
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.tables import Section, markdown, write_csv, write_section
from docs.screenshots import CHROMIUM, serving, settle
from mimic.workspace.layout import Run, Workspace
from pages.widgets.frame import PAGES as MENU

REACH = {
    "next review key": 120,
    "brush a histogram": 250,
    "brush, unsorted signal": 450,
    "slider released": 200,
    "line on the bars": 50,
    "page change": 200,
    "compare at another budget": 350,
}
PAGES = (*MENU.values(), "sample")
MANY = 1_000_000  # samples of what counts as a large workspace
FIRST_PAINT = {True: 1500, False: 1000}  # reach for large ones and others
FLAGS = ["--no-sandbox", "--disable-gpu"]

# Waits for what `read` gives to change and the script to have ended, then for two frames; the clock starts at the last
# input event. Shadow roots (the gallery) are looked into; textContent forces no layout.
WATCH = """
(() => {
  const everywhere = (selector, root = document) => {
    const found = root.querySelector(selector);
    if (found) return found;
    for (const host of root.querySelectorAll('*')) {
      const inside = host.shadowRoot && everywhere(selector, host.shadowRoot);
      if (inside) return inside;
    }
  };
  const texts = (selector) => [...document.querySelectorAll(selector)].map((e) => e.textContent);
  const read = {
    count: () => texts('[data-testid=stMarkdownContainer]').find((t) => /^[\\d,]+ samples/.test(t)),
    tile: () => everywhere('a.tile')?.href,
    said: () => everywhere('[aria-label^="Line on"]')?.getAttribute('aria-valuetext'),
    metric: () => texts('[data-testid=stMetricValue]').join(),
    picture: () => document.querySelector('[data-testid=stImage] img[alt*=","]')?.alt,
  };
  const ended = () =>
    document.querySelector('[data-testid=stApp]').getAttribute('data-test-script-state') === 'notRunning' &&
    !document.querySelector('[data-stale=true]');
  let input = 0;
  for (const kind of ['keydown', 'pointerup', 'mouseup', 'click'])
    window.addEventListener(kind, (event) => (input = event.timeStamp), true);
  window.watch = (name, wholly) => {
    const before = read[name]();
    const limit = performance.now() + 30000;
    window.answered = new Promise((resolve, reject) => {
      const look = () => {
        if (performance.now() > limit) reject(new Error(`no answer within 30 s: ${name} is still ${before}`));
        else if (read[name]() !== before && (!wholly || ended()))
          requestAnimationFrame(() => requestAnimationFrame((now) => resolve(now - input)));
        else requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    });
  };
})();
"""


def timed(page: Page, what: str, act: Callable[[], None], *, wholly: bool = True) -> float:
    """Milliseconds from an input to its answer on the screen; `wholly`: until nothing old is left on the page."""
    page.evaluate("([what, wholly]) => window.watch(what, wholly)", [what, wholly])
    act()
    return float(page.evaluate("() => window.answered"))


def first_paint(page: Page, url: str) -> float:
    """Milliseconds from opening an address to the page's last stale part being gone."""
    started = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("h1")
    page.wait_for_function(
        "() => document.querySelector('[data-testid=stApp]').getAttribute('data-test-script-state') === 'notRunning'"
        " && !document.querySelector('[data-stale=true], [data-testid=stSkeleton]')",
        polling="raf",
    )
    return 1000 * (time.perf_counter() - started)


def opened(page: Page, url: str) -> None:
    """Open a page and let it watch itself."""
    page.goto(url)
    settle(page)
    page.evaluate(WATCH)


def brushes(page: Page) -> Iterator[Callable[[], None]]:
    """Drags over the histogram, each from another place."""
    box = page.locator(".plot").bounding_box()
    assert box
    for start in cycle(np.linspace(0.05, 0.5, 7)):

        def drag(start: float = float(start)) -> None:
            y = box["y"] + box["height"] / 2
            page.mouse.move(box["x"] + start * box["width"], y)
            page.mouse.down()
            page.mouse.move(box["x"] + (start + 0.3) * box["width"], y, steps=2)
            page.mouse.up()

        yield drag


def measure(page: Page, base: str, run: Run, repeat: int) -> pd.DataFrame:
    """One row a step on a run's pages: p50, p95 in ms."""
    reach = REACH | {f"first paint, {name}": FIRST_PAINT[run.size >= MANY] for name in PAGES}
    of = f"?dataset={run.dataset}&run={run.id}&"

    def address(name: str, more: str = "") -> str:
        return f"{base}/{'' if name == 'overview' else name}{of}{more}"

    times: dict[str, list[float]] = {}
    for name in ("explore", "threshold", "compare", "review"):
        first_paint(page, address(name))  # the caches of a first visitor
    for name, signal in (("brush a histogram", "mimic"), ("brush, unsorted signal", "margin")):
        opened(page, address("explore", f"signal={signal}"))
        drags = brushes(page)
        times[name] = [timed(page, "count", next(drags)) for _ in range(repeat)]
    page.get_by_role("button", name="Clear the brush").click()
    settle(page)
    following = page.get_by_role("button", name="Next")
    times["page change"] = [timed(page, "tile", following.click) for _ in range(repeat)]

    for name, place in (("slider released", "threshold"), ("compare at another budget", "compare")):
        times[name] = []
        while len(times[name]) < repeat:
            # from another place each time: none is remembered, and none is the end, where nothing would change
            opened(page, address(place, f"keep={int(run.size * (0.9 - 1e-4 * len(times[name])))}"))
            page.get_by_role("slider", name="amples").focus()
            for _ in range(min(6, repeat - len(times[name]))):
                times[name].append(timed(page, "metric", partial(page.keyboard.press, "PageDown")))

    opened(page, address("threshold"))
    page.get_by_role("slider", name="Line on").focus()
    times["line on the bars"] = []
    for key, _ in zip(cycle(("ArrowLeft", "ArrowRight")), range(repeat), strict=False):
        time.sleep(0.6)  # the page follows the step before
        arrow = partial(page.keyboard.press, key)
        times["line on the bars"].append(timed(page, "said", arrow, wholly=False))

    opened(page, address("review", "queue=random"))
    times["next review key"] = []
    for key, _ in zip(cycle("kds"), range(repeat), strict=False):
        time.sleep(0.4)  # longer than the guard against keys that come too soon
        times["next review key"].append(timed(page, "picture", partial(page.keyboard.press, key), wholly=False))
    for name in PAGES:  # last: every time is a session that the server remembers for a while
        first_paint(page, address(name))
        times[f"first paint, {name}"] = [first_paint(page, address(name)) for _ in range(min(repeat, 7))]
    steps = [(name, np.percentile(t, 50), np.percentile(t, 95), reach.get(name)) for name, t in times.items()]
    return pd.DataFrame(steps, columns=["step", "p50_ms", "p95_ms", "reach_p95_ms"])


def clicking(base: str, door: str, until: float, seed: int, found: list[tuple[int, list[str]]]) -> None:
    """One person who clicks about until the time is up; adds how many steps it took and which errors were shown.

    Args:
        door: where the browser takes orders; everybody has a session of their own in it.
    """
    rng, steps, errors = np.random.default_rng(seed), 0, []
    with sync_playwright() as playwright:
        page = playwright.chromium.connect_over_cdp(door).new_context().new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.set_default_timeout(60_000)
        while time.monotonic() < until:
            name = str(rng.choice(["explore", "threshold", "compare", "", "sample"]))
            number = int(rng.integers(0, 1000))
            page.goto(f"{base}/{name}?sample={number}&keep={1 + number}&order=random&seed={number}")
            settle(page)
            for _ in range(3):
                if name == "explore":
                    page.get_by_role("button", name="Next").click()
                elif name in ("threshold", "compare"):
                    page.get_by_role("slider", name="amples").focus()
                    page.keyboard.press("PageUp")
                settle(page)
                steps += 1
            errors += page.get_by_test_id("stAlertContentError").all_inner_texts()
            errors += page.get_by_test_id("stException").all_inner_texts()
    found.append((steps, errors))


def server_on(port: int) -> int:
    """The process of the server on a port."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended meanwhile
        if b"streamlit" in words and str(port).encode() in words:
            return int(folder.name)
    raise RuntimeError(f"no server on port {port}")


def memory(pid: int) -> float:
    """Megabytes that a process holds (resident)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def processor(pid: int) -> float:
    """Seconds of processor time of a process, its children and theirs, of those that live now."""
    seconds: dict[int, float] = {}
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it ended meanwhile
        seconds[int(folder.name)] = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
        children.setdefault(int(words[1]), []).append(int(folder.name))
    found, total = [pid], 0.0
    while found:
        one = found.pop()
        total += seconds.get(one, 0.0)
        found += children.get(one, [])
    return total


def load(base: str, browsers: int, minutes: float) -> pd.DataFrame:
    """Many people at once: memory and processor seconds of the server and of all browsers by the half minute."""
    found: list[tuple[int, list[str]]] = []
    rows: list[tuple[int, int, float, float]] = []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # one browser with as many sessions: eight of them would take the two cores from the server
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, f"--remote-debugging-port={port}"])
        started = time.monotonic()
        door, until = f"http://127.0.0.1:{port}", started + 60 * minutes
        people = [threading.Thread(target=clicking, args=(base, door, until, seed, found)) for seed in range(browsers)]
        for person in people:
            person.start()
        server = server_on(int(base.rsplit(":", 1)[1]))
        while any(person.is_alive() for person in people):
            used = processor(server)
            rows.append((round(time.monotonic() - started), round(memory(server)), used, processor(os.getpid()) - used))
            time.sleep(min(30, 60 * minutes / 4))
        browser.close()
    frame = pd.DataFrame(rows, columns=["second", "server_mb", "server_cpu_s", "browsers_cpu_s"])
    errors = [error for _, some in found for error in some]
    print("\n".join(errors[:20]))
    return frame.assign(browsers=browsers, steps=sum(n for n, _ in found), errors=len(errors) + browsers - len(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--repeat", type=int, default=40)
    parser.add_argument("--browsers", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--print-only", action="store_true", help="change no file")
    asked = parser.parse_args()
    runs = [run for run in Workspace(asked.workspace).runs() if run.state == "published" and "margin" in run.signals]
    run = max(runs, key=lambda run: run.size)
    samples = run.size
    busy = os.getloadavg()[0]
    with serving(asked.workspace) as base:
        table = load(base, asked.browsers, asked.minutes) if asked.browsers else alone(base, run, asked.repeat)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.0f}"))
    if asked.print_only:
        return
    name = "app_load" if asked.browsers else "app" if samples >= MANY else "app_small"
    write_csv(name, table.assign(samples=samples, load_before=round(busy, 1)))
    words = f"{samples:,} samples, {os.cpu_count()} cores shared by server and browser, load average before {busy:.1f}"
    title = f"The app in a browser, {samples:,} samples, milliseconds"
    title = "The app under eight browsers" if asked.browsers else title
    place = "big" if samples >= MANY else "mimic-workspace"
    command = f"python -m benchmarks.app --workspace {place}" + (" --browsers 8" if asked.browsers else "")
    write_section(Section(name, title, command, f"{words}.\n\n{markdown(table.round(0))}"))


def alone(base: str, run: Run, repeat: int) -> pd.DataFrame:
    """One warm user."""
    with sync_playwright() as playwright:
        browser: Browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(60_000)
        return measure(page, base, run, repeat)


if __name__ == "__main__":
    main()
