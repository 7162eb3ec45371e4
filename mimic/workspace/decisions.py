"""What people decided: events that are only ever appended, one a key press.

That is keep, drop, relabel, skip, or undo (which names the event it undoes). Who has which sample in hand meanwhile is
in `mimic.workspace.claims`.

A sample's decision is its latest keep, drop or relabel that nobody undid; the latest by its number, for clocks are
turned back. Events belong to a data set's contents, so they never meet other samples of the same number.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from mimic.errors import MimicError
from mimic.workspace.claims import CLAIM_SECONDS, TABLES, Claims
from mimic.workspace.database import Database, exists
from mimic.workspace.layout import Dataset, Workspace
from mimic.workspace.queries.export import DECIDED

Action = Literal["keep", "drop", "relabel", "skip"]
DECIDING = ("keep", "drop", "relabel")

_EVENTS = sa.Table(
    "events",
    TABLES,
    sa.Column("event", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String(36), nullable=False, unique=True),  # the same press sent twice is one event
    sa.Column("at", sa.String(40), nullable=False),  # ISO 8601, UTC
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("content", sa.String(64), nullable=False),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("sample", sa.Integer, nullable=False),
    sa.Column("sample_id", sa.Text, nullable=False),
    sa.Column("action", sa.String(10), nullable=False),
    sa.Column("old_label", sa.Text),
    sa.Column("new_label", sa.Text),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("run", sa.Text),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("undoes", sa.Integer, unique=True),  # an event can be undone once, whoever is first
    sa.Index("events_of_a_sample", "content", "sample", "event"),
)
# The same events by other names, for questions about pairs of them.
_UNDOING, _EARLIER, _UNDONE = _EVENTS.alias("undoing"), _EVENTS.alias("earlier"), _EVENTS.alias("undone")


@dataclass(frozen=True)
class Subject:
    """The sample that is decided about, and what the person saw.

    Attributes:
        sample, id: its number and id.
        label: its label as imported.
        run: the run whose queue it came from.
        source: the rule or audit that brought it up, as one line.
    """

    sample: int
    id: str
    label: str | None
    run: str | None = None
    source: str = ""


@dataclass(frozen=True)
class Decision:
    """What holds for a sample now."""

    event: int
    action: Action
    label: str | None
    who: str
    at: str
    why: str


class Decisions:
    """The decisions about one data set. Safe to use from several threads and processes at once.

    Raises:
        MimicError: the database cannot be opened or reached.
        MissingExtra: a PostgreSQL URL without psycopg.
    """

    def __init__(self, workspace: Workspace, dataset: Dataset) -> None:
        self._content = dataset.content
        self._dataset = dataset.name
        self._classes = frozenset(dataset.classes)
        self._database = Database.of(workspace.path, TABLES)
        self._claims = Claims(self._database, self._content)

    def record(
        self,
        who: str,
        action: Action,
        subject: Subject,
        *,
        label: str | None = None,
        why: str = "",
        key: str | None = None,
    ) -> int:
        """Append one event and let go of the sample's claim. It is on the disk when this returns.

        Args:
            who: the person's name, as they gave it.
            action: ``keep`` or ``drop``, ``relabel`` (with `label`), or ``skip``, which decides nothing.
            label: the new label, one of the data set's classes.
            why: the person's own words.
            key: a name of this very press: the same key again appends nothing and gives the first event.

        Returns:
            The event's number.

        Raises:
            MimicError: an unknown action or class; a relabelling without label; no name.
        """
        if action not in get_args(Action):
            raise MimicError(f"{action!r} is no decision: choose {', '.join(get_args(Action))}")
        if (action == "relabel") != (label is not None):
            raise MimicError("a new label goes with relabel, and relabel needs one")
        if label is not None and label not in self._classes:
            raise MimicError(f"{label!r} is no class of data set {self._dataset}: choose one of its classes")
        return self._append(who, action, subject, label, why, key or str(uuid.uuid4()), None)

    def undo(self, who: str, event: int | None = None, *, hold: bool = False) -> int | None:
        """Take back an event, by default the person's latest that stands. The undoing is an event itself.

        Args:
            event: another one than the latest.
            hold: take the sample in hand in the same moment: between two, a queue would hand it to somebody else.

        Returns:
            The number of the sample whose event was undone; None where nothing was left to undo.
        """
        with self._database.writing() as connection:
            standing = _standing(self._content).where(
                _EVENTS.c.who == who if event is None else _EVENTS.c.event == event
            )
            row = connection.execute(standing.order_by(_EVENTS.c.event.desc()).limit(1)).mappings().first()
        if row is None:
            return None
        subject = Subject(row["sample"], row["sample_id"], row["old_label"], row["run"], row["source"])
        try:
            self._append(who, "undo", subject, None, "", str(uuid.uuid4()), row["event"], hold)
        except sa.exc.IntegrityError:
            return None  # somebody else undid it between the two steps
        return int(row["sample"])

    def decision(self, sample: int) -> Decision | None:
        """What holds for a sample now; None where nobody has decided."""
        query = _standing(self._content).where(_EVENTS.c.sample == sample, _EVENTS.c.action.in_(DECIDING))
        rows = self._database.rows(query.order_by(_EVENTS.c.event.desc()).limit(1))
        return _decision(rows[0]) if rows else None

    def decisions(self, samples: Sequence[int]) -> dict[int, Decision]:
        """What holds for each of some samples (at most a page of them); those nobody decided about are left out."""
        query = _latest(self._content, samples=samples)
        return {row["sample"]: _decision(row) for row in self._database.rows(query)}

    def decided(self, source: str | None = None) -> pa.Table:
        """Every decision that holds now, to be joined with a run: columns sample, action, label, by sample.

        Args:
            source: only those whose latest event of that source decides, e.g. an audit's verdicts.
        """
        rows = self._database.rows(_latest(self._content, source).order_by(_EVENTS.c.sample))
        return pa.table(
            {
                "sample": pa.array([row["sample"] for row in rows], pa.int32()),
                "action": pa.array([row["action"] for row in rows], pa.string()),
                "label": pa.array([row["new_label"] for row in rows], pa.string()),
            },
            schema=DECIDED,
        )

    def version(self) -> tuple[int, int]:
        """The latest event's number, and how many there are: with every event both or one of them grows."""
        # both, for of two that are written at once on a server the later may be seen first
        query: Any = sa.select(sa.func.max(_EVENTS.c.event).label("last"), sa.func.count().label("n"))
        row = self._database.rows(query)[0]
        return int(row["last"] or 0), int(row["n"])

    def skipped(self, source: str) -> set[int]:
        """Samples that somebody skipped, coming from this source, and that nobody decided coming from it."""
        query = _standing(self._content).where(_EVENTS.c.action == "skip", _EVENTS.c.source == source)
        decided = set(self.decided(source)["sample"].to_pylist())
        return {int(row["sample"]) for row in self._database.rows(query)} - decided

    def counts(self) -> dict[str, int]:
        """How many samples stand as keep, drop and relabel."""
        latest = _latest(self._content).subquery()
        query = sa.select(latest.c.action, sa.func.count().label("n")).group_by(latest.c.action)
        found = {row["action"]: row["n"] for row in self._database.rows(query)}
        return {action: int(found.get(action, 0)) for action in DECIDING}

    def history(self, sample: int | None = None, limit: int = 1000) -> pd.DataFrame:
        """The log of one sample, or of the data set, the latest first.

        Returns:
            Columns event, at, who, action, sample, id, old_label, new_label, why, run, source, undoes, undone.
        """
        undone = sa.exists().where(_UNDOING.c.undoes == _EVENTS.c.event).label("undone")
        c = _EVENTS.c
        query = sa.select(
            c.event, c.at, c.who, c.action, c.sample, c.sample_id.label("id"), c.old_label, c.new_label, c.why, c.run,
            c.source, c.undoes, undone,
        ).where(c.content == self._content)  # fmt: skip
        if sample is not None:
            query = query.where(c.sample == sample)
        rows = self._database.rows(query.order_by(c.event.desc()).limit(limit))
        frame = pd.DataFrame([dict(row) for row in rows], columns=[column.name for column in query.selected_columns])
        return frame.astype({"undone": bool})

    def claim(
        self,
        who: str,
        candidates: Iterable[int],
        count: int = 1,
        *,
        seconds: float = CLAIM_SECONDS,
        source: str | None = None,
    ) -> list[int]:
        """Take up to `count` of some samples in hand: the first that are undecided and in nobody else's hand.

        Args:
            candidates: sample numbers in the queue's order; read only as far as needed.
            seconds: how long they stay this person's, at most `CLAIM_SECONDS`; asking again renews them.
            source: only events of this source count as decisions, and anybody's skip as one: an audit asks about its
                samples whatever was said of them before.

        Returns:
            Their numbers, in the queue's order; fewer where the queue has no more.
        """
        taken: list[int] = []
        with self._database.writing() as connection:
            now = self._database.now(connection)
            for chunk in _chunks(candidates, max(4 * count, 100)):
                free = self._free(connection, who, chunk, now, source)
                wanted = [sample for sample in chunk if sample in free][: count - len(taken)]
                got = self._claims.take(connection, who, wanted, now, seconds)
                if got:  # somebody may have decided one, and let it go, between our looking and our taking
                    got &= self._free(connection, who, wanted, now, source)
                taken += [sample for sample in wanted if sample in got]
                if len(taken) == count:
                    break
        return taken

    def release(self, who: str) -> None:
        """Let go of everything that this person has in hand."""
        with self._database.writing() as connection:
            self._claims.let_go(connection, who)

    def _append(
        self,
        who: str,
        action: str,
        subject: Subject,
        label: str | None,
        why: str,
        key: str,
        undoes: int | None,
        hold: bool = False,
    ) -> int:
        if not who.strip():
            raise MimicError("say who decides: every decision carries a name")
        row = {
            "key": key, "at": datetime.now(UTC).isoformat(timespec="milliseconds"), "who": who,
            "content": self._content, "dataset": self._dataset,
            "sample": subject.sample, "sample_id": subject.id, "action": action,
            "old_label": subject.label, "new_label": label, "why": why, "run": subject.run, "source": subject.source,
            "undoes": undoes,
        }  # fmt: skip
        with self._database.writing() as connection:
            known = connection.execute(sa.select(_EVENTS.c.event).where(_EVENTS.c.key == key)).scalar()
            if known is not None:
                return int(known)
            insert = self._database.insert(_EVENTS).values(row).on_conflict_do_nothing(index_elements=["key"])
            event = connection.execute(insert.returning(_EVENTS.c.event)).scalar()
            if event is None:  # the same press arrived twice at once
                event = connection.execute(sa.select(_EVENTS.c.event).where(_EVENTS.c.key == key)).scalar_one()
            if hold:
                # whoever else has it took it by mistake, for it was decided until now: on a server they look and take
                # in two steps, and look once more before they go by it
                now = self._database.now(connection)
                self._claims.take(connection, who, [subject.sample], now, whoevers=True)
            else:
                self._claims.let_go(connection, who, subject.sample)
        return int(event)

    def _free(
        self, connection: sa.Connection, who: str, samples: list[int], now: float, source: str | None
    ) -> set[int]:
        decided = {row.sample for row in connection.execute(_latest(self._content, source, samples))}
        skipped = _standing(self._content).where(
            _EVENTS.c.sample.in_(samples),
            _EVENTS.c.action == "skip",
            _EVENTS.c.who == who if source is None else _EVENTS.c.source == source,
        )
        decided |= {row.sample for row in connection.execute(skipped)}
        return set(samples) - decided - self._claims.of_others(connection, who, samples, now)


def standing(workspace: Workspace, dataset: Dataset, samples: Sequence[int]) -> dict[int, Decision]:
    """What holds for each of some samples. Looking makes no database where nobody has decided yet."""
    return Decisions(workspace, dataset).decisions(samples) if exists(workspace.path) else {}


def overruling(workspace: Workspace, dataset: Dataset) -> pa.Table:
    """Every decision that holds, as `Decisions.decided` gives them. Looking makes no database either."""
    return Decisions(workspace, dataset).decided() if exists(workspace.path) else DECIDED.empty_table()


def looked_at(workspace: Workspace, dataset: Dataset) -> tuple[int, int]:
    """`Decisions.version`, which tells whether `overruling` says anything new. Looking makes no database either."""
    return Decisions(workspace, dataset).version() if exists(workspace.path) else (0, 0)


def _standing(content: str) -> sa.Select[Any]:
    """Events that nobody undid, undoings left out."""
    return sa.select(_EVENTS).where(
        _EVENTS.c.content == content,
        _EVENTS.c.action != "undo",
        ~sa.exists().where(_UNDOING.c.undoes == _EVENTS.c.event),
    )


def _latest(content: str, source: str | None = None, samples: Sequence[int] | None = None) -> sa.Select[Any]:
    """The deciding event that holds for each sample."""
    events, undoing = _EARLIER, _UNDONE
    latest = sa.select(sa.func.max(events.c.event)).where(
        events.c.content == content,
        events.c.action.in_(DECIDING),
        ~sa.exists().where(undoing.c.undoes == events.c.event),
    )
    if source is not None:
        latest = latest.where(events.c.source == source)
    if samples is not None:
        latest = latest.where(events.c.sample.in_([int(sample) for sample in samples]))
    return sa.select(_EVENTS).where(_EVENTS.c.event.in_(latest.group_by(events.c.sample)))


def _decision(row: Any) -> Decision:
    return Decision(row["event"], row["action"], row["new_label"], row["who"], row["at"], row["why"])


def _chunks(samples: Iterable[int], size: int) -> Iterator[list[int]]:
    chunk: list[int] = []
    for sample in samples:
        chunk.append(int(sample))
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
