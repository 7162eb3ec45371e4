"""Audits: samples drawn at random on both sides of a line, for people to judge without seeing the score.

W/audits/<name>.json   the line, the seed and the drawn samples of each zone, in the order drawn

The verdicts are decisions whose source is ``audit <name>``: keep is good, drop and relabel are bad, skip is unsure.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mimic.errors import MimicError
from mimic.workspace.files import make_folder, read_json, write_json
from mimic.workspace.layout import FORMAT, Workspace, check_name
from mimic.workspace.queries.audit import counts_between, draw
from mimic.workspace.queries.connection import Published


@dataclass(frozen=True)
class Zone:
    """A span of scores, low ≤ score < high (None: open), with the samples drawn from it, in the order drawn."""

    low: float | None
    high: float | None
    size: int
    samples: tuple[int, ...]

    @property
    def span(self) -> tuple[float, float]:
        return (-math.inf if self.low is None else self.low, math.inf if self.high is None else self.high)


@dataclass(frozen=True)
class Audit:
    """A draw for a line of a signal of a run.

    Attributes:
        name, dataset, run, signal, line: what is audited.
        published_at: of the run when it was drawn: a rebuilt run needs a new draw.
        seed: of the draw; the same seed and count give the same samples.
        zones: the two sides of the line, the lower first.
    """

    name: str
    dataset: str
    run: str
    published_at: str
    signal: str
    line: float
    created: str
    seed: int
    zones: tuple[Zone, ...]

    @property
    def source(self) -> str:
        """What its verdicts are marked with."""
        return f"audit {self.name}"

    @property
    def samples(self) -> list[int]:
        """Every drawn sample, the zones mixed at random, so that nobody can tell them apart, each as drawn."""
        zone_of = np.repeat(np.arange(len(self.zones)), [len(zone.samples) for zone in self.zones])
        queues = [iter(zone.samples) for zone in self.zones]
        return [next(queues[zone]) for zone in np.random.default_rng(self.seed).permutation(zone_of)]


def begin_audit(
    workspace: Workspace,
    name: str,
    published: Published,
    signal: str,
    line: float,
    numbers: tuple[int, int],
    *,
    seed: int = 0,
) -> Audit:
    """Draw and save; the same name again draws more, and keeps what was drawn.

    Args:
        line: kept ⇔ score ≥ line.
        numbers: how many samples to draw below and above the line.

    Raises:
        MimicError: an unsafe name; an audit of that name for another line, signal or run.
    """
    counts = list(numbers)
    path = _path(workspace, name)
    if path.exists():
        present = load_audit(workspace, name)
        same = (present.run, present.published_at, present.signal, present.line)
        if same != (published.run, published.published_at, signal, line):
            raise MimicError(
                f"there is an audit {name!r} of {present.signal} at {present.line:.6g} on run {present.run}: "
                "choose another name"
            )
        seed = present.seed
        counts = [max(count, len(zone.samples)) for count, zone in zip(counts, present.zones, strict=True)]
    edges = [-math.inf, line, math.inf]
    sizes = counts_between(published, signal, edges)
    zones = tuple(
        Zone(
            None if math.isinf(low) else low,
            None if math.isinf(high) else high,
            size,
            tuple(draw(published, signal, low, high, count, seed)),
        )
        for (low, high), size, count in zip(pairwise(edges), sizes, counts, strict=True)
    )
    created = datetime.now(UTC).isoformat(timespec="seconds")
    audit = Audit(name, published.dataset, published.run, published.published_at, signal, line, created, seed, zones)
    make_folder(path.parent)
    write_json(path, {"format": FORMAT, **asdict(audit)})
    return audit


def load_audit(workspace: Workspace, name: str) -> Audit:
    """The audit of that name.

    Raises:
        MimicError: there is none (the sentence says which there are), or its file is not one of ours.
    """
    path = _path(workspace, name)
    if not path.exists():
        known = ", ".join(audit.name for audit in list_audits(workspace)[:10]) or "it has none yet"
        raise MimicError(f"no audit {name!r} in the workspace {workspace.path}: {known}")
    return _read(path)


def list_audits(workspace: Workspace, run: str | None = None) -> list[Audit]:
    """Every audit, or those of a run, the newest first."""
    found = [_read(path) for path in sorted((workspace.path / "audits").glob("[!.]*.json"))]
    chosen = [audit for audit in found if run is None or audit.run == run]
    return sorted(chosen, key=lambda audit: (audit.created, audit.name), reverse=True)


def _path(workspace: Workspace, name: str) -> Path:
    return workspace.path / "audits" / f"{check_name('audit', name)}.json"


def _read(path: Path) -> Audit:
    facts: dict[str, Any] = read_json(path)
    try:
        zones = tuple(Zone(z["low"], z["high"], z["size"], tuple(z["samples"])) for z in facts["zones"])
        fields = {key: facts[key] for key in Audit.__dataclass_fields__ if key != "zones"}
    except (KeyError, TypeError):
        raise MimicError(f"{path} is no audit of ours: remove it, or restore it") from None
    return Audit(**fields, zones=zones)
