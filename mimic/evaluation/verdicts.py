"""From an audit's draw and people's verdicts to what they say of its rule, and of any other line of its signal."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from mimic.data import DROP, KEEP
from mimic.errors import MimicError
from mimic.evaluation.audit import Judgement, Piece, ZoneVerdicts, judge, judge_pieces, quotas
from mimic.filters.rule import Rule
from mimic.workspace.audits import Audit, Zone, begin_audit, begin_audit_of
from mimic.workspace.decisions import DECIDING, Decisions, Subject
from mimic.workspace.queries.audit import counts_between, scores_of
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.dense import Dense
from mimic.workspace.queries.export import cumulative
from mimic.workspace.queries.gallery import rows_of
from mimic.workspace.queries.threshold import line_at
from mimic.workspace.spreadsheets import original

Verdict = Literal["good", "bad", "unsure"]


def begin(table: Dense, name: str, rule: Rule, count: int, seed: int = 0) -> Audit:
    """Draw samples to judge a rule by: half of what it drops, half of what it keeps. The same name again draws more.

    Args:
        count: of samples, all together.

    Raises:
        MimicError: an unsafe name; an audit of that name for something else, or with more samples; a run or signal of
            the rule is gone.
    """
    drawn = rule.line(table)
    if drawn is not None:
        column, score = drawn
        published = table.published(column.run)
        line = line_at(published, column.signal, score)
        numbers = quotas(line.dropped, line.kept, count)
        return begin_audit(table.workspace, name, published, column.signal, score, numbers, seed=seed)
    votes, inside = rule.opinions(table), table.inside(rule.runs)
    dropped, kept = (np.flatnonzero((votes == side) & inside) for side in (DROP, KEEP))
    first = rule.columns[0].run if rule.columns else min(rule.runs)
    numbers = quotas(len(dropped), len(kept), count)
    written = rule.model_dump(mode="json")
    return begin_audit_of(table.workspace, name, table.published(first), written, (dropped, kept), numbers, seed=seed)


def recorded(decisions: Decisions, audit: Audit) -> dict[int, Verdict]:
    """The verdicts given so far, on the Audit page or in a CSV, by sample."""
    decided = decisions.decided(audit.source).to_pylist()
    verdicts: dict[int, Verdict] = dict.fromkeys(decisions.skipped(audit.source), "unsure")
    return verdicts | {row["sample"]: "good" if row["action"] == "keep" else "bad" for row in decided}


def record(decisions: Decisions, published: Published, audit: Audit, verdicts: Mapping[int, Verdict], who: str) -> int:
    """Keep verdicts as the Audit page does: events of the audit's source. The same again adds nothing.

    Args:
        published: the audit's run.
        verdicts: verdict by sample; they hold from now on, those of other samples stay as they were.
        who: whose they are.

    Returns:
        How many were recorded: the new ones, and those that differ from what stood there.
    """
    before = recorded(decisions, audit)
    fresh = [sample for sample, verdict in verdicts.items() if before.get(sample) != verdict]
    rows = rows_of(published, fresh)
    for sample, id, label in zip(rows["sample"], rows["id"], rows["label"], strict=True):
        subject = Subject(int(sample), id, label, published.run, audit.source)
        verdict = verdicts[subject.sample]
        if verdict == "unsure":
            _take_back(decisions, audit, subject.sample, who)
        decisions.record(who, "skip" if verdict == "unsure" else "keep" if verdict == "good" else "drop", subject)
    return len(fresh)


def _take_back(decisions: Decisions, audit: Audit, sample: int, who: str) -> None:
    """Undo what this audit decided about a sample: a skip alone would leave it standing."""
    log = decisions.history(sample)
    standing = log["action"].isin(DECIDING) & (log["source"] == audit.source) & ~log["undone"]
    for event in log["event"][standing]:
        decisions.undo(who, int(event))


def judge_lines(
    published: Published, audit: Audit, verdicts: Mapping[int, Verdict], lines: Sequence[float | None]
) -> list[Judgement]:
    """What the verdicts say of each of some lines (kept ⇔ score ≥ line).

    Args:
        published: the audit's run.
        verdicts: verdict by sample, all of samples that the audit drew.
        lines: scores, in any order; of a rule that is no line, only None: the rule itself.

    Raises:
        MimicError: another line than the rule's own is asked for, where there is no score to draw it on.
    """
    if audit.signal is None:
        if any(line is not None for line in lines):
            raise MimicError(f"audit {audit.name!r} is of a rule that is no line on one signal: leave out other lines")
        sides = [_piece(zone, verdicts) for zone in audit.zones]
        return [judge_pieces(sides[:1], sides[1:]) for _ in lines]
    scores = [line for line in lines if line is not None]
    zones = _zones(published, audit.signal, audit.zones, verdicts)
    below = _below(published, audit.signal, audit.zones, scores)
    return [judge(zones, counts, line) for counts, line in zip(below, scores, strict=True)]


def curve(published: Published, audit: Audit, verdicts: Mapping[int, Verdict], steps: int = 33) -> pd.DataFrame:
    """What the verdicts say of lines all over the score, spaced by rank, upwards.

    Returns:
        Columns line, dropped (share of scored samples below it, about), then precision, precision_low, precision_high,
        recall, recall_low and recall_high.
    """
    if audit.signal is None:
        raise MimicError(
            f"audit {audit.name!r} is of a rule that is no line on one signal, so there are no other lines"
        )
    edges, shares = cumulative(published, audit.signal)
    dropped = np.linspace(0.02, 0.98, steps)
    lines = np.interp(dropped, shares, edges).tolist()
    rows = []
    for line, share, found in zip(lines, dropped, judge_lines(published, audit, verdicts, lines), strict=True):
        row = {"line": line, "dropped": share}
        for name, interval in (("precision", found.precision), ("recall", found.recall)):
            row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
        rows.append(row)
    return pd.DataFrame(rows)


def to_judge(published: Published, audit: Audit) -> pd.DataFrame:
    """What people are handed: columns id, path, label, verdict (empty), in an order that tells nothing of the score."""
    rows = rows_of(published, audit.samples)
    return rows[["id", "path", "label"]].assign(verdict="")


def read_verdicts(path: Path, published: Published, audit: Audit) -> dict[int, Verdict]:
    """Verdicts from a CSV with columns id and verdict: good, bad, unsure, or nothing where nobody looked yet.

    Raises:
        MimicError: no such file or columns; another word; an id that the audit did not draw; no verdict at all.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MimicError(f"{path} cannot be read as CSV ({error}): give the file with the verdicts") from None
    if not rows or not {"id", "verdict"} <= rows[0].keys():
        raise MimicError(f"{path} needs the columns id and verdict, and a row a sample")
    drawn = rows_of(published, audit.samples)
    samples = {name: int(number) for number, name in zip(drawn["sample"], drawn["id"], strict=True)}
    verdicts: dict[int, Verdict] = {}
    for number, row in enumerate(rows, 2):
        word = (row["verdict"] or "").strip().lower()
        sample = samples.get(original(row["id"]))
        if sample is None:
            raise MimicError(
                f"row {number} of {path} has the id {row['id']!r}, which audit {audit.name} did not draw: "
                "only a random draw can be judged, so fill in the file that `mimic audit --draw` wrote"
            )
        if word and word not in ("good", "bad", "unsure"):
            raise MimicError(f"row {number} of {path} says {row['verdict']!r}: a verdict is good, bad, unsure or empty")
        if word:
            verdicts[sample] = word  # type: ignore[assignment]
    if not verdicts:
        raise MimicError(f"no verdict is filled in in {path}: write good, bad or unsure in its column verdict")
    return verdicts


def _piece(zone: Zone, verdicts: Mapping[int, Verdict]) -> Piece:
    said = [verdicts[sample] for sample in zone.samples if sample in verdicts]
    return Piece(zone.size, len(said), said.count("bad"), said.count("unsure"))


def _zones(
    published: Published, signal: str, drawn: Sequence[Zone], verdicts: Mapping[int, Verdict]
) -> list[ZoneVerdicts]:
    zones = []
    for zone in drawn:
        sure = [sample for sample in zone.samples if verdicts.get(sample, "unsure") != "unsure"]
        unsure = [sample for sample in zone.samples if verdicts.get(sample) == "unsure"]
        bad = np.array([verdicts[sample] == "bad" for sample in sure], dtype=np.bool_)
        scores = scores_of(published, signal, [*sure, *unsure])
        zones.append(ZoneVerdicts(zone.size, scores[: len(sure)], bad, scores[len(sure) :]))
    return zones


def _below(published: Published, signal: str, zones: Sequence[Zone], lines: Sequence[float]) -> list[list[int]]:
    """For each line, how many samples of each zone score below it, exactly."""
    spans = [zone.span for zone in zones]
    cut = sorted({-math.inf, *lines, *(high for _, high in spans)})
    counts = dict(zip(cut, np.cumsum([0, *counts_between(published, signal, cut)]).tolist(), strict=True))
    return [[counts[min(max(line, low), high)] - counts[low] for low, high in spans] for line in lines]
