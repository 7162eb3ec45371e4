"""What a sample was given, a label or a caption, and whether that is wrong: said here once, for every query.

Each function gives SQL over a row of the table `samples`, which the query calls ``s``.
"""

from __future__ import annotations

from mimic.workspace.queries.connection import Published
from mimic.workspace.samples import CAPTIONS


def wrong(published: Published) -> str:
    """Whether the given label (or caption) is wrong; NULL where nobody knows."""
    return "(s.fault <> '')" if published.task == "captions" else "(s.label <> s.truth)"


def caption(published: Published) -> str:
    """The caption; NULL in a data set of labels."""
    return "s.caption" if published.task == "captions" else "NULL::VARCHAR"


def fault(published: Published) -> str:
    """The kind of fault of a caption, "" for none; NULL where nobody knows, and in a data set of labels."""
    return "s.fault" if published.task == "captions" else "NULL::VARCHAR"


def columns(published: Published) -> tuple[str, ...]:
    """Columns that may be asked for beside those of every sample: the further ones, and a caption's own."""
    return (*(CAPTIONS if published.task == "captions" else ()), *published.columns)


def card(published: Published) -> str:
    """What a card shows: columns sample, id, path, label, truth, caption, fault, wrong (known to be wrong)."""
    return (
        f"s.sample, s.id, s.path, s.label, s.truth, {caption(published)} AS caption, {fault(published)} AS fault,"
        f" coalesce({wrong(published)}, false) AS wrong"
    )
