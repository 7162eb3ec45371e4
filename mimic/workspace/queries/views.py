"""What a run's reference thinks of the given labels: log-probabilities of those classes that the run kept.

A run keeps the reference's three best classes and, as signal `ref_logprob`, the given label's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mimic.errors import MimicError
from mimic.workspace.files import quoted
from mimic.workspace.queries import given
from mimic.workspace.queries.connection import Published, drawn, tables

LIMIT = 50_000  # samples: more narrow no interval that somebody would notice
_CELLS = 20_000_000  # samples × classes, likewise
_RANKS = (1, 2, 3)
_LOWEST = -69.0  # nats: less is none


@dataclass(frozen=True)
class Views:
    """The reference's views of samples with a label.

    Attributes:
        samples: (N,) sample numbers, ascending.
        labels: (N,) codes of the given labels in `names`.
        codes: (N, 4) the classes that log-probabilities were kept of, no class twice in a row, −1 for none.
        log_probs: (N, 4) theirs, in nats; 0 for none.
        names: the K classes: the data set's, then what else the reference knows.
        right: (N,) 1 where the given label is known to be right, 0 where it is known to be wrong, −1 elsewhere.
        drawn_from: how many samples the run has, where these are a draw; None where they are all with a label.
    """

    samples: NDArray[np.int32]
    labels: NDArray[np.int64]
    codes: NDArray[np.int64]
    log_probs: NDArray[np.float64]
    names: tuple[str, ...]
    right: NDArray[np.int8]
    drawn_from: int | None


def has_views(published: Published) -> bool:
    """Whether the run kept what its reference predicts."""
    with tables(published) as t:
        return bool(t.rows(f"SELECT count(*) FROM (SELECT 1 FROM {t.predictions} LIMIT 1)")[0][0])


def reference_views(published: Published) -> Views:
    """The views of every scored sample with a label, or of a fixed draw of about `LIMIT`.

    Raises:
        MimicError: the run kept no predictions.
    """
    with tables(published) as t:
        further = [row[0] for row in t.rows(f"SELECT DISTINCT label FROM {t.predictions}")]
        if not further:
            raise MimicError(
                f"run {published.run} kept no predictions of its reference, so they cannot be compared with the labels:"
                " use a run of `mimic score`"
            )
        names = (*published.classes, *sorted(set(further) - set(published.classes)))
        share = min(LIMIT, _CELLS // len(names)) / max(published.size, 1)
        codes = pa.table({"name": pa.array(names, pa.string()), "code": pa.array(range(len(names)), pa.int32())})
        t.cursor.register("codes", codes)
        own = f"c.{quoted('ref_logprob')}" if "ref_logprob" in published.signals else "NULL::FLOAT"
        ranks = ", ".join(
            f"max(k.code) FILTER (p.rank = {rank}) AS code_{rank},"
            f" max(p.logprob) FILTER (p.rank = {rank}) AS log_{rank}"
            for rank in _RANKS
        )
        table = t.arrow(
            f"SELECT s.sample, s.label_code AS label, {own} AS own, {given.wrong(published)} AS wrong, q.*"
            f" FROM {t.scores} c JOIN {t.samples} s ON s.rowid = c.sample JOIN"
            f" (SELECT p.sample AS seen, {ranks} FROM {t.predictions} p JOIN codes k ON k.name = p.label"
            f"   WHERE {drawn('p.sample', share)} GROUP BY p.sample) q ON q.seen = c.sample"
            f" WHERE {drawn('c.sample', share)} AND s.label_code IS NOT NULL ORDER BY s.sample"
        )
        t.cursor.unregister("codes")
    labels = table["label"].to_numpy().astype(np.int64)
    known, log_probs = _kept(table, labels)
    right = 1 - np.nan_to_num(table["wrong"].cast(pa.int8()).to_numpy(zero_copy_only=False).astype(float), nan=2.0)
    return Views(
        samples=table["sample"].to_numpy(),
        labels=labels,
        codes=known,
        log_probs=log_probs,
        names=names,
        right=right.astype(np.int8),
        drawn_from=published.size if share < 1 else None,
    )


def groups(published: Published, column: str, samples: NDArray[np.int32]) -> NDArray[np.object_]:
    """A further column's value of each of some samples, as text; None where there is none.

    Raises:
        MimicError: the data set has no such column.
    """
    if column not in (*published.columns, "split"):
        known = ", ".join((*published.columns, "split"))
        raise MimicError(f"data set {published.dataset} has no column {column!r}: it has {known}")
    with tables(published) as t:
        t.cursor.register("wanted", pa.table({"number": samples}))
        found = t.arrow(
            f"SELECT s.{quoted(column)}::VARCHAR AS value FROM wanted w JOIN {t.samples} s ON s.rowid = w.number"
            " ORDER BY w.number"
        )
        t.cursor.unregister("wanted")
    return np.array([*found["value"].to_pylist(), None], dtype=object)[:-1]


def _kept(table: pa.Table, labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Codes and log-probabilities: the given label's own first, then the best others."""

    def column(name: str) -> NDArray[np.float64]:
        return np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float64)

    own = column("own")
    codes = np.stack([labels, *(column(f"code_{rank}") for rank in _RANKS)], axis=1)
    logs = np.stack([own, *(column(f"log_{rank}") for rank in _RANKS)], axis=1)
    again = (codes == labels[:, None]) & ~np.isnan(own)[:, None]
    again[:, 0] = False
    none = np.isnan(codes) | np.isnan(logs) | again
    return np.where(none, -1, codes).astype(np.int64), np.where(none, 0.0, np.maximum(logs, _LOWEST))


def true_codes(published: Published, size: int) -> NDArray[np.int32]:
    """(size,) class codes of the true labels by sample; −1 where nobody knows, or no class is called so."""
    with tables(published) as t:
        codes = pa.table(
            {
                "name": pa.array(published.classes, pa.string()),
                "code": pa.array(range(len(published.classes)), pa.int32()),
            }
        )
        t.cursor.register("codes", codes)
        found = t.arrow(f"SELECT s.sample, k.code FROM {t.samples} s JOIN codes k ON k.name = s.truth")
        t.cursor.unregister("codes")
    true = np.full(size, -1, dtype=np.int32)
    true[found["sample"].to_numpy()] = found["code"].to_numpy()
    return true
