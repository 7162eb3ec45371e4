"""What rules and comparisons cost at ten million samples: processor time, warm and cold, and the memory they keep.

    python -m benchmarks.synthetic --rows 10_000_000 --classes 1000 --workspace big
    python -m benchmarks.rules --workspace big [--repeat 5]

Cold: the first time, columns read and sorted. Warm: another budget of the same signals, as a slider asks for it.
Writes results/rules.csv and a section of docs/results.md.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.tables import Section, markdown, write_csv, write_section
from mimic.evaluation import ruling
from mimic.filters.expression import parse
from mimic.filters.rule import Rule
from mimic.workspace.layout import Workspace
from mimic.workspace.queries.dense import Dense

RULES = {
    "share": "mimic@top{}%",
    "share of each class": "mimic@top{}%/class",
    "minus": "ref_logprob@top{}% - mimic@bottom15%",
    "mean of normal scores": "mean(mimic, ref_logprob, margin)@top{}%",
    "majority of four": "majority(mimic@top{0}%, ref_logprob@top{0}%, margin@top{0}%, logprob@top{0}%)",
    "label model of four": "dawid_skene(mimic@top{0}%, ref_logprob@top{0}%, margin@top{0}%, logprob@top{0}%)",
    "mixture": "mimic@mixture",
}


def seconds(act: Callable[[], object]) -> float:
    started = time.process_time()
    act()
    return time.process_time() - started


def measure(workspace: Workspace, repeat: int) -> pd.DataFrame:
    """A row a step: cold and median warm processor time in ms, and the process's peak memory so far in MB."""
    run = workspace.runs()[0]
    table = Dense(workspace, workspace.dataset(run.dataset))
    budgets = iter(range(20, 20 + 60 * len(RULES)))

    def rule(written: str, budget: float) -> Rule:
        return parse(written.format(budget), ruling.scope(table, run.id))

    def share() -> float:
        return 20 + next(budgets) / 10

    steps: dict[str, Callable[[], object]] = {
        name: lambda written=written: ruling.outcome(rule(written, share()), table) for name, written in RULES.items()
    }
    two = ("mimic@top{}%", "margin@top{}%")
    four = (*two, "ref_logprob@top{}%", "logprob@top{}%")
    truth = table.truth()
    for name, members in (("compare two", two), ("compare four", four)):
        steps[name] = lambda members=members: ruling.crossing([rule(each, share()) for each in members], table, truth)
    a, b = (rule(each, 80) for each in two)
    steps["likeness of two"] = lambda: ruling.likeness(a, b, table)
    steps["examples"] = lambda: ruling.examples(*(rule(each, share()) for each in two), table)
    rows = []
    for name, act in steps.items():
        cold = seconds(act)
        warm = float(np.median([seconds(act) for _ in range(repeat)]))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        rows.append((name, 1000 * cold, 1000 * warm, peak))
        print(f"{name:<24} {1000 * cold:8.0f} ms cold {1000 * warm:8.0f} ms warm {peak:8.0f} MB", flush=True)
    return pd.DataFrame(rows, columns=["step", "cold_ms", "warm_ms", "peak_mb"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--repeat", type=int, default=5)
    asked = parser.parse_args()
    workspace = Workspace(asked.workspace)
    table = measure(workspace, asked.repeat)
    samples = workspace.runs()[0].size
    write_csv("rules", table.assign(samples=samples))
    words = f"{samples:,} samples; processor time, one step at a time; peak is the process's so far."
    command = "python -m benchmarks.rules --workspace big"
    write_section(Section("rules", "Rules and comparisons", command, f"{words}\n\n{markdown(table, 0)}"))


if __name__ == "__main__":
    main()
