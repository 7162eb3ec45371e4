"""How well the signals find faults that somebody knows, in real pipelines.

python -m benchmarks.quality sample     the sample data: seconds
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.tables import Section, markdown, write_csv, write_section
from mimic.evaluation.detection import auroc, average_precision, better_signal, f1_at_budget
from mimic.runs import demo, further, manager
from mimic.scores import DEFAULT_SIGNALS
from mimic.scores.table import TABLE_SIGNALS
from mimic.workspace.layout import Dataset, Run, Workspace

DRAWS = 300
FIGURES: dict[str, Callable[[NDArray[np.float32], NDArray[np.bool_]], float]] = {
    "auroc": auroc,
    "average_precision": average_precision,
    "f1": lambda scores, wrong: f1_at_budget(scores, wrong, int(wrong.sum())),  # budget: as many as are wrong
}


def with_intervals(
    scores: NDArray[np.float32], wrong: NDArray[np.bool_], draws: int = DRAWS, seed: int = 0
) -> dict[str, float]:
    """Every figure with its 95 % bootstrap interval over the draw of samples.

    Args:
        scores: (N,) higher is better.
        wrong: (N,) True where the given label is wrong.
        draws: bootstrap samples, each N drawn with replacement.

    Returns:
        For each of `FIGURES` the value, NAME_low and NAME_high, 0 … 1.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(0, wrong.size, wrong.size) for _ in range(draws)]
    found: dict[str, float] = {}
    for name, figure in FIGURES.items():
        low, high = np.nanquantile([figure(scores[i], wrong[i]) for i in drawn], [0.025, 0.975])
        found |= {name: figure(scores, wrong), f"{name}_low": float(low), f"{name}_high": float(high)}
    return found


def published(run: Run, dataset: Dataset) -> pd.DataFrame:
    """A run's scores beside the data set's columns, as anybody can read them with DuckDB alone."""
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{run.scores_file}' AS run (READ_ONLY)")
        connection.execute(f"ATTACH '{dataset.samples_file}' AS data (READ_ONLY)")
        return connection.execute(
            "SELECT s.fault, s.label <> s.truth AS wrong, c.* EXCLUDE (sample)"
            " FROM run.scores c JOIN data.samples s USING (sample) ORDER BY sample"
        ).df()


def detection_by_fault(rows: pd.DataFrame, signals: list[str], draws: int = DRAWS) -> pd.DataFrame:
    """Each signal's figures on all faults, and on each kind of fault against the right labels.

    Args:
        rows: columns fault (``"none"`` or a kind), wrong, and one a signal.

    Returns:
        Columns faults, wrong (how many), signal, then those of `with_intervals`; best AUROC first within a kind.
    """
    kinds = sorted(set(rows.fault) - {"none"}, reverse=True)
    table = []
    for kind in ["all", *kinds]:
        part = rows if kind == "all" else rows[rows.fault.isin(["none", kind])]
        wrong = part.wrong.to_numpy(dtype=bool)
        found = [
            {"faults": kind, "wrong": int(wrong.sum()), "signal": signal}
            | with_intervals(part[signal].to_numpy(dtype=np.float32), wrong, draws)
            for signal in signals
        ]
        table += sorted(found, key=lambda row: -float(row["auroc"]))
    return pd.DataFrame(table)


def with_interval_text(table: pd.DataFrame) -> pd.DataFrame:
    """The same for people: one column a figure, written 0.952 (0.943–0.960)."""
    shown = table[["faults", "wrong", "signal"]].copy()
    for name in FIGURES:
        columns = zip(table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True)
        shown[name.replace("_", " ")] = [f"{value:.3f} ({low:.3f}–{high:.3f})" for value, low, high in columns]
    return shown


def correlations(signals: Mapping[str, NDArray[np.float32]]) -> pd.DataFrame:
    """Spearman's rank correlation of every two signals, as a square table."""
    square = pd.DataFrame(dict(signals)).corr(method="spearman")
    return square.rename_axis("signal").reset_index()


def sample(draws: int = DRAWS) -> None:
    """The demo's run against the hidden truth, by kind of fault."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        dataset = demo.import_sample(workspace)
        scored = manager.score(workspace, demo.config())
        run = further.add_signals(workspace, scored, [*TABLE_SIGNALS])
        rows, check = published(run, dataset), run.facts["check"]
    table = detection_by_fault(rows, run.signals, draws)
    scores = {signal: rows[signal].to_numpy(dtype=np.float32) for signal in run.signals}
    ranks = correlations({signal: scores[signal] for signal in (*DEFAULT_SIGNALS, "ensemble", "margin_mean", "knn")})
    shown = with_interval_text(table)
    body = f"""{len(rows):,} photos of Fashion-MNIST, {rows.wrong.sum():,} wrong labels: half uniform, half within pairs
that are easily confused. A figure for one kind of fault compares it with the right labels alone. F1 is that of dropping
as many as are wrong. In brackets the 95 % interval of {draws:,} bootstrap draws of the photos.

{markdown(shown)}

{better_signal(scores, rows.wrong.to_numpy(dtype=bool), run.main)[1]}

Reference check: **{check["verdict"]}**. {check["sentence"]}
The mean score is {check["mean"]:.3f} ({check["mean_low"]:.3f}–{check["mean_high"]:.3f}), ‖v‖ is {check["norm"]:.2f}.

Spearman's rank correlation of some of them:

{markdown(ranks)}
"""
    print(shown.to_string(index=False), ranks.round(3).to_string(index=False), check["sentence"], sep="\n\n")
    print(write_csv("quality_sample", table))
    print(write_section(Section("quality_sample", "Sample data", "python -m benchmarks.quality sample", body)))


COMMANDS: dict[str, Callable[[], None]] = {"sample": sample}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    COMMANDS[parser.parse_args().command]()


if __name__ == "__main__":
    main()
