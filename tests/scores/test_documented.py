"""Every signal has its paragraph in docs/signals.md, with a source, and every paragraph there a signal."""

from __future__ import annotations

import re
from pathlib import Path

from mimic.scores import CAPTION_SIGNALS, FURTHER_SIGNALS, PAIR_SIGNALS, SIGNALS

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs/signals.md").read_text(encoding="utf-8")
PARAGRAPHS = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^#|\Z)", DOCUMENT, re.DOTALL | re.MULTILINE))


def test_signals_and_paragraphs_are_the_same():
    assert set(PARAGRAPHS) == set(SIGNALS | PAIR_SIGNALS | FURTHER_SIGNALS | CAPTION_SIGNALS)


def test_every_paragraph_says_where_it_comes_from():
    assert [name for name, text in PARAGRAPHS.items() if not re.search(r"Source:|follows from", text)] == []
