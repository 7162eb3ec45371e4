"""Garbage: what imports made is looked through once, what sessions leave behind is still collected."""

import gc
import subprocess
import sys
import weakref

import pytest

from pages.widgets import garbage


@pytest.fixture(autouse=True)
def thawed():
    yield
    gc.unfreeze()


class Node:
    """A cycle of its own."""

    def __init__(self):
        self.me = self


def test_imports_are_spared_once_for_all_and_cycles_made_later_are_collected():
    garbage.spare_imports()
    frozen = gc.get_freeze_count()
    assert frozen > 10_000
    gone = weakref.ref(Node())
    garbage.spare_imports()  # nothing was imported
    assert gc.get_freeze_count() <= frozen
    gc.collect()
    assert gone() is None


def test_a_collection_looks_at_little_after_a_page(tmp_path):
    code = (
        "import gc, pandas, sqlalchemy, streamlit\n"
        "from pages.widgets import garbage\n"
        "before = len(gc.get_objects())\n"
        "garbage.spare_imports()\n"
        "print(before, len(gc.get_objects()))"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    before, after = map(int, said[-2:])
    assert after < before / 20
