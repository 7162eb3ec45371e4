"""Documentation that cannot lie: the README's tree is the disk's, its commands exist, its pictures too."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import typer.main

from mimic.cli import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return [ROOT / line for line in listing.splitlines()]


def tree_of_readme() -> set[str]:
    """The paths of the annotated tree: two spaces a level, a folder ends in a slash, the note follows two spaces."""
    block = re.search(r"```text\n(.*?)```", README, re.DOTALL)
    assert block, "the README has no tree"
    paths, stack = set(), []
    for line in block.group(1).splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name = re.split(r"\s{2,}", line.strip())[0]
        stack = [*stack[:depth], name]
        paths.add("".join(stack))
    return paths


def test_the_tree_is_on_the_disk() -> None:
    assert sorted(path for path in tree_of_readme() if not (ROOT / path).exists()) == []


def test_every_folder_and_module_of_the_package_is_in_the_tree() -> None:
    listed = {path.rstrip("/") for path in tree_of_readme()}
    parts = {path.relative_to(ROOT).parts for path in tracked() if path.suffix in {".py", ".typed"}}
    expected = {"/".join(p[:2]) for p in parts if p[0] == "mimic"} | {p[0] for p in parts}
    assert sorted(expected - listed - {"mimic/__init__.py", "mimic/py.typed"}) == []


def test_every_command_is_in_the_readme_and_every_command_there_exists() -> None:
    named = set(
        re.findall(r"\bmimic ([a-z]+)\b", " ".join(re.findall(r"`[^`]+`|^ {4}.*$|```.*?```", README, re.S | re.M)))
    )
    assert named >= set(COMMANDS)
    assert named <= set(COMMANDS)


def test_every_make_target_named_in_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)`", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize(
    "document", sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]), ids=lambda path: path.name
)
def test_links_to_files_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)\)|src=\"([^\"]+)\"", document.read_text(encoding="utf-8"))
    local = [a or b for a, b in targets if not (a or b).startswith(("http:", "https:", "mailto:"))]
    assert [name for name in local if not (document.parent / name).exists()] == []
