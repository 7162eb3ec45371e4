"""What a person needs to see of a sample to decide about it, and in which order samples come up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from mimic.workspace.decisions import Decisions
from mimic.workspace.queries.connection import Published, tables
from mimic.workspace.queries.gallery import LARGEST_PAGE, Cursor, Order, Where, gallery_page


@dataclass(frozen=True)
class Candidate:
    """A sample to decide about.

    Attributes:
        sample, id, path, label: as imported.
        score: of the queue's signal; None where it has none.
        guesses: the reference's best labels, best first.
    """

    sample: int
    id: str
    path: str
    label: str | None
    score: float | None
    guesses: tuple[str, ...]


def candidates(published: Published, signal: str, samples: Sequence[int]) -> list[Candidate]:
    """What there is to see of some samples (at most a page of them), in the order given."""
    s = published.column(signal)
    places, numbers = pa.array(range(len(samples)), pa.int32()), pa.array([int(n) for n in samples], pa.int32())
    with tables(published) as t:
        t.cursor.register("wanted", pa.table({"place": places, "sample": numbers}))
        rows = t.rows(
            f"SELECT s.sample, s.id, s.path, s.label, c.{s} FROM wanted w JOIN {t.samples} s ON s.rowid = w.sample"
            f" LEFT JOIN {t.scores} c ON c.sample = w.sample ORDER BY w.place"
        )
        guesses: dict[int, list[str]] = {}
        for sample, label in t.rows(
            f"SELECT sample, label FROM {t.predictions} WHERE sample IN (SELECT sample FROM wanted)"
            " ORDER BY sample, rank"
        ):
            guesses.setdefault(sample, []).append(label)
    return [
        Candidate(sample, name, path, label, score, tuple(guesses.get(sample, ())))
        for sample, name, path, label, score in rows
    ]


@dataclass
class Queue:
    """An order of samples that people work through together, each sample by one of them.

    Attributes:
        published, signal, order, where, near, seed: as in `gallery_page`.
        start: where the next look begins: everything before is decided, or was in others' hands when it was looked at.
    """

    published: Published
    signal: str
    order: Order
    where: Where
    near: float = 0.0
    seed: int = 0
    start: Cursor | None = None

    def take(self, decisions: Decisions, who: str, count: int) -> list[int]:
        """The next `count` samples for this person, now in their hand; fewer at the end."""
        taken = self._taken(decisions, who, count)
        if not taken and self.start is not None:  # what others let go of lies further up
            self.start = None
            taken = self._taken(decisions, who, count)
        return taken

    def _taken(self, decisions: Decisions, who: str, count: int) -> list[int]:
        taken: list[int] = []
        for place, samples in self._pages():
            found = decisions.claim(who, samples, count - len(taken))
            if not taken:
                self.start = place
            taken += found
            if len(taken) >= count:
                break
        return taken

    def _pages(self) -> Iterator[tuple[Cursor | None, list[int]]]:
        place = self.start
        while True:
            page = gallery_page(
                self.published, self.signal, self.order, self.where,
                size=LARGEST_PAGE, after=place, near=self.near, seed=self.seed,
            )  # fmt: skip
            if not page.rows.empty:
                yield place, [int(sample) for sample in page.rows["sample"]]
            if page.after is None:
                return
            place = page.after
