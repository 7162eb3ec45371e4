"""Commands that ask whether a filter is right, what it does to a model, and how good a data set is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mimic.cli.terminal import WorkspaceOption, console, print_frame
from mimic.workspace.layout import DEFAULT, Workspace

evaluate = typer.Typer(help="Is the filter right, what does it do to a model, how good is the data?", no_args_is_help=True)


@evaluate.command("quality")
def quality(
    datasets: Annotated[list[str], typer.Argument(help="One or several data sets.")],
    run: Annotated[str | None, typer.Option(help="The run to go by; by default the newest with predictions.")] = None,
    by: Annotated[
        str | None, typer.Option(help="A further column, or class: the share in each of its parts.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write what is printed of the parts as CSV.")] = None,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Estimate the share of right labels, with an interval; several data sets side by side, the best first."""
    import pandas as pd

    from mimic.evaluation.assess import assess

    place = Workspace(workspace)
    found = [assess(place, place.dataset(name), run) for name in datasets]
    rows = [_quality_row(one) for one in sorted(found, key=lambda one: -one.quality.share)]
    print_frame(pd.DataFrame(rows))
    for one in found:
        console().print(f"{one.dataset}: {one.quality.note}")
        if by is not None:
            parts = one.by_class() if by == "class" else one.by_column(by)
            console().print(f"\n{one.dataset} by {by}, the worst first:")
            print_frame(parts)
            if csv is not None:
                parts.to_csv(csv if len(found) == 1 else csv.with_stem(f"{csv.stem}-{one.dataset}"), index=False)


def _quality_row(one: Any) -> dict[str, Any]:
    quality = one.quality
    return {
        "data set": one.dataset,
        "right labels": f"{quality.share:.1%}",
        "95% interval": f"{quality.low:.1%} to {quality.high:.1%}",
        "samples": f"{quality.samples:,}",
        "by": quality.method,
        **({} if one.true is None else {"true share": f"{one.true:.1%}"}),
        "run": one.run,
    }
