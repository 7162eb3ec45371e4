"""Removing a run: nobody may be working on it, and what needs it is named first.

The folder is renamed out of sight under the run's lock, then emptied: a kill in between leaves a hidden folder that no
listing shows. Whoever has scores.duckdb open goes on reading what they opened; the next look says that it is gone.
"""

from __future__ import annotations

import shutil
from typing import Any

from mimic.workspace.audits import list_audits
from mimic.workspace.filters import list_filters
from mimic.workspace.layout import Run, Workspace
from mimic.workspace.locks import held


def needed_by(workspace: Workspace, run: Run) -> list[str]:
    """What no longer works without the run: ``filter strict``, ``audit strict``."""
    filters = [f"filter {one.name}" for one in list_filters(workspace) if _mentions(one.rule, run.id)]
    return filters + [f"audit {one.name}" for one in list_audits(workspace, run.id)]


def remove_run(run: Run) -> None:
    """Remove a run with everything in its folder; data set, decisions and filters stay.

    Raises:
        MimicError: another process is working on it.
    """
    hidden = run.folder.with_name(f".{run.id}.removed")
    shutil.rmtree(hidden, ignore_errors=True)  # of an earlier run of that name, killed half way
    with held(run.folder):
        run.folder.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)


def _mentions(rule: Any, run: str) -> bool:
    """Whether a rule, or one inside it, names the run: ids are told apart from other words by being whole values."""
    if isinstance(rule, dict):
        return any(_mentions(value, run) for value in rule.values())
    if isinstance(rule, (list, tuple)):
        return any(_mentions(value, run) for value in rule)
    return bool(rule == run)
