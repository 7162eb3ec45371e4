"""What a format's writer is handed, and what it reports."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from mimic.reports.exports.options import Options
from mimic.reports.exports.selection import Selection

_EXAMPLES = 20


@dataclass
class Failures:
    """Kept samples that could not be written, counted by reason, with the first of them by id."""

    count: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, str]] = field(default_factory=list)

    def add(self, sample_id: str, reason: str) -> None:
        self.count += 1
        self.reasons[reason] += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append({"id": sample_id, "reason": reason})

    def facts(self) -> dict[str, Any]:
        return {"count": self.count, "reasons": dict(sorted(self.reasons.items())), "examples": self.examples}


@dataclass
class Job:
    """One export.

    Attributes:
        selection: who is kept.
        options: how.
        facts: what the export says of itself.
        failures: kept samples that could not be written: the writer adds to it.
        notes: sentences that the person should read: the writer adds to it.
    """

    selection: Selection
    options: Options
    facts: dict[str, Any]
    failures: Failures = field(default_factory=Failures)
    notes: list[str] = field(default_factory=list)
