"""Whole columns as arrays over a data set's sample numbers, for rules that combine signals of several runs.

Row i is sample i; NaN, −1 or False where there is nothing. Published files never change, so columns and what is worked
out from them are remembered, up to `MOST` bytes for all visitors together: at ten million samples a signal takes 40 MB.
What belongs to one budget or one draw is remembered apart, up to `MOST_BRIEFLY`: whoever moves a slider asks for
megabytes at each step that nobody asks for again, and they pushed out columns that everybody does.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mimic.errors import MimicError
from mimic.workspace.layout import Dataset, Workspace
from mimic.workspace.queries import given
from mimic.workspace.queries.connection import Published, Tables, tables
from mimic.workspace.queries.once import Kept

MOST = 800_000_000  # bytes
MOST_BRIEFLY = 64_000_000
_ROWS = 1_000_000

Floats = NDArray[np.float32]
T = TypeVar("T")

# measure → SQL over the table visits, higher is better
MEASURES = {"score": "score", "weight": "weight * batch_size", "margin": "margin", "neg_loss": "-loss"}


def _bytes(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if is_dataclass(value):
        return sum(_bytes(getattr(value, field.name)) for field in fields(value))
    return sum(map(_bytes, value)) if isinstance(value, tuple) else 100


_KEPT, _KEPT_BRIEFLY = Kept(MOST, _bytes), Kept(MOST_BRIEFLY, _bytes)


@dataclass(frozen=True)
class Truth:
    """What is known of the given labels (or captions), (size,) each.

    Attributes:
        known: somebody knows whether it is right.
        wrong: it is known to be wrong.
    """

    known: NDArray[np.bool_]
    wrong: NDArray[np.bool_]


class Dense:
    """The table that rules are applied to (`mimic.filters.rule.Table`).

    Args:
        workspace: holds the runs.
        dataset: whose samples are decided about; a rule may name any of its published runs.
    """

    def __init__(self, workspace: Workspace, dataset: Dataset) -> None:
        self.workspace, self.dataset = workspace, dataset
        self._opened: dict[str, Published] = {}

    @property
    def size(self) -> int:
        return self.dataset.size

    def published(self, run: str) -> Published:
        """A run of this data set.

        Raises:
            MimicError: it is not there, not published, or of another data set.
        """
        if run not in self._opened:
            found = self.workspace.run(run)
            if found.dataset != self.dataset.name:
                raise MimicError(
                    f"run {run} scores data set {found.dataset}, not {self.dataset.name}:"
                    " a rule combines runs of one data set"
                )
            self._opened[run] = Published.of(found, self.dataset)
        return self._opened[run]

    def remembered(self, runs: frozenset[str], what: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, or gave the last time it was asked for of the same runs as they are now."""
        return _KEPT.get(self._key(runs, what), make)

    def remembered_briefly(self, runs: frozenset[str], what: Hashable, make: Callable[[], T]) -> T:
        """The same of what belongs to one budget or one draw: there are many, and each is soon made again."""
        return _KEPT_BRIEFLY.get(self._key(runs, what), make)

    def scores(self, run: str, signal: str) -> Floats:
        """(size,) a signal's scores. Do not write into it.

        Raises:
            MimicError: the run is not there, or has no such signal.
        """
        published = self.published(run)
        column = published.column(signal)

        def make() -> Floats:
            with tables(published) as t:
                return self._placed(t, f"SELECT sample, {column} AS value FROM {t.scores}")

        return self.remembered(frozenset([run]), ("scores", signal), make)

    def visits(self, run: str, measure: Literal["score", "weight", "margin", "neg_loss"]) -> Iterator[Floats]:
        """A training run's visits, one after another, each as (size,); weights times the size of their batch.

        Raises:
            MimicError: the run recorded no visits.
        """
        count = self.visits_of(run)
        if not count:
            raise MimicError(f"run {run} recorded no visits: a rule of visits needs a run of `mimic train`")
        with tables(self.published(run)) as t:
            for visit in range(count):
                sql = f"SELECT sample, {MEASURES[measure]} AS value FROM {t.visits} WHERE visit = {visit}"
                yield self._placed(t, sql)

    def visits_of(self, run: str) -> int:
        """The most visits of any sample of a run; 0 where none were recorded."""
        with tables(self.published(run)) as t:
            if not t.has(t.visits):
                return 0
            return int(t.rows(f"SELECT coalesce(max(visit), -1) + 1 FROM {t.visits}")[0][0])

    def inside(self, runs: frozenset[str]) -> NDArray[np.bool_]:
        """(size,) the samples that any of the runs is about; samples outside are nobody's to decide."""

        masks = [self.remembered(frozenset([run]), "inside", partial(self._inside, run)) for run in sorted(runs)]
        return masks[0] if len(masks) == 1 else np.asarray(np.logical_or.reduce(masks), dtype=np.bool_)

    def labels(self) -> tuple[NDArray[np.int32], Sequence[str]]:
        """(size,) codes of the given labels, −1 = none, and the classes' names."""

        def make() -> NDArray[np.int32]:
            found = np.full(self.size, -1, dtype=np.int32)
            with tables(self._any()) as t:
                sql = f"SELECT rowid AS sample, coalesce(label_code, -1)::INTEGER AS code FROM {t.samples}"
                for batch in t.batches(sql, (), _ROWS):
                    found[batch.column(0).to_numpy()] = batch.column(1).to_numpy()
            return found

        return self.remembered(frozenset(), "labels", make), self.dataset.classes

    def truth(self) -> Truth | None:
        """What is known of every sample; None where nobody knows anything."""
        if not self.dataset.has_truth:
            return None

        def make() -> Truth:
            known, wrong = np.zeros(self.size, dtype=np.bool_), np.zeros(self.size, dtype=np.bool_)
            with tables(self._any()) as t:
                is_wrong = given.wrong(self._any())
                sql = f"SELECT s.rowid AS sample, {is_wrong} AS wrong FROM {t.samples} s WHERE {is_wrong} IS NOT NULL"
                for batch in t.batches(sql, (), _ROWS):
                    places = batch.column(0).to_numpy()
                    known[places] = True
                    wrong[places] = batch.column(1).to_numpy(zero_copy_only=False)
            return Truth(known, wrong)

        return self.remembered(frozenset(), "truth", make)

    def _key(self, runs: frozenset[str], what: Hashable) -> Hashable:
        opened = tuple(self.published(run) for run in sorted(runs))
        return self.dataset.folder, self.dataset.content, opened, what

    def _inside(self, run: str) -> NDArray[np.bool_]:
        found = np.zeros(self.size, dtype=np.bool_)
        with tables(self.published(run)) as t:
            for batch in t.batches(f"SELECT sample FROM {t.scores}", (), _ROWS):
                found[batch.column(0).to_numpy()] = True
        return found

    def _any(self) -> Published:
        """Any published run of the data set: the way to its samples."""
        if self._opened:
            return next(iter(self._opened.values()))
        runs = [run for run in self.workspace.runs(self.dataset.name) if run.state == "published"]
        if not runs:
            raise MimicError(f"data set {self.dataset.name} has no published run, so there is nothing to decide by")
        return self.published(runs[0].id)

    def _placed(self, t: Tables, sql: str) -> Floats:
        """Columns sample and value as an array by sample."""
        found = np.full(self.size, np.nan, dtype=np.float32)
        for batch in t.batches(sql, (), _ROWS):
            values = batch.column(1).cast(pa.float32()).to_numpy(zero_copy_only=False)
            found[batch.column(0).to_numpy()] = values
        return found
