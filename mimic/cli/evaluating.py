"""Commands that ask whether a filter is right, what it does to a model, and how good a data set is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mimic.cli.terminal import (
    WorkspaceOption,
    console,
    print_cautions,
    print_frame,
    run_or_newest,
    stopping,
    with_runs,
)
from mimic.data import counted
from mimic.errors import MimicError
from mimic.workspace.layout import DEFAULT, Workspace

evaluate = typer.Typer(
    help="Is the filter right, what does it do to a model, how good is the data?", no_args_is_help=True
)


@evaluate.command("quality")
def quality(
    datasets: Annotated[list[str], typer.Argument(help="One or several data sets.")],
    run: Annotated[str | None, typer.Option(help="The run to go by; by default the newest with predictions.")] = None,
    by: Annotated[str | None, typer.Option(help="A further column, or class: the share in each of its parts.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write what is printed of the parts as CSV.")] = None,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Estimate the share of right labels, with an interval; several data sets side by side, the best first."""
    import pandas as pd

    from mimic.evaluation.assess import assess
    from mimic.evaluation.cautions import of_reference

    place = Workspace(workspace)
    by_run = run and run_or_newest(place, run).id
    found = [assess(place, place.dataset(name), by_run) for name in datasets]
    rows = [_quality_row(one) for one in sorted(found, key=lambda one: -one.quality.share)]
    print_frame(pd.DataFrame(rows))
    for one in found:
        console().print(f"{one.dataset}: {one.quality.note}")
        if one.quality.method != "audit":  # verdicts hold whatever the reference is worth
            print_cautions(filter(None, [of_reference(place.run(one.run))]))
        if (before := one.without_audit) is not None:
            console().print(f"without the verdicts: {before.share:.1%} ({before.low:.1%} to {before.high:.1%})")
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


@evaluate.command("detect")
def detect(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Runs (all their signals), RUN:SIGNAL, or named filters; a data set's name is its newest run."
        ),
    ],
    truth: Annotated[
        str | None, typer.Option(help="column, reviews or audit:NAME; by default the column, else the reviews.")
    ] = None,
    drop: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="The share each signal drops; by default the share that is wrong."),
    ] = None,
    against: Annotated[str | None, typer.Option(help="The signal that others are compared with.")] = None,
    by: Annotated[str | None, typer.Option(help="class, or the column with the kind of fault.")] = None,
    member: Annotated[
        str | None, typer.Option(help="A column that says whether the reference was trained on the sample.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write all figures as CSV.")] = None,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """How well signals and filters find wrong labels, with intervals and paired differences."""
    from mimic.evaluation.bands import differences, table
    from mimic.evaluation.detection import about_zero_f1
    from mimic.evaluation.truth import by_class, by_fault, judge, membership, subjects
    from mimic.workspace.queries.dense import Dense

    place = Workspace(workspace)
    names = with_runs(place, names)
    judged = judge(place, names, truth)
    found = judged.found(drop)
    figures = table(found)
    wrong, say = int(judged.known.wrong.sum()), console().print
    say(f"judged by   {judged.known.source}: {counted(len(judged.known.samples), 'sample')}, {wrong:,} of them wrong")
    if judged.drawn_from:
        say(f"            drawn from {judged.drawn_from:,}")
    if judged.left_out:
        say(f"left out    {counted(judged.left_out, 'sample')} that some signal does not score")
    print_frame(_detection_texts(figures))
    if why := about_zero_f1(figures):
        say(why)
    first = against or str(figures.signal[0])
    if first not in found:
        raise MimicError(f"--against {first}: choose one of {', '.join(found)}")
    for row in differences(found, first).itertuples():
        say(
            f"{row.signal} against {first}: AUROC {row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}],"
            f" {row.verdict}"
        )
    tables = [figures.assign(part="all")]
    dataset, every = subjects(place, names)
    run = next((one for _, one, signal in every if signal), None)
    if by is not None:
        dense = Dense(place, dataset)
        parts = by_class(judged, drop) if by == "class" else by_fault(judged, dense, by, _needed(run, by), drop)
        tables.append(parts)
        say(f"\nby {by}:")
        print_frame(_detection_texts(parts))
    if member is not None:
        rows = membership(judged, Dense(place, dataset), member, _needed(run, member))
        tables.append(rows.assign(part=f"membership by {member}"))
        say(f"\nwas it in the reference's training set ({member})? A high score says yes:")
        print_frame(_detection_texts(rows))
    if csv is not None:
        import pandas as pd

        pd.concat(tables, ignore_index=True).to_csv(csv, index=False)


@evaluate.command("retrain")
def retrain(
    dataset: Annotated[str, typer.Argument(help="The data set.")],
    filters: Annotated[
        str | None,
        typer.Option(help="Signals (NAME or RUN:SIGNAL) and named filters, by commas; by default every signal."),
    ] = None,
    budgets: Annotated[str, typer.Option(help="Shares to keep, by commas.")] = "0.95,0.9,0.8,0.7,0.6",
    seeds: Annotated[int, typer.Option(min=1, help="How often each fit is repeated.")] = 5,
    model: Annotated[
        bool, typer.Option("--model/--features", help="The run's own model, or a head on its features.")
    ] = False,
    weights: Annotated[bool, typer.Option("--weights", help="Each budget as importance weights too.")] = False,
    run: Annotated[str | None, typer.Option(help="The scoring run whose model is used; by default the newest.")] = None,
    test: Annotated[
        str | None, typer.Option(help="The split to test on; by default one that no run has scored.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Of every fit.")] = 10,
    processes: Annotated[int | None, typer.Option(min=1, help="Fits at a time; by default one a core.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    csv: Annotated[Path | None, typer.Option(help="Write the table as CSV.")] = None,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Train on what filters keep, on as many at random, on everything, and on the right ones alone, and compare.

    Images with labels are judged by accuracy, images with captions by how often the two find each other.
    """
    from mimic.evaluation.retraining import best, curves
    from mimic.runs.loading import decoding_threads
    from mimic.runs.retrain import Asked, retrain
    from mimic.runs.terminal import ProgressDisplay

    place = Workspace(workspace)
    asked = Asked(
        names=_of_runs(place, _words(filters)), budgets=_shares(budgets), seeds=seeds, weights=weights, model=model,
        run=run and run_or_newest(place, run).id, test=test, epochs=epochs,
    )  # fmt: skip
    with stopping(), ProgressDisplay(console(stderr=True)) as display:
        made = retrain(place, place.dataset(dataset), asked, processes or decoding_threads(), device, display)
    table = curves(made.fits())
    say, shown = console().print, table.sort_values(["arm", "filter", "budget"], ascending=[True, True, False])
    say(f"retraining  {made.id}: {counted(len(made.fits()), 'fit')} on {made.facts['samples']:,} samples,"
        f" tested on {made.facts['test']:,} of split {made.facts['test_split']}")  # fmt: skip
    print_frame(
        shown.assign(
            **{made.outcome: [f"{a:.1%} ± {e:.1%}" for a, e in zip(shown["accuracy"], shown["error"], strict=True)]},
            gain=[f"{100 * g:+.1f} ± {100 * e:.1f}" for g, e in zip(shown["gain"], shown["gain_error"], strict=True)],
        )[["arm", "filter", "budget", made.outcome, "gain"]]
    )
    say("± one standard error, over seeds and test samples; gain over keeping everything, in points")
    top = best(table)
    if top is not None:
        say(top.sentence)
    if csv is not None:
        table.to_csv(csv, index=False)


def _of_runs(place: Workspace, names: tuple[str, ...]) -> tuple[str, ...]:
    """RUN:SIGNAL by the runs' ids; a name without a run is a signal's or a filter's."""
    ids = iter(with_runs(place, [name for name in names if ":" in name]))
    return tuple(next(ids) if ":" in name else name for name in names)


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in _words(text))
    except ValueError:
        raise MimicError(f"--budgets {text}: give shares to keep, e.g. 0.9,0.8") from None


def _needed(run: str | None, column: str) -> str:
    if run is None:
        raise MimicError(f"the column {column} is read beside a run: name a run as well as filters")
    return run


def _detection_texts(table: Any) -> Any:
    """Figures as people read them: 0.952 (0.943–0.960)."""
    import pandas as pd

    from mimic.evaluation.bands import FIGURES
    from mimic.reports import text

    shown = {name: table[name] for name in ("part", "wrong", "signal") if name in table}
    for figure in FIGURES:
        ends = zip(table[figure], table[f"{figure}_low"], table[f"{figure}_high"], strict=True)
        shown[figure.replace("_", " ")] = [text.estimated(*each) for each in ends]
    return pd.DataFrame(shown)


def report(
    run: Annotated[str, typer.Argument(help="A published run, or a data set: its newest.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")],
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Write a run as one HTML file that opens without a server."""
    from mimic.reports.page import write_report

    place = Workspace(workspace)
    path = write_report(place, run_or_newest(place, run), out)
    console().print(f"written     {path} ({path.stat().st_size / 1e6:.1f} MB)")
