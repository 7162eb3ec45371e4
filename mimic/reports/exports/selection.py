"""Which samples an export keeps: a rule, and what people decided, which overrules it unless that is switched off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from mimic import __version__
from mimic.errors import MimicError
from mimic.filters.signal_rules import ThresholdRule
from mimic.workspace.queries import export
from mimic.workspace.queries.connection import Published

CAPTIONS = ("caption", "text", "TEXT", "title")


@dataclass(frozen=True)
class Selection:
    """A filter as it is exported.

    Attributes:
        published: the run that the rule names.
        rule: the rule.
        decided: what people decided (columns sample, action, label: `mimic.workspace.decisions`), or None: the rule
            alone.

    Raises:
        MimicError: a rule of another run.
    """

    published: Published
    rule: ThresholdRule
    decided: pa.Table | None = None

    def __post_init__(self) -> None:
        if self.rule.run != self.published.run:
            raise MimicError(
                f"the rule belongs to run {self.rule.run}, not to {self.published.run}: open it with its own run"
            )

    def counts(self) -> dict[str, int]:
        """kept, dropped, not_scored, relabelled, overruled, as `mimic.workspace.queries.export.Fates` has them."""
        return asdict(export.fates(self.published, self._chosen))

    def tables(self, *, further: str | None = None, predicted: bool = False) -> Iterator[pa.Table]:
        """Every sample in the data set's order: the columns of `mimic.workspace.queries.export.export_rows`."""
        return export.export_rows(self.published, self._chosen, further=further, predicted=predicted)

    def kept(self, *, further: str | None = None) -> Iterator[dict[str, Any]]:
        """The kept samples one by one, as dicts of the same columns."""
        for table in self.tables(further=further):
            yield from table.filter(table["kept"]).to_pylist()

    def shares_below(self) -> tuple[list[float], list[float]]:
        """Points (score, share of scored samples below it) to interpolate between."""
        return export.cumulative(self.published, self.rule.signal)

    def column(self, wanted: str | None, usual: tuple[str, ...]) -> str | None:
        """The further column that was asked for, or the first that is there of the usual names, or None."""
        if wanted is not None and wanted not in self.published.columns:
            raise MimicError(
                f"data set {self.published.dataset} has no column {wanted!r}: "
                f"it has {', '.join(self.published.columns) or 'no further ones'}"
            )
        return wanted or next((name for name in usual if name in self.published.columns), None)

    def facts(self) -> dict[str, Any]:
        """What is written beside every export: nothing of it depends on when or where it is made."""
        return {
            "dataset": self.published.dataset,
            "run": self.published.run,
            "rule": self.rule.model_dump(),
            "reason": self.rule.reason,
            "decisions": "none" if self.decided is None else f"{self.decided.num_rows} overrule the rule",
            "counts": self.counts(),
            "versions": export.versions(self.published) | {"mimic": __version__},
        }

    @property
    def _chosen(self) -> export.Chosen:
        return export.Chosen(self.rule.signal, self.rule.threshold, self.rule.drop_unscored, self.decided)
