"""Named filters: a rule, not a list of ids. Small JSON files that give the same decisions while their run is there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mimic.errors import MimicError
from mimic.files import make_folder, write_json
from mimic.workspace.layout import FORMAT, Workspace, check_name, read_facts


@dataclass(frozen=True)
class NamedFilter:
    """A rule that somebody gave a name.

    Attributes:
        name, dataset, created: what it is called, what it decides about, when it was made (ISO 8601, UTC).
        rule: the rule as written, e.g. ``{"kind": "threshold", "run": …, "signal": …, "threshold": …}``.
        counts: kept, dropped, not_scored samples when it was made.
    """

    name: str
    dataset: str
    created: str
    rule: dict[str, Any]
    counts: dict[str, int]


def save_filter(
    workspace: Workspace,
    name: str,
    dataset: str,
    rule: dict[str, Any],
    counts: dict[str, int],
    *,
    replace: bool = False,
) -> NamedFilter:
    """Write a named filter.

    Raises:
        MimicError: an unsafe name; the name is taken by another rule and `replace` is not set; no permission.
    """
    path = _path(workspace, name)
    if path.exists() and not replace:
        present = load_filter(workspace, name)
        if (present.dataset, present.rule) == (dataset, rule):
            return present
        raise MimicError(
            f"a filter {name!r} is there with another rule, for data set {present.dataset} (a workspace has one filter"
            " of a name): choose another name, or replace it (--replace; on the page, the box beside Save)"
        )
    saved = NamedFilter(name, dataset, datetime.now(UTC).isoformat(timespec="seconds"), rule, counts)
    make_folder(path.parent)
    facts = {"name": name, "dataset": dataset, "created": saved.created, "rule": rule, "counts": counts}
    write_json(path, {"format": FORMAT, **facts})
    return saved


def load_filter(workspace: Workspace, name: str) -> NamedFilter:
    """The filter of that name.

    Raises:
        MimicError: there is none (the sentence says which there are), or its file is not one of ours.
    """
    path = _path(workspace, name)
    if not path.exists():
        known = ", ".join(other.stem for other in workspace.filters()[:10]) or "it has none yet"
        makes = f'mimic filter RUN --rule "mimic@top80%" --name {name}{workspace.option}'
        raise MimicError(f"no filter {name!r} in the workspace {workspace.path}: {known}; e.g. `{makes}` makes one")
    return _read(path)


def list_filters(workspace: Workspace, dataset: str | None = None) -> list[NamedFilter]:
    """Every named filter, or those of one data set, the newest first."""
    found = [_read(path) for path in workspace.filters()]
    chosen = [one for one in found if dataset is None or one.dataset == dataset]
    return sorted(chosen, key=lambda one: (one.created, one.name), reverse=True)


def _path(workspace: Workspace, name: str) -> Path:
    return workspace.filters_folder / f"{check_name('filter', name)}.json"


def _read(path: Path) -> NamedFilter:
    facts = read_facts(path, {"dataset": str, "created": str, "rule": dict, "counts": dict})
    return NamedFilter(path.stem, facts["dataset"], facts["created"], facts["rule"], facts["counts"])
