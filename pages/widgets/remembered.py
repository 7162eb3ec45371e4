"""Figures of a published run that take a while and never change: worked out once, for every visitor."""

from __future__ import annotations

import pandas as pd

from mimic.data import NOUN
from mimic.evaluation.agreement import rank_correlation
from mimic.evaluation.detection import better_signal, detection_table
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.once import once
from mimic.workspace.queries.rows import judged


@once(16)
def detection(published: Published) -> tuple[pd.DataFrame, bool, str]:
    """`detection_table` of the run's signals, and what `better_signal` says of its main one."""
    known = judged(published)
    said = better_signal(known.signals, known.wrong, published.main, NOUN[published.task])
    return detection_table(known.signals, known.wrong), *said


@once(16)
def twins(published: Published) -> list[tuple[str, str]]:
    """Pairs of the run's signals that are one number up to its unit: the path's mean Mimic Score and the loss saved."""
    scored = pd.DataFrame(judged(published).signals).dropna()
    paths = [name for name in scored if name.startswith("mimic_path") and "rho" in scored]
    return [
        (path, "rho") for path in paths if rank_correlation(scored[path].to_numpy(), scored["rho"].to_numpy()) > 0.999
    ]
