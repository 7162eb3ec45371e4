"""The command that compares two signals at the same budget."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mimic.cli.terminal import WorkspaceOption, console, print_frame
from mimic.errors import MimicError
from mimic.workspace.layout import DEFAULT, Workspace

SHARES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)


def compare(
    first: Annotated[str, typer.Argument(help="RUN:SIGNAL, or RUN for its main signal.")],
    second: Annotated[str, typer.Argument(help="RUN:SIGNAL, or RUN, or a signal of the same run.")],
    keep: Annotated[float, typer.Option(min=0, max=1, help="The share of samples that each keeps.")] = 0.8,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Compare two signals that keep the same number of samples: where they agree, at this budget and at others."""
    import pandas as pd

    from mimic.evaluation.agreement import kendall_correlation, rank_correlation
    from mimic.workspace.queries.compare import Agreement, Side, agreement, pairs
    from mimic.workspace.queries.connection import Published
    from mimic.workspace.queries.threshold import line_keeping

    place = Workspace(workspace)

    def side(name: str, beside: Published | None = None) -> Side:
        run, _, signal = name.partition(":")
        if beside is not None and name in beside.signals:
            return Side(beside, name)
        found = place.run(run)
        published = Published.of(found, place.dataset(found.dataset))
        return Side(published, signal or published.main)

    a = side(first)
    b = side(second, a.published)
    if a == b:
        raise MimicError(f"{first} and {second} are the same signal: give two")
    most = min(line_keeping(each.published, each.signal, 0).scored for each in (a, b))

    def at(share: float) -> Agreement:
        return agreement(
            a, b, *(line_keeping(each.published, each.signal, round(share * most)).score for each in (a, b))
        )

    both, chosen = pairs(a, b), at(keep)
    say = console().print
    say(f"A           {a.signal} of run {a.published.run}")
    say(f"B           {b.signal} of run {b.published.run}")
    say(f"compared    {chosen.compared:,} samples; {chosen.left_out:,} that A or B has no score for")
    drawn = f" on {both.a.size:,} of them" if both.a.size < both.shared else ""
    spearman, kendall = rank_correlation(both.a, both.b), kendall_correlation(both.a, both.b)
    say(f"ranks       Spearman {spearman:.3f}, Kendall {kendall:.3f}{drawn}")
    say(f"\nEach keeps {keep:.0%}:")
    rows: list[dict[str, Any]] = [{"cell": cell, "samples": count} for cell, count in chosen.counts.items()]
    if any(chosen.known.values()):
        rows = [row | {"wrong labels": chosen.wrong[row["cell"]]} for row in rows]
    print_frame(pd.DataFrame(rows))
    say("\nAt other budgets (overlap: dropped by both, of those dropped by either):")
    others = [(f"{share:.0%}", each.agreeing, each.jaccard_dropped, each.jaccard_by_chance)
              for share in SHARES for each in [at(share)]]  # fmt: skip
    print_frame(pd.DataFrame(others, columns=["kept", "same decision", "overlap", "by chance"]))
