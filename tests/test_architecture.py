"""The shape of the code, held by tests: imports fall, pages stay thin, reading never loads torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py"))]
TORCH_FREE = [
    "mimic",
    "mimic.images",
    "mimic.workspace.layout",
    "mimic.workspace.queries",
    "mimic.workspace.decisions",
    "mimic.workspace.audits",
    "mimic.filters",
    "mimic.evaluation.detection",
    "mimic.evaluation.reference_check",
    "mimic.evaluation.verdicts",
    "mimic.reports.figures",
    "mimic.reports.exports",
    "mimic.runs.launch",
]
# What a page may stand on: the floors below the app that know no torch (shared by every page, so one list).
PAGE_MAY_IMPORT = (
    "mimic.workspace",
    "mimic.filters",
    "mimic.evaluation",
    "mimic.reports",
    "mimic.runs.launch",
    "mimic.errors",
    "mimic.data",  # the nouns
)


def imports_of(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout


def test_imports_fall() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter, "--no-cache"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_stand_only_on_torch_free_floors(path: Path) -> None:
    ours = [name for name in imports_of(path) if name.split(".")[0] == "mimic"]
    assert [name for name in ours if not name.startswith(PAGE_MAY_IMPORT)] == []
    assert not {"torch", "duckdb", "sqlalchemy", "numpy"} & {name.split(".")[0] for name in imports_of(path)}


def test_the_library_never_imports_streamlit() -> None:
    users = [
        path for path in (ROOT / "mimic").rglob("*.py") if any(n.split(".")[0] == "streamlit" for n in imports_of(path))
    ]
    assert users == []


def test_reading_never_loads_torch() -> None:
    modules = "\n".join(f"import {name}" for name in TORCH_FREE)
    assert run_python(f"{modules}\nimport sys; print('torch' in sys.modules)").strip() == "False"


def test_help_never_loads_torch_or_streamlit() -> None:
    code = (
        "import sys\nfrom mimic.cli import main\nsys.argv = ['mimic', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('loaded', sorted({'torch', 'streamlit'} & set(sys.modules)))"
    )
    assert run_python(code).strip().endswith("loaded []")
