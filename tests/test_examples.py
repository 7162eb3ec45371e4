"""Examples that run: those in docstrings, and the Python of docs/library.md from top to bottom."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path
from typing import get_args

import pytest

from mimic.losses import LOSSES
from mimic.models.build import SPECS
from mimic.models.scope import SCOPES
from mimic.models.small import SMALL
from mimic.scores.differentiate import Method

ROOT = Path(__file__).resolve().parents[1]
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "mimic").rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_docstrings(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module))
    assert (results.failed, results.attempted > 0) == (0, True)


def test_the_library_page() -> None:
    text = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    namespace: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        exec(compile(block, "docs/library.md", "exec"), namespace)


def test_every_spec_scope_method_and_loss_is_on_the_models_page() -> None:
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    names = [*SCOPES, *get_args(Method)[1:], *LOSSES, *(f"{prefix}:" for prefix in SPECS), *SMALL]
    assert [name for name in names if name not in text] == []
