"""Takes the pictures of the app in docs/screenshots: pages on the sample data, light and dark.

    python -m docs.screenshots [--workspace W]      W gets what it lacks of a demo and a short training

Needs Chromium and playwright, as the browser tests do.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from mimic.runs import demo
from mimic.runs.launch import app_file
from mimic.workspace.layout import Workspace

HERE = Path(__file__).parent
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
WIDTH = 1280
COLOURS = 256  # of a picture's palette: a third of the bytes
SAMPLE_DATA = HERE.parent / "sample_data"
RULE = "ref_logprob@top90% - mimic@bottom15%"
# name → where, and how high; {sample}, {labels} and {captions} are a sample and the runs that are shown
PAGES = {
    "overview": ("/?dataset=sample&run={labels}", 1130),
    "explore": ("/explore?dataset=sample&run={labels}&split=truth&order=lowest", 1130),
    "threshold": ("/threshold?dataset=sample&run={labels}&keep=2400", 1130),
    "combine": ("/combine?dataset=sample&run={labels}&rule=" + quote(RULE), 1050),
    "compare": ("/compare?dataset=sample&run={labels}&b=ref_logprob&keep=2400", 1330),
    "sample": ("/sample?dataset=sample&run={labels}&sample={sample}", 900),
    "review": ("/review?dataset=sample&run={labels}", 800),
    "evaluate": ("/evaluate?dataset=sample&run={labels}", 960),
    "train": ("/train?dataset=sample", 1020),
    "captions": ("/explore?dataset=captions&run={captions}&split=truth&order=lowest", 1130),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--sample", type=int, default=168, help="whose own page is shown")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        workspace = asked.workspace or Path(made) / "workspace"
        make(workspace)
        shown = {"labels": newest(workspace, demo.DATASET), "captions": newest(workspace, demo.CAPTIONS)}
        with serving(workspace) as base, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            for theme in ("light", "dark"):
                for name, (address, height) in PAGES.items():
                    picture = HERE / "screenshots" / f"{name}-{theme}.png"
                    take(browser, base + address.format(sample=asked.sample, **shown), theme, height, picture)
                    print(f"{picture.relative_to(HERE.parent)}  {picture.stat().st_size / 1000:.0f} kB")


def make(workspace: Path) -> None:
    """The demonstration and a short training, or what is missing of them."""
    place = ["--workspace", str(workspace)]
    files = {name: str(SAMPLE_DATA / f"{name}.safetensors") for name in ("reference", "start")}
    train = ["train", demo.DATASET, "--model", demo.MODEL, "--compare", "uniform", "--epochs", "3", "--lr", "0.001"]
    train += [word for name, file in files.items() for word in (f"--{name}", file)]
    for command in (["demo", "--no-app"], train):
        subprocess.run([sys.executable, "-m", "mimic.cli", *command, *place], check=True)


def newest(workspace: Path, dataset: str) -> str:
    """The data set's newest scoring run: its first signals, not those added to it."""
    runs = Workspace(workspace).runs(dataset)
    return next(run.id for run in runs if run.state == "published" and run.facts["kind"] == "score")


@contextmanager
def serving(workspace: Path, path: str = "") -> Iterator[str]:
    """A server of the app on a workspace; its address.

    Args:
        workspace: what it shows.
        path: what the app's addresses begin with, where its settings say so.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(app_file()), "--server.port", str(port)]
    environment = os.environ | {"MIMIC_WORKSPACE": str(workspace.resolve()), "LOGNAME": "reviewer"}
    with started(command, f"http://127.0.0.1:{port}{path}", environment, workspace / "server.log") as base:
        yield base


@contextmanager
def started(command: list[str], base: str, environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """The server that a command starts, once it answers at its address; ended with the block."""
    with log.open("wb") as file:
        server = subprocess.Popen(
            command, cwd=app_file().parent, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{base}/_stcore/health")
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise RuntimeError(f"the app did not start: {log.read_text()}")
        yield base
    finally:
        server.terminate()
        server.wait(30)


def take(browser: Browser, url: str, theme: str, height: int, picture: Path) -> None:
    """One picture, of few colours, which the pages have anyway."""
    context = browser.new_context(viewport={"width": WIDTH, "height": height}, color_scheme=theme)
    page = context.new_page()
    page.goto(url)
    settle(page)
    picture.parent.mkdir(exist_ok=True)
    page.screenshot(path=picture)
    context.close()
    with Image.open(picture) as image:
        few_colours(image.convert("RGB")).save(picture, optimize=True)


def few_colours(image: Image.Image) -> Image.Image:
    """The picture with a palette, half of it the commonest colours, half of it such that thin lines keep theirs."""
    pixels = np.asarray(image).reshape(-1, 3).astype(np.int64) @ (65536, 256, 1)
    packed, place, times = np.unique(pixels, return_inverse=True, return_counts=True)
    colours = np.stack([packed // 65536, packed // 256 % 256, packed % 256], axis=1)
    others = image.quantize(COLOURS // 2, Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = np.concatenate([colours[np.argsort(-times)[: COLOURS // 2]], np.array(others).reshape(-1, 3)])
    nearest = np.abs(colours[:, None] - palette[None]).sum(axis=2).argmin(axis=1)
    made = Image.fromarray(nearest[place].reshape(image.height, image.width).astype(np.uint8), "P")
    made.putpalette(palette.ravel().tolist())
    return made


def settle(page: Page) -> None:
    """Wait until the page is drawn: the script has ended, nothing on it is stale, figures and tiles are there."""
    page.wait_for_function(
        "() => document.querySelector('[data-testid=stApp]')?.getAttribute('data-test-script-state') === 'notRunning'"
        " && document.querySelector('h1') && !document.querySelector('[data-stale=true], [data-testid=stSkeleton]')",
        timeout=60_000,
    )
    time.sleep(2.5)  # canvases and figures draw after that, and say nothing when they have


if __name__ == "__main__":
    main()
