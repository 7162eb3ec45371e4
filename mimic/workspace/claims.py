"""Who has a sample in hand, and until when, so that two people never get the same one; part of the decisions' database.

A claim that runs out is anybody's. Everything here happens within a transaction of `mimic.workspace.decisions`, which
knows what is decided.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from mimic.workspace.database import Database

CLAIM_SECONDS = 120.0

TABLES = sa.MetaData()
_CLAIMS = sa.Table(
    "claims",
    TABLES,
    sa.Column("content", sa.String(64), primary_key=True),
    sa.Column("sample", sa.Integer, primary_key=True),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("until", sa.Float, nullable=False),  # seconds since 1970 by the database's clock
)


@dataclass(frozen=True)
class Claims:
    """The claims on the samples of one data set's contents."""

    database: Database
    content: str

    def take(
        self,
        connection: sa.Connection,
        who: str,
        samples: list[int],
        now: float,
        seconds: float = CLAIM_SECONDS,
        *,
        whoevers: bool = False,
    ) -> set[int]:
        """Those whose claims are now ours: one statement, so that of two people asking at once one gets each.

        Args:
            now: by `Database.now`.
            seconds: how long they stay ours, at most `CLAIM_SECONDS`.
            whoevers: take also what is somebody else's.
        """
        if not samples:
            return set()
        until = now + seconds
        rows = [{"content": self.content, "sample": sample, "who": who, "until": until} for sample in samples]
        mine_or_over = sa.true() if whoevers else sa.or_(_CLAIMS.c.who == who, _over(now))
        taking = (
            self.database.insert(_CLAIMS)
            .values(rows)
            .on_conflict_do_update(
                index_elements=["content", "sample"], set_={"who": who, "until": until}, where=mine_or_over
            )
        )
        return {row.sample for row in connection.execute(taking.returning(_CLAIMS.c.sample))}

    def of_others(self, connection: sa.Connection, who: str, samples: list[int], now: float) -> set[int]:
        """Those of some samples that somebody else has in hand."""
        others = sa.select(_CLAIMS.c.sample).where(
            _CLAIMS.c.content == self.content,
            _CLAIMS.c.sample.in_(samples),
            _CLAIMS.c.who != who,
            ~_over(now),
        )
        return {row.sample for row in connection.execute(others)}

    def let_go(self, connection: sa.Connection, who: str, sample: int | None = None) -> None:
        """Let go of a sample, or of everything that this person has in hand."""
        mine = [_CLAIMS.c.content == self.content, _CLAIMS.c.who == who]
        connection.execute(sa.delete(_CLAIMS).where(*mine, *([] if sample is None else [_CLAIMS.c.sample == sample])))


def _over(now: float) -> sa.ColumnElement[bool]:
    """Claims that have run out; one that ends far later than any claim can was made before the clock was turned back.

    Far later: on a server somebody who asked the time after us may have claimed before us, and that claim holds.
    """
    return sa.or_(_CLAIMS.c.until <= now, _CLAIMS.c.until > now + 2 * CLAIM_SECONDS)
