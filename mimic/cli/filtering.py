"""Commands on named filters: how good one is, and taking it away as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mimic.cli.terminal import WorkspaceOption, console
from mimic.workspace.layout import DEFAULT, Workspace

FilterArgument = Annotated[str, typer.Argument(help="The name of a filter saved on the Threshold page.")]


def export(
    name: FilterArgument,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="parquet, csv, jsonl, datacomp, webdataset, hf, imagefolder, open_clip, fiftyone or cleanlab.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The file or folder to make; PATH.json beside it says what it holds.")],
    decisions: Annotated[bool, typer.Option(help="Whether people's decisions overrule the filter.")] = True,
    images: Annotated[str, typer.Option(help="How images get into a folder: symlink, hardlink or copy.")] = "symlink",
    shard_size: Annotated[int, typer.Option(min=1, help="Samples a WebDataset shard.")] = 10_000,
    column: Annotated[
        str | None, typer.Option(help="The column with captions (open_clip, webdataset) or uids (datacomp).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many samples would go where.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export at that path.")] = False,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Write what a filter keeps as files that other tools read."""
    from mimic.reports.exports import Options, Selection, write_export
    from mimic.workspace.decisions import overruling

    place = Workspace(workspace)
    published, rule = _filtered(place, name)
    people = overruling(place, place.dataset(published.dataset)) if decisions else None
    selection = Selection(published, rule, people)
    options = Options(images=images, shard_size=shard_size, column=column)  # type: ignore[arg-type]  # checks itself
    say = console().print
    if dry_run:
        _print_counts(selection.counts())
        say("nothing was written (--dry-run)")
        return
    written = write_export(selection, out, form, options, overwrite=overwrite)
    _print_counts(written.counts)
    for note in written.notes:
        say(f"note        {note}")
    if written.failures:
        say(f"left out    {written.failures:,} kept samples that could not be written: {out}.json says which and why")
    say(f"written     {written.path}")
    say(f"sha256      {written.sha256}")


def audit(
    name: FilterArgument,
    draw: Annotated[
        int | None, typer.Option(min=10, help="Draw so many samples to judge (more, if some are drawn already).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the CSV of drawn samples to fill in.")] = None,
    verdicts: Annotated[
        Path | None,
        typer.Option(help="The filled-in CSV (verdict: good, bad or unsure); by default the Audit page's verdicts."),
    ] = None,
    at: Annotated[
        list[float] | None, typer.Option(help="Other lines to judge by the same verdicts. May be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the first draw.")] = 0,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Draw samples for people to judge, and say from their verdicts how good a filter is, with honest intervals."""
    from mimic.evaluation.audit import quotas
    from mimic.evaluation.verdicts import judge_lines, read_verdicts, recorded, to_judge
    from mimic.workspace.audits import begin_audit, load_audit
    from mimic.workspace.decisions import Decisions
    from mimic.workspace.queries.threshold import line_at
    from mimic.workspace.spreadsheets import write_texts

    place = Workspace(workspace)
    published, rule = _filtered(place, name)
    if draw is not None:
        line = line_at(published, rule.signal, rule.threshold)
        numbers = quotas(line.dropped, line.kept, draw)
        drawn = begin_audit(place, name, published, rule.signal, rule.threshold, numbers, seed=seed)
        below, above = (len(zone.samples) for zone in drawn.zones)
        console().print(f"drawn       {below:,} samples that {name} drops and {above:,} that it keeps")
        if out is not None:
            write_texts(out, to_judge(published, drawn))
            console().print(f"to judge    {out}: fill in good, bad or unsure, then mimic audit {name} --verdicts {out}")
        return
    opened = load_audit(place, name)
    people = Decisions(place, place.dataset(published.dataset))
    given = read_verdicts(verdicts, published, opened) if verdicts else recorded(people, opened)
    lines = [opened.line, *(at or [])]
    for score, judgement in zip(lines, judge_lines(published, opened, given, lines), strict=True):
        _print_judgement(score, judgement)


def _filtered(place: Workspace, name: str) -> tuple[Any, Any]:
    """The published run of a named filter, and its rule."""
    from mimic.filters.rules import read_rule
    from mimic.workspace.filters import load_filter
    from mimic.workspace.queries.connection import Published

    saved = load_filter(place, name)
    rule = read_rule(saved.rule)
    return Published.of(place.run(rule.run), place.dataset(saved.dataset)), rule


def _print_counts(counts: dict[str, int]) -> None:
    console().print(
        f"samples     {counts['kept']:,} kept, {counts['dropped']:,} dropped, {counts['not_scored']:,} not scored"
    )
    if counts["overruled"] or counts["relabelled"]:
        console().print(f"decisions   {counts['overruled']:,} overruled, {counts['relabelled']:,} relabelled")


def _print_judgement(score: float, judgement: Any) -> None:
    say = console().print
    say(f"line        {score:.6g}: {judgement.sentence}")
    if not judgement.enough:
        return
    for title, share, more in (
        ("precision", judgement.precision, judgement.more_for_precision()),
        ("recall", judgement.recall, judgement.more_for_recall()),
        ("bad share", judgement.bad_share, 0),
    ):
        hint = "" if more == 0 else f"; ±5 points take {'far' if more is None else f'about {more:,}'} more verdicts"
        say(f"{title:<11} {share.estimate:.1%} ({share.low:.1%} to {share.high:.1%}){hint}")
