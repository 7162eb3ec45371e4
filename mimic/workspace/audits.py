"""Audits: samples drawn at random on both sides of a line or rule, for people to judge without seeing the score.

W/audits/<name>.json   the line or rule, the seed and the drawn samples of each zone, in the order drawn

The verdicts are decisions whose source is ``audit <name>``: keep is good, drop and relabel are bad, skip is unsure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimic.errors import MimicError
from mimic.files import make_folder, write_json
from mimic.workspace.layout import FORMAT, Workspace, check_name, read_facts
from mimic.workspace.queries.audit import counts_between, draw
from mimic.workspace.queries.connection import Published


@dataclass(frozen=True)
class Zone:
    """A span of scores, low ≤ score < high (None: open), with the samples drawn from it, in the order drawn.

    Of a rule without a line both ends are open: the first zone is what it drops, the second what it keeps.
    """

    low: float | None
    high: float | None
    size: int
    samples: tuple[int, ...]

    @property
    def span(self) -> tuple[float, float]:
        return (-math.inf if self.low is None else self.low, math.inf if self.high is None else self.high)


@dataclass(frozen=True)
class Audit:
    """A draw for a line of a signal of a run, or for a rule that is no such line.

    Attributes:
        name, dataset, run, signal, line: what is audited; of a rule the first run it names, no signal and no line.
        rule: the rule as written, where it is no line.
        published_at: of the run when it was drawn: a rebuilt run needs a new draw.
        seed: of the draw; the same seed and count give the same samples.
        zones: the two sides of the line, the lower first.
    """

    name: str
    dataset: str
    run: str
    published_at: str
    signal: str | None
    line: float | None
    created: str
    seed: int
    zones: tuple[Zone, ...]
    rule: dict[str, Any] | None = None

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
        MimicError: an unsafe name; an audit of that name for another line, signal or run, or with more samples.
    """
    edges = [-math.inf, line, math.inf]
    sizes = counts_between(published, signal, edges)
    ends = [(None, line), (line, None)]

    def drawn(zone: int, count: int, seed: int) -> list[int]:
        return draw(published, signal, edges[zone], edges[zone + 1], count, seed)

    audit = _blank(name, published, signal, line, seed)
    return _drawn(
        workspace, audit, [Zone(*end, size, ()) for end, size in zip(ends, sizes, strict=True)], numbers, drawn
    )


def begin_audit_of(
    workspace: Workspace,
    name: str,
    published: Published,
    rule: dict[str, Any],
    sides: tuple[NDArray[np.intp], NDArray[np.intp]],
    numbers: tuple[int, int],
    *,
    seed: int = 0,
) -> Audit:
    """The same for a rule that is no line on one signal.

    Args:
        published: the first run that the rule names.
        rule: as written.
        sides: numbers of the samples that it drops, and of those that it keeps.
        numbers: how many samples to draw of each.

    Raises:
        MimicError: an unsafe name; an audit of that name for something else, or with more samples.
    """

    def drawn(zone: int, count: int, seed: int) -> list[int]:
        # one order of the whole side, so that a longer draw begins with the shorter one
        order = np.random.default_rng([seed, zone]).permutation(len(sides[zone]))[:count]
        return [int(sample) for sample in sides[zone][order]]

    audit = replace(_blank(name, published, None, None, seed), rule=rule)
    return _drawn(workspace, audit, [Zone(None, None, len(side), ()) for side in sides], numbers, drawn)


def _blank(name: str, published: Published, signal: str | None, line: float | None, seed: int) -> Audit:
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Audit(name, published.dataset, published.run, published.published_at, signal, line, created, seed, ())


def _drawn(
    workspace: Workspace,
    audit: Audit,
    zones: list[Zone],
    numbers: tuple[int, int],
    drawn: Callable[[int, int, int], list[int]],
) -> Audit:
    """The audit with so many samples drawn, saved: at least those of an earlier audit of that name."""
    path, counts = _path(workspace, audit.name), list(numbers)
    if path.exists():
        present = load_audit(workspace, audit.name)
        _refuse_another(present, audit, sum(numbers), workspace.option)
        audit = replace(audit, seed=present.seed)
        counts = [max(count, len(zone.samples)) for count, zone in zip(counts, present.zones, strict=True)]
    filled = (
        replace(zone, samples=tuple(drawn(place, count, audit.seed)))
        for place, (zone, count) in enumerate(zip(zones, counts, strict=True))
    )
    audit = replace(audit, zones=tuple(filled))
    make_folder(path.parent)
    write_json(path, {"format": FORMAT, **asdict(audit)})
    return audit


def _refuse_another(present: Audit, asked: Audit, count: int, option: str) -> None:
    """An audit is of one thing and never gets smaller: whoever asks for something else needs another name."""
    if _subject(present) != _subject(asked):
        what = "a rule" if present.line is None else f"{present.signal} at {present.line:.6g}"
        raise MimicError(
            f"there is an audit {asked.name!r} of {what} on run {present.run}, and it is of nothing else: choose"
            " another name for the filter, and audit that"
        )
    there = len(present.samples)
    if count < there:
        again = f'mimic filter {asked.run} --rule "filter({asked.name})" --name NAME{option}'
        raise MimicError(
            f"audit {asked.name!r} of {present.created[:10]} has {there:,} drawn samples, more than {count:,}: ask for"
            f" {there:,} to have these again, or for more. Another draw needs another name: `{again}`, then audit that"
        )


def _subject(audit: Audit) -> tuple[Any, ...]:
    return audit.run, audit.published_at, audit.signal, audit.line, audit.rule


def load_audit(workspace: Workspace, name: str) -> Audit:
    """The audit of that name.

    Raises:
        MimicError: there is none (the sentence says which there are), or its file is not one of ours.
    """
    path = _path(workspace, name)
    if not path.exists():
        known = ", ".join(audit.name for audit in list_audits(workspace)[:10]) or "it has none yet"
        draws = f"mimic audit {name} --draw 300 --out judge.csv{workspace.option}"
        raise MimicError(f"no audit {name!r} in the workspace {workspace.path}: {known}; `{draws}` begins one")
    return _read(path)


def list_audits(workspace: Workspace, run: str | None = None) -> list[Audit]:
    """Every audit, or those of a run, the newest first."""
    found = [_read(path) for path in sorted((workspace.path / "audits").glob("[!.]*.json"))]
    chosen = [audit for audit in found if run is None or audit.run == run]
    return sorted(chosen, key=lambda audit: (audit.created, audit.name), reverse=True)


def _path(workspace: Workspace, name: str) -> Path:
    return workspace.path / "audits" / f"{check_name('audit', name)}.json"


def _read(path: Path) -> Audit:
    facts: dict[str, Any] = read_facts(path)
    try:
        zones = tuple(Zone(z["low"], z["high"], z["size"], tuple(z["samples"])) for z in facts["zones"])
        facts.setdefault("rule", None)  # before rules were audited
        fields = {key: facts[key] for key in Audit.__dataclass_fields__ if key != "zones"}
    except (KeyError, TypeError):
        raise MimicError(f"{path} is no audit of ours: remove it, or restore it") from None
    return Audit(**fields, zones=zones)
