"""Every sample of a run with its fate under a rule and the people's decisions, streamed in the data set's order.

The samples come in spans of their numbers, so ten million need no more memory than one span, and the same rule always
gives the same tables, cut at the same places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from mimic.errors import MimicError
from mimic.workspace.files import quoted
from mimic.workspace.queries.connection import Published, Tables, float32_at_least, tables

SPAN = 100_000

# What the decisions are joined from: one row a decided sample.
DECIDED = pa.schema([pa.field("sample", pa.int32()), pa.field("action", pa.string()), pa.field("label", pa.string())])

_DECISION = "CASE WHEN d.action IN ('keep', 'drop', 'relabel') THEN d.action END"
_KEPT = f"coalesce({_DECISION} <> 'drop', {{score}} >= ?::FLOAT, ?)"


@dataclass(frozen=True)
class Chosen:
    """What decides about the samples of a run.

    Attributes:
        signal, threshold: kept ⇔ score ≥ threshold.
        drop_unscored: whether a sample without a score is dropped.
        decided: columns of `DECIDED`: what people said of samples, which overrules the rule; None: the rule alone.
    """

    signal: str
    threshold: float
    drop_unscored: bool = False
    decided: pa.Table | None = None


@dataclass(frozen=True)
class Fates:
    """How many samples go where. kept + dropped + not_scored = all samples of the run.

    Attributes:
        kept, dropped: by the rule or a decision.
        not_scored: samples with neither a score nor a decision, whatever becomes of them.
        relabelled: kept ones that leave with another label than they came with.
        overruled: samples whose fate a decision has turned round.
    """

    kept: int
    dropped: int
    not_scored: int
    relabelled: int
    overruled: int


def fates(published: Published, chosen: Chosen) -> Fates:
    """The counts, without the rows."""
    s = f"c.{published.column(chosen.signal)}"
    kept = _KEPT.format(score=s)
    line = [float32_at_least(chosen.threshold), not chosen.drop_unscored]
    with tables(published) as t:
        _register(t, chosen)
        row = t.rows(
            f"WITH each AS (SELECT {s} IS NOT NULL OR {_DECISION} IS NOT NULL AS judged, {kept} AS kept,"
            f"   coalesce({s} >= ?::FLOAT, ?) AS by_rule,"
            f"   coalesce(d.action = 'relabel' AND d.label IS DISTINCT FROM s.label, false) AS relabelled"
            f" FROM {t.scores} c LEFT JOIN decided d ON d.sample = c.sample"
            # labels are looked up for decided samples only
            f" LEFT JOIN (SELECT rowid AS sample, label FROM {t.samples} WHERE rowid IN (SELECT sample FROM decided)) s"
            f"   ON s.sample = d.sample)"
            " SELECT count(*) FILTER (judged AND kept), count(*) FILTER (judged AND NOT kept),"
            " count(*) FILTER (NOT judged), count(*) FILTER (relabelled), count(*) FILTER (kept <> by_rule) FROM each",
            [*line, *line],
        )[0]
    return Fates(*(int(value) for value in row))


def export_rows(
    published: Published, chosen: Chosen, *, further: str | None = None, predicted: bool = False, span: int = SPAN
) -> Iterator[pa.Table]:
    """Every sample of the run, in the order of the data set.

    Args:
        further: one further column of the data set, given as text in the column `further`.
        predicted: whether to give the reference's best label in the column `predicted`.
        span: sample numbers a table.

    Returns:
        Tables that are never empty: sample, id, path, split, label (after a relabelling), given_label (as imported),
        score (null where not scored), kept, decision (keep, drop, relabel; null without one), then `further` and
        `predicted` where asked for.

    Raises:
        MimicError: the run does not know the signal, or the data set the further column.
    """
    s = f"c.{published.column(chosen.signal)}"
    if further is not None and further not in published.columns:
        raise MimicError(
            f"data set {published.dataset} has no column {further!r}: it has {', '.join(published.columns) or 'none'}"
        )
    extra = f", s.{quoted(further)}::VARCHAR AS further" if further else ""
    extra += ", p.label AS predicted" if predicted else ""
    line = [float32_at_least(chosen.threshold), not chosen.drop_unscored]
    with tables(published) as t:
        _register(t, chosen)
        last = t.rows(f"SELECT coalesce(max(sample), -1) + 1 FROM {t.scores}")[0][0]
        for first in range(0, last, span):
            inside = f"{first} AND {first + span - 1}"
            guesses = f"(SELECT sample, label FROM {t.predictions} WHERE rank = 1 AND sample BETWEEN {inside})"
            table = t.arrow(
                "SELECT c.sample, s.id, s.path, s.split,"
                " CASE WHEN d.action = 'relabel' THEN d.label ELSE s.label END AS label, s.label AS given_label,"
                f" {s} AS score, {_KEPT.format(score=s)} AS kept, {_DECISION} AS decision{extra}"
                f" FROM {t.scores} c JOIN {t.samples} s ON s.rowid = c.sample"
                " LEFT JOIN decided d ON d.sample = c.sample"
                + (f" LEFT JOIN {guesses} p ON p.sample = c.sample" if predicted else "")
                + f" WHERE c.sample BETWEEN {inside} AND s.rowid BETWEEN {inside} ORDER BY c.sample",
                line,
            )
            if table.num_rows:
                yield table


def cumulative(published: Published, signal: str) -> tuple[list[float], list[float]]:
    """Points (score, share of scored samples below it), upwards, to interpolate between: the bins' edges.

    Raises:
        MimicError: no sample has the signal, or the run does not know it.
    """
    published.column(signal)
    with tables(published) as t:
        bins = t.rows(
            f"SELECT any_value(low), any_value(high), any_value(below), sum(n) FROM {t.bins} WHERE signal = ?"
            " GROUP BY bin ORDER BY bin",
            [signal],
        )
    if not bins:
        raise MimicError(f"no sample of run {published.run} has the signal {signal!r}")
    total = float(bins[-1][2] + bins[-1][3])
    edges = [edge for low, high, _, _ in bins for edge in (low, high)]
    shares = [share / total for _, _, below, n in bins for share in (below, below + float(n))]
    return edges, shares


def versions(published: Published) -> dict[str, str]:
    """The versions that a run was scored with, by name."""
    with tables(published) as t:
        rows = t.rows(f"SELECT key, value FROM {t.run} WHERE starts_with(key, 'versions.') ORDER BY key")
    return {key.removeprefix("versions."): value.strip('"') for key, value in rows}


def _register(t: Tables, chosen: Chosen) -> None:
    t.cursor.register("decided", DECIDED.empty_table() if chosen.decided is None else chosen.decided)
