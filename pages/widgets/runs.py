"""Runs as choosers show them: what tells them apart, in a few words. The whole id stands in the chooser's help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from mimic.reports import text
from mimic.workspace.layout import Run

KINDS = {"train": "training", "signals": "further signals"}


def short_names(runs: Iterable[Run]) -> dict[str, str]:
    """What each run is called, by its id: model, scope and date; the data set where they are of several.

    No two are called alike: where the words do not tell them apart, the end of the id does.
    """
    listed = list(runs)
    several = len({run.dataset for run in listed}) > 1
    words = {run.id: (f"{run.dataset} · " if several else "") + _words(run) for run in listed}
    times = Counter(words.values())
    names = {id: said if times[said] == 1 else f"{said} · {id[-10:]}" for id, said in words.items()}
    taken = Counter(names.values())
    return {id: text.plain(name if taken[name] == 1 else id, 80) for id, name in names.items()}


def _words(run: Run) -> str:
    """What one run is of; its id where it does not say."""
    model = (run.facts.get("model") or {}).get("spec")
    if not model:
        return run.id
    parts = [str(model).rpartition(":")[2], run.facts.get("scope"), KINDS.get(str(run.facts.get("kind"))), _date(run)]
    return " · ".join(str(part) for part in parts if part)


def _date(run: Run) -> str:
    """When the run was begun, to the minute."""
    try:
        begun = datetime.fromisoformat(str(run.facts["created"]))
    except ValueError:
        return ""
    return f"{begun.day} {begun:%b %Y %H:%M}"
