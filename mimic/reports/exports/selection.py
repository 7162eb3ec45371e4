"""Which samples an export keeps: a rule, and what people decided, which overrules it unless that is switched off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from mimic import __version__
from mimic.errors import MimicError
from mimic.filters.expression import expression
from mimic.filters.rule import Rule
from mimic.workspace.queries import export, given
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.dense import Dense

_POINTS = 1001  # quantiles; between them a share is interpolated

CAPTIONS = ("caption", "text", "TEXT", "title")


@dataclass(frozen=True)
class Selection:
    """A filter as it is exported.

    Attributes:
        table: the data set that the rule decides about.
        rule: the rule.
        decided: what people decided (columns sample, action, label: `mimic.workspace.decisions`), or None: the rule
            alone.

    Raises (from its methods):
        MimicError: a run or signal of the rule is gone, or holds no score to draw a line by.
    """

    table: Dense
    rule: Rule
    decided: pa.Table | None = None

    @cached_property
    def published(self) -> Published:
        """The first run that the rule names: the way to labels, pictures and the reference's guesses."""
        columns = self.rule.columns
        return self.table.published(columns[0].run if columns else min(self.rule.runs))

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

    @property
    def unscored(self) -> str:
        """What becomes of the samples that the rule knows no score of, in words."""
        if self.rule.drop_unscored:
            return "dropped, as the rule ends with !"
        return "exported as kept; a rule that ends with ! drops them"

    def shares_below(self) -> tuple[list[float], list[float]]:
        """Points (score, share of scored samples below it), upwards, to interpolate between: the score's quantiles."""
        scores = self._chosen.scores
        rising = np.sort(scores[~np.isnan(scores)])
        if not rising.size:
            return [0.0], [0.0]
        points = np.unique(rising[np.linspace(0, rising.size - 1, _POINTS).round().astype(int)])
        return points.tolist(), (np.searchsorted(rising, points) / rising.size).tolist()

    def column(self, wanted: str | None, usual: tuple[str, ...]) -> str | None:
        """The column that was asked for, or the first that is there of the usual names, or None."""
        known = given.columns(self.published)
        if wanted is not None and wanted not in known:
            raise MimicError(
                f"data set {self.published.dataset} has no column {wanted!r}: "
                f"it has {', '.join(known) or 'no further ones'}"
            )
        return wanted or next((name for name in usual if name in known), None)

    def facts(self) -> dict[str, Any]:
        """What is written beside every export: nothing of it depends on when or where it is made."""
        return {
            "dataset": self.published.dataset,
            "run": self.published.run,
            "rule": self.rule.model_dump(mode="json"),
            "expression": expression(self.rule),
            "reason": self.rule.votes(self.table).reason,
            "decisions": "none" if self.decided is None else f"{self.decided.num_rows} overrule the rule",
            "counts": self.counts(),
            "versions": export.versions(self.published) | {"mimic": __version__},
        }

    @cached_property
    def _chosen(self) -> export.Chosen:
        rule, table = self.rule, self.table
        inside = table.inside(rule.runs)
        return export.Chosen(rule.opinions(table), inside, rule.score(table), rule.drop_unscored, self.decided)
