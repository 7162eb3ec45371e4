"""The Python of docs/training.md runs, from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mimic.training.visits import read_visits

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "training.md"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, str(DOCUMENT), "exec"), namespace)
    assert read_visits(tmp_path / "visits").values.shape == (16, 1)
