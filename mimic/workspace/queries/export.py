"""Every sample that a rule is about, with its fate under the rule and people's decisions, in the data set's order.

What the rule says comes as arrays over the data set's sample numbers; rows are streamed in spans of these numbers, so
the same rule always gives the same tables, cut at the same places, and texts need no more memory than one span.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mimic.data import ABSTAIN, DROP
from mimic.errors import MimicError
from mimic.workspace.files import quoted
from mimic.workspace.queries import given
from mimic.workspace.queries.connection import Published, Tables, tables

SPAN = 100_000

# What the decisions are joined from: one row a decided sample.
DECIDED = pa.schema([pa.field("sample", pa.int32()), pa.field("action", pa.string()), pa.field("label", pa.string())])

_DECISION = "CASE WHEN d.action IN ('keep', 'drop', 'relabel') THEN d.action END"


@dataclass(frozen=True, eq=False)
class Chosen:
    """What decides about the samples of a data set; arrays are (size,), by sample number.

    Attributes:
        votes: int8, KEEP, DROP or ABSTAIN: what the rule says where it knows a score.
        inside: the samples that the rule is about.
        scores: float32, what the rule goes by, NaN where there is nothing.
        drop_unscored: whether a sample that the rule abstains on is dropped.
        decided: columns of `DECIDED`: what people said of samples, which overrules the rule; None: the rule alone.
    """

    votes: NDArray[np.int8]
    inside: NDArray[np.bool_]
    scores: NDArray[np.float32]
    drop_unscored: bool = False
    decided: pa.Table | None = None

    def kept(self, first: int, last: int) -> NDArray[np.bool_]:
        """What the rule alone keeps among samples first … last − 1."""
        votes = self.votes[first:last]
        kept: NDArray[np.bool_] = votes != DROP
        return kept & (votes != ABSTAIN) if self.drop_unscored else kept


@dataclass(frozen=True)
class Fates:
    """How many samples go where. kept + dropped + not_scored = all samples that the rule is about.

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
    by_rule = chosen.kept(0, len(chosen.votes))
    kept, judged = by_rule.copy(), chosen.votes != ABSTAIN
    relabelled = 0
    if chosen.decided is not None and chosen.decided.num_rows:
        samples = chosen.decided["sample"].to_numpy()
        actions = np.array(chosen.decided["action"].to_pylist(), dtype=object)
        for action, keeps in (("keep", True), ("relabel", True), ("drop", False)):
            kept[samples[actions == action]] = keeps
            judged[samples[actions == action]] = True
        relabelled = _relabelled(published, chosen)
    inside = chosen.inside
    return Fates(
        kept=int(np.count_nonzero(kept & judged & inside)),
        dropped=int(np.count_nonzero(~kept & judged & inside)),
        not_scored=int(np.count_nonzero(~judged & inside)),
        relabelled=relabelled,
        overruled=int(np.count_nonzero((kept != by_rule) & inside)),
    )


def _relabelled(published: Published, chosen: Chosen) -> int:
    with tables(published) as t:
        _register(t, chosen)
        rows = t.rows(
            "SELECT d.sample FROM decided d JOIN (SELECT rowid AS sample, label FROM"
            f" {t.samples} WHERE rowid IN (SELECT sample FROM decided)) s ON s.sample = d.sample"
            " WHERE d.action = 'relabel' AND d.label IS DISTINCT FROM s.label"
        )
    return sum(bool(chosen.inside[sample]) for (sample,) in rows)


def export_rows(
    published: Published, chosen: Chosen, *, further: str | None = None, predicted: bool = False, span: int = SPAN
) -> Iterator[pa.Table]:
    """Every sample that the rule is about, in the order of the data set.

    Args:
        published: a run of the data set, whose reference's best labels `predicted` asks for.
        further: one of `given.columns`, given as text in the column `further`.
        predicted: whether to give the reference's best label in the column `predicted`.
        span: sample numbers a table.

    Returns:
        Tables that are never empty: sample, id, path, split, label (after a relabelling), given_label (as imported),
        score (null where there is none), kept, decision (keep, drop, relabel; null without one), scored (whether the
        rule said anything), then `further` and `predicted` where asked for.

    Raises:
        MimicError: the data set does not have the further column.
    """
    if further is not None and further not in (known := given.columns(published)):
        raise MimicError(f"data set {published.dataset} has no column {further!r}: it has {', '.join(known) or 'none'}")
    extra = f", s.{quoted(further)}::VARCHAR AS further" if further else ""
    extra += ", p.label AS predicted" if predicted else ""
    with tables(published) as t:
        _register(t, chosen)
        for first in range(0, len(chosen.votes), span):
            ruled = _ruled(chosen, first, min(first + span, len(chosen.votes)))
            if not ruled.num_rows:
                continue
            t.cursor.register("ruled", ruled)
            inside = f"{first} AND {first + span - 1}"
            guesses = f"(SELECT sample, label FROM {t.predictions} WHERE rank = 1 AND sample BETWEEN {inside})"
            yield t.arrow(
                "SELECT c.sample, s.id, s.path, s.split,"
                " CASE WHEN d.action = 'relabel' THEN d.label ELSE s.label END AS label, s.label AS given_label,"
                f" c.score, coalesce({_DECISION} <> 'drop', c.kept) AS kept, {_DECISION} AS decision, c.scored{extra}"
                f" FROM ruled c JOIN {t.samples} s ON s.rowid = c.sample LEFT JOIN decided d ON d.sample = c.sample"
                + (f" LEFT JOIN {guesses} p ON p.sample = c.sample" if predicted else "")
                + f" WHERE s.rowid BETWEEN {inside} ORDER BY c.sample",
            )


def _ruled(chosen: Chosen, first: int, last: int) -> pa.Table:
    """Columns sample, score (null where there is none), kept, scored of a span's samples that the rule is about."""
    places = np.flatnonzero(chosen.inside[first:last])
    score = pa.array(chosen.scores[first:last][places], pa.float32(), from_pandas=True)
    kept, scored = chosen.kept(first, last)[places], (chosen.votes[first:last] != ABSTAIN)[places]
    return pa.table({"sample": pa.array(places + first, pa.int32()), "score": score, "kept": kept, "scored": scored})


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
