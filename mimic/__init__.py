"""mimic: score every sample of an image training set by how far it moves a model towards a pretrained reference.

The names below load on first use (PEP 562), so that reading a run or printing help never imports torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimic.models.direction import Direction
    from mimic.reports.exports.load import load_filter
    from mimic.scores.mimic import iter_scores, mimic_scores
    from mimic.training.reweight import GradMimic

__version__ = "0.4.0"

_HOME = {
    "Direction": "mimic.models.direction",
    "GradMimic": "mimic.training.reweight",
    "iter_scores": "mimic.scores.mimic",
    "load_filter": "mimic.reports.exports.load",
    "mimic_scores": "mimic.scores.mimic",
}

__all__ = ["Direction", "GradMimic", "iter_scores", "load_filter", "mimic_scores"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mimic' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
