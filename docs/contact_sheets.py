"""Every page of the app as a picture, many to a sheet, so that somebody can look at all of them.

    python -m docs.contact_sheets --out sheets [--sample W] [--big W] [--only small,running]

States: an empty workspace, a hundred samples, a run that is going, one that has failed; with --sample the demonstration
(`docs.screenshots` makes one), with --big a large synthetic workspace (`benchmarks.synthetic`). Four pages a sheet,
for each state, theme and width. Takes about four seconds a picture.
"""

from __future__ import annotations

import argparse
import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from benchmarks import synthetic
from docs.screenshots import CHROMIUM, serving, settle
from mimic.data import Shard
from mimic.files import write_json
from mimic.workspace.layout import Run, Workspace
from mimic.workspace.publish import write_part

PAGES = (
    "", "explore", "threshold", "combine", "compare", "review", "audit", "evaluate", "export", "train", "sql",
    "sample?sample=7",
)  # fmt: skip
GOING = ("", "explore", "train", "evaluate")  # where a run that is going or has failed shows
HEIGHT, COLUMNS, EACH, WIDTH = 1300, 2, 4, 640  # of a picture in pixels; to a row and to a sheet; as it is shown
Theme = Literal["light", "dark"]
LOOKS: tuple[tuple[Theme, int], ...] = (("light", 1280), ("dark", 1280), ("light", 1920), ("dark", 1920))


@dataclass(frozen=True)
class Shown:
    """A workspace to be shown: which pages of it, in which themes and widths."""

    workspace: Path
    pages: tuple[str, ...] = PAGES
    looks: tuple[tuple[Theme, int], ...] = LOOKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sample", type=Path)
    parser.add_argument("--big", type=Path)
    parser.add_argument("--only", default="", help="names of states, by commas")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    given = {name: Shown(place) for name in ("sample", "big") if (place := getattr(asked, name))}
    with tempfile.TemporaryDirectory() as made, states(Path(made)) as own, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for name, one in (own | given).items():
            if asked.only and name not in asked.only.split(","):
                continue
            with serving(one.workspace) as base:
                for theme, width in one.looks:
                    for number, first in enumerate(range(0, len(one.pages), EACH), 1):
                        path = asked.out / f"{name}-{theme}-{width}-{number}.png"
                        some = one.pages[first : first + EACH]
                        sheet([picture(browser, f"{base}/{page}", theme, width) for page in some]).save(path)
                        print(path, flush=True)


@contextmanager
def states(made: Path) -> Iterator[dict[str, Shown]]:
    """Workspaces in every state that takes no time to make."""
    (made / "empty").mkdir()
    synthetic.build(Workspace(made / "small"), 100, classes=5, shard=50)
    with ExitStack() as locks:
        for name in ("running", "failed"):
            workspace = Workspace(made / name)
            first = synthetic.build(workspace, 400, classes=5, shard=100)
            run = synthetic.begin(workspace, workspace.dataset(first.dataset), f"{name}-2", 100)
            half_done(run)
            if name == "running":
                fcntl.flock(locks.enter_context(run.lock.open("wb")), fcntl.LOCK_EX)
            else:
                sentence = "the reference has 10 classes and the data set 5: train one on these classes"
                write_json(run.folder / "run.json", run.facts | {"error": sentence})
        some: tuple[tuple[Theme, int], ...] = (("light", 1280), ("dark", 1920))
        yield {
            "empty": Shown(made / "empty", looks=some),
            "small": Shown(made / "small", looks=some),
            "running": Shown(made / "running", GOING, some),
            "failed": Shown(made / "failed", GOING, some),
        }


def half_done(run: Run) -> None:
    """The first two of a run's parts."""
    for shard in (Shard(0, 0, 100), Shard(1, 100, 200)):
        write_part(run, shard, synthetic.part(shard, synthetic.draw(shard, 5, 0), run.signals))


def picture(browser: Browser, url: str, theme: Theme, width: int) -> Image.Image:
    context = browser.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=theme)
    page = context.new_page()
    page.goto(url)
    settle(page)
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        page.screenshot(path=file.name)
        context.close()
        with Image.open(file.name) as image:
            return image.convert("RGB").resize((WIDTH, HEIGHT * WIDTH // width), Image.Resampling.LANCZOS)


def sheet(pictures: list[Image.Image]) -> Image.Image:
    """Pictures of one size, `COLUMNS` to a row."""
    width, height = pictures[0].width + 8, pictures[0].height + 8
    rows = -(-len(pictures) // COLUMNS)
    made = Image.new("RGB", (width * min(COLUMNS, len(pictures)), height * rows), "#888888")
    for place, one in enumerate(pictures):
        made.paste(one, (place % COLUMNS * width, place // COLUMNS * height))
    return made


if __name__ == "__main__":
    main()
