"""The versions that a run's numbers may depend on: written into run.json, and compared between machines."""

from __future__ import annotations

from importlib.metadata import version

import torch

from mimic.scores import VERSION


def versions() -> dict[str, str]:
    """Package → version, as installed here; ``scores`` is that of the scores' own definition."""
    return {
        "mimic": version("mimic-score"),
        "scores": VERSION,
        "torch": torch.__version__,
        "pillow": version("pillow"),
    }
