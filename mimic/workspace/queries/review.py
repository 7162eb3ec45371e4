"""What a person needs to see of a sample to decide about it, and in which order samples come up."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mimic.workspace.decisions import Decisions
from mimic.workspace.queries import given
from mimic.workspace.queries.connection import Published, numbered, tables
from mimic.workspace.queries.gallery import LARGEST_PAGE, Cursor, Order, Where, gallery_page

_POOL = ThreadPoolExecutor(1, thread_name_prefix="queue")
# a page's place, its samples, and where the next one begins
_Look = tuple[Cursor | None, list[int], Cursor | None] | None


@dataclass(frozen=True)
class Candidate:
    """A sample to decide about.

    Attributes:
        sample, id, path, label, caption: as imported.
        score: of the queue's signal; None where it has none.
        guesses: the reference's best labels, best first.
    """

    sample: int
    id: str
    path: str | None
    label: str | None
    caption: str | None
    score: float | None
    guesses: tuple[str, ...]


def candidates(published: Published, signal: str, samples: Sequence[int]) -> list[Candidate]:
    """What there is to see of some samples (at most a page of them), in the order given."""
    s = published.column(signal)
    with tables(published) as t:
        t.cursor.register("wanted", numbered(samples))
        rows = t.rows(
            f"SELECT s.sample, s.id, s.path, s.label, {given.caption(published)}, c.{s} FROM wanted w"
            f" JOIN {t.samples} s ON s.rowid = w.sample"
            f" LEFT JOIN {t.scores} c ON c.sample = w.sample ORDER BY w.place"
        )
        guesses: dict[int, list[str]] = {}
        for sample, label in t.rows(
            f"SELECT sample, label FROM {t.predictions} WHERE sample IN (SELECT sample FROM wanted)"
            " ORDER BY sample, rank"
        ):
            guesses.setdefault(sample, []).append(label)
    return [
        Candidate(sample, name, path, label, caption, score, tuple(guesses.get(sample, ())))
        for sample, name, path, label, caption, score in rows
    ]


@dataclass
class Known:
    """Candidates that were looked up already, so that a key press need not ask the published file anything.

    Attributes:
        published, signal: what is asked.
        kept: by sample; of more than `LARGEST_PAGE` × 10 those that were looked up first are forgotten.
    """

    published: Published
    signal: str
    kept: dict[int, Candidate] = field(default_factory=dict)

    def get(self, samples: Sequence[int], ahead: Sequence[int] = ()) -> list[Candidate]:
        """The candidates of some samples; where one is not known yet, those `ahead` are looked up along with it.

        `samples` are at most `LARGEST_PAGE`, and so many are looked up. Safe to use from several threads at once.
        """
        found = {sample: one for sample in samples if (one := self.kept.get(sample)) is not None}
        if len(found) < len(set(samples)):
            wanted = list(dict.fromkeys([*samples, *ahead]))[:LARGEST_PAGE]
            found = {one.sample: one for one in candidates(self.published, self.signal, wanted)}
            self.kept |= found
            for sample in list(self.kept)[: -10 * LARGEST_PAGE]:
                self.kept.pop(sample, None)
        return [found[sample] for sample in samples]


@dataclass
class Queue:
    """An order of samples that people work through together, each sample by one of them.

    Attributes:
        published, signal, order, where, near, seed: as in `gallery_page`.
        listed: the samples in the order in which they come up, instead of the gallery's; None: that one.
        start: where the next look begins: everything before is decided, or was in others' hands when it was looked at.
        page: the samples of the page that begins there; a published run never changes, so it is asked for once. The
            next page is looked for meanwhile, and what there is to see of its samples: of ten million in random order
            either takes longer than anybody should wait for a key.
        known: what there is to see of the samples.
    """

    published: Published
    signal: str
    order: Order
    where: Where
    near: float = 0.0
    seed: int = 0
    listed: NDArray[np.int32] | None = None
    start: Cursor | None = None
    page: list[int] = field(default_factory=list)
    known: Known = field(init=False)
    _after: Cursor | None = None
    _ahead: tuple[Cursor, Future[_Look]] | None = None

    def __post_init__(self) -> None:
        self.known = Known(self.published, self.signal)

    def take(self, decisions: Decisions, who: str, count: int) -> list[int]:
        """The next `count` samples for this person, now in their hand; fewer at the end."""
        taken = self._taken(decisions, who, count)
        if not taken and self.start is not None:  # what others let go of lies further up
            self.start, self.page = None, []
            taken = self._taken(decisions, who, count)
        return taken

    def _taken(self, decisions: Decisions, who: str, count: int) -> list[int]:
        taken: list[int] = []
        here: _Look = (self.start, self.page, self._after) if self.page else self._look(self.start)
        while here is not None:
            place, samples, after = here
            found = decisions.claim(who, samples, count - len(taken))
            if not taken:
                self.start, self.page, self._after = place, samples, after
            taken += found
            if len(taken) >= count:
                break
            here = None if after is None else self._look(after)
        if taken and self._after is not None and (self._ahead is None or self._ahead[0] != self._after):
            self._ahead = self._after, _POOL.submit(self._known, self._after)
        return taken

    def _look(self, place: Cursor | None) -> _Look:
        if self._ahead is not None and self._ahead[0] == place and self._ahead[1].exception() is None:
            return self._ahead[1].result()
        return self._found(place)  # what went wrong ahead may go well now, or is said

    def _known(self, place: Cursor) -> _Look:
        """`_found`, and what there is to see of its samples is known."""
        found = self._found(place)
        if found is not None:
            self.known.get(found[1])
        return found

    def _found(self, place: Cursor | None) -> _Look:
        """The page that follows a place, and where the next one begins; None where there is nothing."""
        if self.listed is not None:
            first = 0 if place is None else int(place.key)
            found = self.listed[first : first + LARGEST_PAGE].tolist()
            more = first + LARGEST_PAGE < len(self.listed)
            return (place, found, Cursor(first + LARGEST_PAGE, -1) if more else None) if found else None
        page = gallery_page(
            self.published, self.signal, self.order, self.where,
            size=LARGEST_PAGE, after=place, near=self.near, seed=self.seed,
        )  # fmt: skip
        samples = [int(sample) for sample in page.rows["sample"]]
        return (place, samples, page.after) if samples else None
