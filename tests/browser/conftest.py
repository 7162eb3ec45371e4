"""A server of the app and a Chromium that cannot reach anything else.

Skipped with the reason where there is no Chromium, unless REQUIRE_BROWSER=1 says that there must be one.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks import synthetic
from docs.screenshots import serving
from mimic.workspace.decisions import Decisions
from mimic.workspace.layout import Workspace
from tests.pages.conftest import add_hostile

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]
# Streamlit looks for its server beside a deep link before it looks at the root; Chromium reports each miss.
PROBES = ("/_stcore/health", "/_stcore/host-config")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(f"REQUIRE_BROWSER=1, but there is no {CHROMIUM}")
        pytest.skip(f"no Chromium at {CHROMIUM}: install one, or say where it is with CHROMIUM")
    expect.set_options(timeout=20_000)  # the machine may be busy with other tests
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace(tmp_path_factory.mktemp("browser"))
    synthetic.build(made, 900, classes=5, shard=300, pictures=25)
    add_hostile(made)
    return made


@pytest.fixture
def decisions(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Decisions:
    monkeypatch.delenv("MIMIC_DECISIONS_URL", raising=False)
    return Decisions(workspace, workspace.dataset("synthetic-900"))


@pytest.fixture(scope="session")
def served(workspace: Workspace) -> Iterator[str]:
    with serving(workspace.path) as base:
        yield base


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages; see `visiting`."""
    with visiting(chromium) as opened:
        yield opened


@contextmanager
def visiting(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages; at the end nothing may have gone wrong in them, and nothing may have been asked of anyone else."""
    contexts, wrong = [], []

    def opened(url: str, scheme: Literal["light", "dark"] = "light") -> Page:
        context = browser.new_context(viewport={"width": 1280, "height": 1400}, color_scheme=scheme)
        contexts.append(context)
        base = "/".join(url.split("/")[:3])
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("request", lambda r: wrong.append(r.url) if not r.url.startswith((base, "data:", "blob:")) else None)
        page.on("response", lambda r: wrong.append(r.url) if r.status >= 400 and not r.url.endswith(PROBES) else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" and not probing(m.location) else None)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def probing(location: dict[str, object]) -> bool:
    return str(location.get("url", "")).endswith(PROBES)


def settle(page: Page) -> None:
    """Wait until the script has ended and everything on the page is of its last run."""
    page.wait_for_function(
        "() => { const app = document.querySelector('[data-testid=stApp]');"
        " return app && app.getAttribute('data-test-script-state') === 'notRunning'"
        " && app.getAttribute('data-test-connection-state') === 'CONNECTED'"
        " && !document.querySelector('[data-stale=true], [data-testid=stSkeleton]'); }"
    )


def shown(page: Page) -> str:
    """The words for the picture that Review asks about: its label and its id."""
    return page.locator("[data-testid=stImage] img[alt*=',']").first.get_attribute("alt") or ""


def press(page: Page, key: str) -> None:
    """A key in Review, once the picture has been there a moment, and the next picture."""
    time.sleep(0.4)
    before = shown(page)
    page.keyboard.press(key)
    moved = "before => document.querySelector('[data-testid=stImage] img[alt*=\",\"]')?.alt !== before"
    page.wait_for_function(moved, arg=before)
    settle(page)


def brush(page: Page, start: float, stop: float) -> None:
    """Drag over the bars of Explore, from one share of their width to another."""
    box = page.locator(".plot").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + stop * box["width"], y, steps=8)
    page.mouse.up()
    expect(page.get_by_role("button", name="Clear the brush")).to_be_enabled()
    settle(page)
