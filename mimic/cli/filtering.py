"""Commands on named filters: making one, how good it is, and taking it away as files."""

from __future__ import annotations

import getpass
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from mimic.cli.terminal import WorkspaceOption, app_command, console, print_cautions, print_frame, run_or_newest
from mimic.data import NOUN, counted
from mimic.errors import MimicError
from mimic.workspace.layout import DEFAULT, Run, Workspace

FilterArgument = Annotated[str, typer.Argument(help="The name of a saved filter.")]


def export(
    name: FilterArgument,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="Every sample, dropped ones too: parquet, csv, jsonl (column kept), cleanlab (is_label_issue); only "
            "what is kept: datacomp, webdataset, hf, imagefolder, open_clip, fiftyone.",
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
    """Write what a filter says as files that other tools read.

    A sample that was not scored counts as kept, unless the filter's rule ends with !, which drops it.
    """
    from mimic.reports.exports import Options, Selection, write_export
    from mimic.workspace.decisions import overruling

    place = Workspace(workspace)
    table, rule = _filtered(place, name)
    people = overruling(place, table.dataset) if decisions else None
    selection = Selection(table, rule, people)
    options = Options(images=images, shard_size=shard_size, column=column)  # type: ignore[arg-type]  # checks itself
    say = console().print
    if dry_run:
        _print_export(selection, form, selection.counts())
        say("nothing was written (--dry-run)")
        return
    written = write_export(selection, out, form, options, overwrite=overwrite)
    _print_export(selection, form, written.counts)
    for note in written.notes:
        say(f"note        {note}")
    if written.failures:
        left = counted(written.failures, "kept sample")
        say(f"left out    {left} that could not be written: {out}.json says which and why")
    say(f"written     {written.path}")
    say(f"sha256      {written.sha256}")


def audit(
    name: FilterArgument,
    draw: Annotated[
        int | None, typer.Option(min=10, help="Draw so many samples to judge, those drawn before among them.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the CSV of drawn samples to fill in.")] = None,
    verdicts: Annotated[
        Path | None,
        typer.Option(help="The filled-in CSV (verdict: good, bad or unsure), to record beside the Audit page's."),
    ] = None,
    at: Annotated[
        list[float] | None, typer.Option(help="Other lines to judge by the same verdicts. May be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the first draw.")] = 0,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Draw samples for people to judge, and say from their verdicts how good a filter is, with honest intervals."""
    from mimic.evaluation.verdicts import begin, judge_lines, read_verdicts, record, recorded, to_judge
    from mimic.workspace.audits import list_audits, load_audit
    from mimic.workspace.decisions import Decisions
    from mimic.workspace.spreadsheets import write_texts

    place = Workspace(workspace)
    table, rule = _filtered(place, name)
    if draw is not None:
        if out is not None and out.exists():
            raise MimicError(f"{out} is there and may hold verdicts: say another --out, or remove it")
        before = sum(len(one.samples) for one in list_audits(place) if one.name == name)
        drawn = begin(table, name, rule, draw, seed)
        below, above = (len(zone.samples) for zone in drawn.zones)
        earlier = f"; {before:,} of them were drawn before" if before else ""
        console().print(f"drawn       {below:,} samples that {name} drops and {above:,} that it keeps{earlier}")
        if out is not None:
            write_texts(out, to_judge(table.published(drawn.run), drawn))
            command = f"mimic audit {name} --verdicts {out}{place.option}"
            console().print(f"to judge    {out}: fill in good, bad or unsure, then {command}")
        return
    opened = load_audit(place, name)
    published = table.published(opened.run)
    people = Decisions(place, table.dataset)
    if verdicts is not None:
        filled = read_verdicts(verdicts, published, opened)
        new = record(people, published, opened, filled, _account())
        there = f"; {len(filled) - new:,} were there already" if new < len(filled) else ""
        console().print(f"recorded    {counted(new, 'verdict')}{there}")
    given = recorded(people, opened)
    if not given:
        raise MimicError(
            f"nobody has judged a sample of audit {name} yet: do so on the Audit page, or fill in the file of"
            f" mimic audit {name} --draw {len(opened.samples)} --out FILE and give it with --verdicts FILE"
        )
    lines = [opened.line, *(at or [])]
    for score, judgement in zip(lines, judge_lines(published, opened, given, lines), strict=True):
        _print_judgement("the rule" if score is None else f"{score:.6g}", judgement)


def _account() -> str:
    """Whose verdicts a file's are: the account's, as on the Audit page."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container may run under a number that has no name
        return "csv"


def filter_(
    run: Annotated[
        str, typer.Argument(help="A published run, or a data set: its newest. Signals without a run's name are its.")
    ],
    rule: Annotated[
        str | None,
        typer.Option(help='What to keep, e.g. "clip@top30% - mimic@bottom15%": docs/curation.md has the grammar.'),
    ] = None,
    rule_file: Annotated[Path | None, typer.Option(help="The rule as JSON: a saved filter's, or its `rule`.")] = None,
    name: Annotated[str | None, typer.Option(help="What the filter is called; by default as the run.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it keeps.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a filter of that name.")] = False,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Make a named filter from a rule over one or several signals and runs, and say what it does."""
    from mimic.evaluation import ruling
    from mimic.evaluation.cautions import cautions, of_references
    from mimic.files import read_json
    from mimic.filters.expression import expression, notes, parse
    from mimic.filters.rules import diagnostics, read_rule
    from mimic.workspace.decisions import overruling
    from mimic.workspace.filters import save_filter
    from mimic.workspace.queries.dense import Dense

    place = Workspace(workspace)
    at_hand = run_or_newest(place, run)
    run, table = at_hand.id, Dense(place, place.dataset(at_hand.dataset))
    if rule is not None and rule_file is not None:
        raise MimicError("--rule and --rule-file are two rules: give one of them")
    if rule is not None:
        chosen = parse(rule, ruling.scope(table, run))
        for note in notes(chosen, run):
            console(stderr=True).print(f"note        {note}")
    elif rule_file is not None:
        if not rule_file.is_file():
            raise MimicError(f"there is no file {rule_file}: give --rule-file a rule as JSON")
        written = read_json(rule_file)
        chosen = read_rule(written["rule"] if isinstance(written.get("rule"), dict) else written)
    else:
        chosen = ruling.default_rule(table, run)
    found, say = ruling.outcome(chosen, table), console().print
    say(f"rule        {expression(chosen, run)}")
    say(f"drops       {chosen.votes(table).reason}")
    say(f"samples     {found.kept:,} kept, {found.dropped:,} dropped, {found.not_scored:,} not scored")
    print_cautions(of_references(table, [chosen]))
    if rule is None and rule_file is None:
        print_cautions(cautions(chosen, found, NOUN[table.dataset.task]))
        _print_advice(at_hand, table)
    truth, judge = table.truth(), "the truth"
    if truth is None:
        truth, judge = ruling.verdicts(table, overruling(place, table.dataset)), "people's decisions"
    if truth is not None:
        _print_truth(ruling.against(chosen, table, truth), judge)
    good, known = (None, None) if truth is None else (~truth.wrong, truth.known)
    said = diagnostics(chosen, table, good, known)
    if len(said) > 1:
        say("\nThose who have a say (shares; estimated: accuracy by the label model, without any truth):")
        print_frame(said)
    if dry_run:
        say("\nnothing was saved (--dry-run)")
        return
    saved = save_filter(
        place, name or run, table.dataset.name, chosen.model_dump(mode="json"), found.counts, replace=replace
    )
    name = saved.name
    say(f"\nsaved       {name}: mimic export {name} --format parquet --out {name}.parquet{place.option}")


def _filtered(place: Workspace, name: str) -> tuple[Any, Any]:
    """The table that a named filter decides about, and its rule."""
    from mimic.filters.rules import read_rule
    from mimic.workspace.filters import load_filter
    from mimic.workspace.queries.dense import Dense

    saved = load_filter(place, name)
    return Dense(place, place.dataset(saved.dataset)), read_rule(saved.rule)


def _print_advice(run: Run, table: Any) -> None:
    """What is advised instead of a rule that nobody chose."""
    from mimic.evaluation.cautions import advised

    out, advice = console(stderr=True), advised(table, run)
    if advice is None:
        out.print(f"advice      is on the Evaluate page: {app_command(table.workspace)}")
    elif advice[1] is not None:
        command = f"mimic filter {run.id} --rule {shlex.quote(advice[1])} --name advised{table.workspace.option}"
        out.print(f"advised     {command}", soft_wrap=True)
    else:
        doing = "keep everything" if advice[0].everything else f"go by {advice[0].signal}"
        out.print(f"advised     {doing}; the Evaluate page says why")


def _print_truth(found: Any, judge: str) -> None:
    wrong = found.wrong_dropped + found.wrong_kept
    if not found.wrong_dropped + found.right_dropped:
        console().print(f"by {judge}: nothing is dropped, and {wrong:,} are wrong")
        return
    console().print(
        f"by {judge}: {found.precision:.1%} of the {found.wrong_dropped + found.right_dropped:,} dropped are wrong,"
        f" and {found.recall:.1%} of the {wrong:,} wrong ones are dropped"
    )


def _print_export(selection: Any, form: str, counts: dict[str, int]) -> None:
    """What an export holds, and what speaks against the filter."""
    from mimic.evaluation.cautions import of_references
    from mimic.reports.exports import format_of

    holds, say = format_of(form).holds, console().print
    say(f"samples     {counts['kept']:,} kept, {counts['dropped']:,} dropped, {counts['not_scored']:,} not scored")
    say(f"holds       {holds}")
    if counts["not_scored"]:
        say(f"not scored  {selection.unscored}")
    if counts["overruled"] or counts["relabelled"]:
        say(f"decisions   {counts['overruled']:,} overruled, {counts['relabelled']:,} relabelled")
    print_cautions(of_references(selection.table, [selection.rule]))


def _print_judgement(line: str, judgement: Any) -> None:
    say = console().print
    say(f"line        {line}: {judgement.sentence}")
    if not judgement.enough:
        return
    for title, share, more in (
        ("precision", judgement.precision, judgement.more_for_precision()),
        ("recall", judgement.recall, judgement.more_for_recall()),
        ("bad share", judgement.bad_share, 0),
    ):
        hint = "" if more == 0 else f"; ±5 points take {'far' if more is None else f'about {more:,}'} more verdicts"
        say(f"{title:<11} {share.estimate:.1%} ({share.low:.1%} to {share.high:.1%}){hint}")
