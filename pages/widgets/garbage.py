"""Sets what imports have made apart from garbage collection.

Streamlit collects in full after every run of a script, and holds the interpreter meanwhile: the last messages of a step
wait. Looking through half a million objects of pandas, SQLAlchemy and DuckDB, which live as long as the server, took a
third of a step's processor time.
"""

from __future__ import annotations

import atexit
import gc
import sys

_seen = 0  # modules at the last look


def spare_imports() -> None:
    """Call after a page has run: where it has imported anything, what lives now is never looked through again.

    That is a bounded number of times. What is set apart is freed by its reference count like everything else; only a
    cycle among it, which a session leaves behind at just that moment, is not.
    """
    global _seen
    if len(sys.modules) != _seen:
        _seen = len(sys.modules)
        gc.collect()
        gc.freeze()


atexit.register(gc.unfreeze)  # or DuckDB's bindings would call all of it leaked, at length, as the server ends
