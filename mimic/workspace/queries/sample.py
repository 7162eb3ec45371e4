"""Everything known of one sample: its row, each signal with its place among all, the reference's guesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mimic.errors import MimicError
from mimic.workspace.files import quoted
from mimic.workspace.queries import given
from mimic.workspace.queries.bins import scored_samples
from mimic.workspace.queries.connection import Published, Tables, tables


@dataclass(frozen=True)
class SampleFacts:
    """One sample of a run.

    Attributes:
        sample, id, path, label, truth, split, caption, fault: as imported.
        wrong: whether the label (or caption) is wrong; None where nobody knows.
        extra: further column → value.
        signals: columns signal, score (NaN = not scored), percentile: the share of scored samples that score lower,
            0 … 1, ties counting half.
        predictions: columns rank, label, logprob: the reference's three best guesses, fewer with fewer classes.
        reason: why it could not be scored; None where it could.
    """

    sample: int
    id: str
    path: str | None
    label: str | None
    truth: str | None
    split: str | None
    caption: str | None
    fault: str | None
    wrong: bool | None
    extra: dict[str, Any]
    signals: pd.DataFrame
    predictions: pd.DataFrame
    reason: str | None


def sample_facts(published: Published, sample: int) -> SampleFacts:
    """The facts of one sample.

    Raises:
        MimicError: the run has no such sample.
    """
    if not 0 <= sample < 2**31:  # numbers are INTEGERs; a link may hold anything
        raise _unknown(published, sample)
    of = f"{given.caption(published)}, {given.fault(published)}, {given.wrong(published)}"
    extra = "".join(f", s.{quoted(column)}" for column in published.columns)
    with tables(published) as t:
        found = t.rows(
            f"SELECT s.id, s.path, s.label, s.truth, s.split, {of}{extra} FROM {t.samples} s WHERE s.rowid = ?",
            [sample],
        )
        signals = ", ".join(published.column(signal) for signal in published.signals)
        scores = t.rows(f"SELECT {signals} FROM {t.scores} WHERE sample = ?", [sample])
        if not found or not scores:
            raise _unknown(published, sample)
        predictions = t.frame(
            f"SELECT rank, label, logprob FROM {t.predictions} WHERE sample = ? ORDER BY rank", [sample]
        )
        reasons = t.rows(f"SELECT reason FROM {t.failures} WHERE sample = ?", [sample])
        percentiles = _percentiles(t, published, scores[0])
        rows = [
            (signal, float("nan") if score is None else score, percentile)
            for signal, score, percentile in zip(published.signals, scores[0], percentiles, strict=True)
        ]
    id_, path, label, truth, split, caption, fault, wrong, *rest = found[0]
    return SampleFacts(
        sample,
        id_,
        path,
        label,
        truth,
        split,
        caption,
        fault,
        wrong,
        extra=dict(zip(published.columns, rest, strict=True)),
        signals=pd.DataFrame(rows, columns=["signal", "score", "percentile"]),
        predictions=predictions,
        reason=reasons[0][0] if reasons else None,
    )


@dataclass(frozen=True)
class Neighbours:
    """The samples just below and just above one in a signal's order; None at the ends."""

    lower: int | None
    higher: int | None


def neighbours(published: Published, signal: str, sample: int) -> Neighbours:
    """Who stands beside a sample in the order of (score, sample number); nobody where it was not scored."""
    s = published.column(signal)
    with tables(published) as t:
        own = t.rows(f"SELECT {s} FROM {t.scores} WHERE sample = ?", [sample])
        if not own or own[0][0] is None:
            return Neighbours(None, None)
        beside = [
            t.rows(
                f"SELECT sample FROM {t.scores} WHERE {s} {step} ?::FLOAT OR {s} = ?::FLOAT AND sample {step} ?"
                f" ORDER BY {s} {direction}, sample {direction} LIMIT 1",
                [own[0][0], own[0][0], sample],
            )
            for step, direction in (("<", "DESC"), (">", "ASC"))
        ]
    lower, higher = (rows[0][0] if rows else None for rows in beside)
    return Neighbours(lower, higher)


def _unknown(published: Published, sample: int) -> MimicError:
    return MimicError(f"run {published.run} has no sample {sample:.6g}: choose one in Explore")


def _percentiles(t: Tables, published: Published, scores: Sequence[float | None]) -> list[float]:
    """The share of scored samples below each score, ties counting half; one scan for all signals."""
    own = [(signal, score) for signal, score in zip(published.signals, scores, strict=True) if score is not None]
    columns = [(published.column(signal), score) for signal, score in own]
    counts = [f"count(*) FILTER ({s} < {score!r}::FLOAT)" for s, score in columns]
    counts += [f"count(*) FILTER ({s} = {score!r}::FLOAT)" for s, score in columns]
    found = t.rows(f"SELECT {', '.join(counts)} FROM {t.scores}")[0] if own else ()
    shares = {
        signal: (found[place] + found[place + len(own)] / 2) / scored_samples(published, signal)
        for place, (signal, _) in enumerate(own)
    }
    return [shares.get(signal, float("nan")) for signal in published.signals]
