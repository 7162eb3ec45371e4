"""The command that compares signals and filters at the same budget."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer

from mimic.cli.terminal import WorkspaceOption, console, print_cautions, print_frame, run_or_newest
from mimic.data import counted
from mimic.errors import MimicError
from mimic.workspace.layout import DEFAULT, Run, Workspace

SHARES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)


def compare(
    first: Annotated[
        str,
        typer.Argument(
            help="RUN:SIGNAL, RUN for its main signal, or a named filter; a data set's name is its newest run."
        ),
    ],
    others: Annotated[
        list[str],
        typer.Argument(
            help="The same, or a signal of the first one's run or of the only other run that has it; one or several."
        ),
    ],
    keep: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="The share that each signal keeps; by default a filter's, or 0.8."),
    ] = None,
    by_class: Annotated[bool, typer.Option("--by-class", help="Also what each drops of every class.")] = False,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Compare signals, and named filters, that keep as many samples: where they agree, and where they part."""
    from mimic.evaluation import ruling
    from mimic.evaluation.cautions import of_references
    from mimic.workspace.decisions import overruling

    place = Workspace(workspace)
    table, members = _members(place, [first, *others])
    share = keep if keep is not None else _share_of_a_filter(table, members)
    rules = [_at(member, share, table) for member in members]
    truth = table.truth() or ruling.verdicts(table, overruling(place, table.dataset))
    found, say = ruling.crossing(rules, table, truth), console().print
    letters = "ABCDEF"
    for letter, rule in zip(letters, rules, strict=False):
        counted = ruling.outcome(rule, table)
        where = ", ".join(sorted(rule.runs))
        say(f"{letter}           {rule.words}, on {where}: {counted.kept:,} kept, {counted.dropped:,} dropped")
        if (asked := _asked(rule)) is not None and counted.kept != asked:
            say(f"            {counted.kept:,} instead of {asked:,}: what ties with the last one is kept too")
    print_cautions(of_references(table, rules))
    if len(rules) == 2:
        _print_two(members, rules, table, truth, found)
    else:
        _print_several(found, letters)
    if by_class:
        say("\nShare of each class that is dropped, the most disputed first:")
        frame = found.by_class(table.dataset.classes)
        print_frame(frame.rename(columns={str(n): letter for n, letter in enumerate(letters)}).head(50))


def _members(place: Workspace, names: list[str]) -> tuple[Any, list[Any]]:
    """The table they all decide about, and for each name a rule, or a column to be cut at the budget."""
    from mimic.evaluation.ruling import scope
    from mimic.filters.rule import Column
    from mimic.filters.rules import read_rule
    from mimic.workspace.filters import load_filter
    from mimic.workspace.queries.dense import Dense

    saved, runs = {path.stem for path in place.filters()}, {run.id for run in place.runs()}
    found: list[Any] = []
    opened: dict[str, Run] = {}
    datasets = set()
    for name in names:
        run, _, signal = name.partition(":")
        before = next((one for one in found if isinstance(one, Column)), None)
        if name in saved and name not in runs:
            chosen = load_filter(place, name)
            found.append(read_rule(chosen.rule))
            datasets.add(chosen.dataset)
            continue
        if not signal and run not in runs and before is not None:
            table = Dense(place, place.dataset(place.run(before.run).dataset))
            found.append(scope(table, before.run).column(None, name))
            continue
        chosen_run = opened[run] = opened.get(run) or run_or_newest(place, run)
        found.append(Column(run=chosen_run.id, signal=signal or chosen_run.main))
        datasets.add(chosen_run.dataset)
    if len(datasets) > 1:
        raise MimicError(f"{', '.join(names)} are of different data sets ({', '.join(sorted(datasets))}): give one's")
    if len(set(found)) < len(found):
        raise MimicError(f"{', '.join(names)} name the same thing twice: give different ones")
    return Dense(place, place.dataset(datasets.pop())), found


def _share_of_a_filter(table: Any, members: list[Any]) -> float:
    """What the first named filter among them keeps of the samples it votes on; 0.8 where there is none."""
    from mimic.evaluation import ruling
    from mimic.filters.rule import Rule

    first = next((member for member in members if isinstance(member, Rule)), None)
    if first is None:
        return 0.8
    found = ruling.outcome(first, table)
    return found.kept / max(found.kept + found.dropped, 1)


def _at(member: Any, share: float, table: Any) -> Any:
    """The member as a rule: a signal keeps that share of its scored samples."""
    from mimic.filters.rule import Rule
    from mimic.filters.signal_rules import Best, ShareRule

    if isinstance(member, Rule):
        return member
    return ShareRule(run=member.run, signal=member.signal, best=Best(count=round(share * len(member.rising(table)))))


def _asked(rule: Any) -> int | None:
    """How many samples a signal was to keep; None of what has no such budget."""
    best = getattr(rule, "best", None)
    return best and best.count


def _print_two(members: list[Any], rules: list[Any], table: Any, truth: Any, found: Any) -> None:
    import pandas as pd

    from mimic.evaluation import ruling
    from mimic.filters.rule import Rule

    say, chosen = console().print, found.agreement(0, 1)
    say(f"compared    {counted(chosen.compared, 'sample')}; {chosen.left_out:,} that A or B has no score for")
    alike = ruling.likeness(rules[0], rules[1], table)
    if alike is not None:
        drawn = f" on {alike.pairs.a.size:,} of them" if alike.pairs.a.size < alike.pairs.shared else ""
        told = f"Spearman {alike.spearman:.3f}, Kendall {alike.kendall:.3f}{drawn}"
        say(f"ranks       {'none: all scores of one are the same' if math.isnan(alike.spearman) else told}")
    rows: list[dict[str, Any]] = [{"cell": cell, "samples": count} for cell, count in chosen.counts.items()]
    if any(chosen.known.values()):
        rows = [row | {"wrong": chosen.wrong[row["cell"]], "known": chosen.known[row["cell"]]} for row in rows]
    print_frame(pd.DataFrame(rows))
    if any(isinstance(member, Rule) for member in members):
        say(f"overlap     {chosen.jaccard_dropped:.3f} of what either drops; {chosen.jaccard_by_chance:.3f} by chance")
        return
    say("\nAt other budgets (overlap: dropped by both, of those dropped by either):")
    others, tied = [], False
    for share in SHARES:
        rules = [_at(member, share, table) for member in members]
        kept = [ruling.outcome(rule, table).kept for rule in rules]
        tied |= kept != [_asked(rule) for rule in rules]
        each = ruling.crossing(rules, table, truth).agreement(0, 1)
        others.append((f"{share:.0%}", *kept, each.agreeing, each.jaccard_dropped, each.jaccard_by_chance))
    frame = pd.DataFrame(others, columns=["kept", "A keeps", "B keeps", "same decision", "overlap", "by chance"])
    print_frame(frame if tied else frame.drop(columns=["A keeps", "B keeps"]))
    if tied:
        say("ties are never split: where many samples share a score, more are kept than the budget says")


def _print_several(found: Any, letters: str) -> None:
    import pandas as pd

    together = found.combinations()
    together["drops"] = ["".join(letters[place] for place in drops) or "nobody" for drops in together["drops"]]
    if not together["known"].any():
        together = together.drop(columns=["known", "wrong"])
    console().print("\nDropped by exactly these:")
    print_frame(together)
    rows = []
    for a in range(found.members):
        for b in range(a + 1, found.members):
            each = found.agreement(a, b)
            rows.append((letters[a] + letters[b], each.agreeing, each.jaccard_dropped, each.jaccard_by_chance))
    console().print("\nTwo by two (overlap: dropped by both, of those dropped by either):")
    print_frame(pd.DataFrame(rows, columns=["pair", "same decision", "overlap", "by chance"]))
