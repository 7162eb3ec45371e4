"""The database of people's decisions: a SQLite file in the workspace, or a PostgreSQL server that a team names by URL.

Writers take turns from their first statement on, and what is committed is on the disk. A file that cannot be written
can still be read.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mimic.errors import MimicError, MissingExtra
from mimic.files import make_folder

URL_VARIABLE = "MIMIC_DECISIONS_URL"

FORMAT = 1  # of the tables; raised with a change that an older version would read wrongly

_NAME = "decisions.db"
_FORMAT = sa.Table("mimic_format", sa.MetaData(), sa.Column("version", sa.Integer, nullable=False))
_WAIT = 30.0  # seconds that a writer waits for another one
_LOCK = 6108342201  # a number of ours, so that of several processes that start at once one makes the tables


def exists(folder: Path) -> bool:
    """Whether anybody has decided anything yet: a server is named, or the file is there."""
    return bool(os.environ.get(URL_VARIABLE)) or (folder / _NAME).exists()


class Database:
    """An engine, and how to read and write with it."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @classmethod
    def of(cls, folder: Path, tables: sa.MetaData) -> Database:
        """The server that the environment names, or the file in the workspace; its tables are made where missing.

        Raises:
            MimicError: no database URL, another database than PostgreSQL, or none that answers; tables of a newer
                version; no file yet where none can be made.
            MissingExtra: PostgreSQL without psycopg.
        """
        url = os.environ.get(URL_VARIABLE)
        database = cls(_engine(_server(url) if url else _file(folder)))
        database._make(tables)
        return database

    def rows(self, query: sa.Select[Any]) -> list[Any]:
        """The answer as mappings."""
        with _said(), self._engine.connect() as connection:
            return list(connection.execute(query).mappings())

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that writes: it waits for its turn, and is on the disk when the block has ended.

        Raises:
            MimicError: the file cannot be written, or the server does not answer.
        """
        with _said(), self._engine.connect() as plain:
            connection = plain.execution_options(writes=True)
            with connection.begin():
                yield connection

    def insert(self, table: sa.Table) -> Any:
        """An INSERT that knows ON CONFLICT, in the dialect spoken here."""
        return postgresql.insert(table) if self._is_server else sqlite.insert(table)

    def now(self, connection: sa.Connection) -> float:
        """Seconds since 1970 by one clock for everybody: the server's, or this machine's for a file on it."""
        if not self._is_server:
            return time.time()
        return float(connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    @property
    def _is_server(self) -> bool:
        return self._engine.dialect.name == "postgresql"

    def _make(self, tables: sa.MetaData) -> None:
        if (found := self._format(tables.sorted_tables[-1])) is not None:
            if found > FORMAT:
                raise MimicError(
                    f"the decisions were written by a newer version of mimic (their format is {found}; mimic "
                    f"{version('mimic-score')} reads formats up to {FORMAT}): install the newer version"
                )
            return
        with self.writing() as connection:
            if self._is_server:
                connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            tables.create_all(connection)
            if not sa.inspect(connection).has_table(_FORMAT.name):
                _FORMAT.create(connection)
                connection.execute(sa.insert(_FORMAT).values(version=FORMAT))

    def _format(self, last: sa.Table) -> int | None:
        """The number of the tables' format, None where they are not made; one query, for a page asks several times."""
        made = sa.select(_FORMAT.c.version, sa.exists(sa.select(sa.literal(1)).select_from(last)))
        try:
            with self._engine.connect() as connection:
                return int(connection.execute(made).scalar_one())
        except sa.exc.DatabaseError:  # what is not there, or not reached: which of the two is asked below
            with _said():
                inspector = sa.inspect(self._engine)
                if not inspector.has_table(last.name) or inspector.has_table(_FORMAT.name):
                    return None
                return 1  # version 0.1.0 wrote no number


@contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except sa.exc.IntegrityError:
        raise
    except sa.exc.DatabaseError as error:
        why, said = str(error.orig), "check the disk or server"
        if "readonly" in why:
            why, said = "the workspace is read-only here", "decide where it can be written"
        raise MimicError(f"the decisions cannot be read or written ({why}): {said}") from None


def _file(folder: Path) -> str:
    path = folder.resolve() / _NAME
    if path.exists() and not (os.access(folder, os.W_OK) and os.access(path, os.W_OK)):
        return _read_only(path)
    make_folder(folder)
    return f"sqlite:///{path}"


def _read_only(path: Path) -> str:
    """Reading a file that cannot be written, with what a killed writer left in the log beside it."""
    log, index = (path.with_name(path.name + ending) for ending in ("-wal", "-shm"))
    logged = log.exists() and log.stat().st_size > 0
    if logged and not index.exists():
        raise MimicError(f"{path} has a log without its index and cannot be written: open it once where it can be")
    # without a log nobody has it open, so it may be taken for unchanging; SQLite would else want to make the index
    return f"sqlite:///file:{quote(str(path))}?mode=ro&immutable={int(not logged)}&uri=true"


def _server(url: str) -> str:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise MimicError(f"{URL_VARIABLE} is no database URL: write postgresql://user@host/database") from None
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise MimicError(f"{URL_VARIABLE} names {parsed.get_backend_name()!r}: PostgreSQL is what works there")
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise MissingExtra(f"{URL_VARIABLE} with PostgreSQL", "postgres") from None
    return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def _is_read_only(url: str) -> bool:
    return url.startswith("sqlite:///file:") and "?mode=ro&" in url


@lru_cache(maxsize=16)  # one pool a database and process, whoever asks
def _engine(url: str) -> sa.Engine:
    if not url.startswith("sqlite"):
        return sa.create_engine(url, pool_pre_ping=True)
    if _is_read_only(url):  # opened afresh each time, for whoever may write it might have
        return sa.create_engine(url, poolclass=sa.NullPool)
    engine = sa.create_engine(url, connect_args={"timeout": _WAIT})
    sa.event.listen(engine, "connect", _set_up_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # transactions are begun below, not guessed by the driver
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")  # acknowledged means on the disk


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer takes its turn at once: one that began by reading could find the file changed, and have to start over.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
