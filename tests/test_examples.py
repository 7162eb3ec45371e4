"""Examples that run: those in docstrings, the Python of docs/library.md from top to bottom, that of docs/models.md."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from PIL import Image

from mimic.losses import LOSSES
from mimic.models.build import SPECS
from mimic.models.checkpoint import load_checkpoint
from mimic.models.scope import SCOPES
from mimic.models.small import SMALL, small_preprocess
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


def test_the_models_page_s_reference_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    (block,) = (one for one in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "save_checkpoint" in one)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    exec(compile(block, "docs/models.md", "exec"), namespace)
    pixels = namespace["built"].preprocess(Image.new("RGB", (50, 20), "white"))
    assert (tuple(pixels.shape), float(pixels.min()), float(pixels.max())) == ((1, 28, 28), 1.0, 1.0)
    assert small_preprocess("resnet20").size == (32, 32)
    assert load_checkpoint("reference.safetensors").classes == ["cat", "dog", "owl"]
