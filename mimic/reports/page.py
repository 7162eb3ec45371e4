"""A run as one HTML file: opens without a server or a network, and can be attached to a pull request.

Plotly's script is inside, nothing is loaded from elsewhere, and a policy in the file's head forbids it. Whatever people
called their data, classes and signals is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from mimic.data import NOUN
from mimic.errors import MimicError
from mimic.evaluation import bands
from mimic.evaluation.advice import advise
from mimic.evaluation.assess import Assessed, assess
from mimic.evaluation.evidence import evidence_of, sources
from mimic.evaluation.retraining import best, curves
from mimic.evaluation.truth import judge
from mimic.files import replacing
from mimic.reports import evaluate_figures, figures, text
from mimic.reports.palette import LIGHT
from mimic.workspace.layout import Dataset, Run, Workspace
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.histogram import histogram
from mimic.workspace.queries.summary import failure_reasons, signal_summary
from mimic.workspace.retrains import retrains

_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1C2130; max-width: 1000px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
table { border-collapse: collapse; font-size: .85rem; display: block; overflow-x: auto }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #E4E8EF; text-align: left }
.note { color: #5B6577; font-size: .9rem } .advice { border-left: 4px solid #00805C; padding: .2rem 1rem }
"""


def write_report(workspace: Workspace, run: Run, path: Path) -> Path:
    """Write a run's report.

    Raises:
        MimicError: the run is not published, or the file cannot be written.
    """
    page = report(workspace, run)
    try:
        with replacing(path) as temporary:
            temporary.write_text(page, encoding="utf-8")
    except OSError as error:
        raise MimicError(f"{path} cannot be written ({error.strerror}): choose another --out") from None
    return path


def report(workspace: Workspace, run: Run) -> str:
    """The same as text."""
    dataset = workspace.dataset(run.dataset)
    published = Published.of(run, dataset)
    parts = [*_head(run, dataset, published), *_advice(workspace, run, published), *_check(run)]
    parts += [*_detection(workspace, dataset, published), *_retraining(workspace, dataset)]
    parts += [*_quality(workspace, dataset, published), *_signals(published)]
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{_text(run.id)}</title><style>{_STYLE}</style>"
        f"<script>{get_plotlyjs()}</script></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _head(run: Run, dataset: Dataset, published: Published) -> Iterator[str]:
    yield f"<h1>{_text(run.id)}</h1>"
    made = datetime.now(UTC).isoformat(timespec="minutes")
    facts = {
        "data set": f"{dataset.name}: {dataset.size:,} samples, {len(dataset.classes):,} classes",
        "scored": f"{published.scored:,}, not scored {published.not_scored:,}",
        "model": (run.facts.get("model") or {}).get("spec"),
        "reference": (run.facts.get("reference") or {}).get("name"),
        "scope": run.facts.get("scope"),
        "run": f"{run.facts['created']}, report {made}",
    }
    rows = [(name, value) for name, value in facts.items() if value]
    yield _table(pd.DataFrame(rows, columns=["", " "]))


def _advice(workspace: Workspace, run: Run, published: Published) -> Iterator[str]:
    given = advise(evidence_of(workspace, run, published))
    yield f"<h2>Advice</h2><p class='advice'>{_text(given.paragraph, 4000)}</p>"


def _check(run: Run) -> Iterator[str]:
    if run.check is None:
        return
    by = f"{run.check['verdict']}, by {text.count(run.check['samples'])} samples"
    yield f"<h2>Reference check: {_text(by)}</h2><p>{_text(run.check['sentence'], 1000)}</p>"
    shares = [
        ("reference", run.check["reference_agreement"], "reference"),
        ("start", run.check["start_agreement"], "neutral"),
    ]
    if run.check["majority_agreement"] is not None:
        shares.append(("commonest class", run.check["majority_agreement"], "faint"))
    yield _figure(figures.agreement_bars(shares, LIGHT))


def _detection(workspace: Workspace, dataset: Dataset, published: Published) -> Iterator[str]:
    for source in sources(workspace, dataset):
        try:
            judged = judge(workspace, [published.run], source)
            found = judged.found()
        except MimicError:
            continue  # too few verdicts of one kind
        table = bands.table(found)
        yield f"<h2>Does it find the wrong {NOUN[published.task]}s?</h2>"
        names = list(table["signal"])[: evaluate_figures.MOST_CURVES]
        for kind in ("roc", "pr"):
            lines = {name: getattr(found[name], kind) for name in names}
            yield _figure(figures.drawn(evaluate_figures.curves(lines, LIGHT, kind), LIGHT))
        shown: dict[str, object] = {"signal": table["signal"]}
        for name in bands.FIGURES:
            ends = zip(table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True)
            shown[name.replace("_", " ")] = [text.estimated(*each) for each in ends]
        yield _table(pd.DataFrame(shown))
        yield _note(
            f"By {judged.known.source}: {len(judged.known.wrong):,} samples, {int(judged.known.wrong.sum()):,} of them"
            " wrong. Signals drop as many as are wrong. 95% bands and intervals."
        )
        return


def _retraining(workspace: Workspace, dataset: Dataset) -> Iterator[str]:
    finished = next((one for one in retrains(workspace, dataset.name) if one.state == "finished"), None)
    if finished is None:
        return
    table = curves(finished.fits())
    top = best(table)
    gains = table[table["arm"] == "kept"].groupby("filter")["gain"].max().sort_values(ascending=False)
    yield "<h2>Does a model get better by it?</h2>"
    drawing = evaluate_figures.retraining(table, LIGHT, list(gains.index[:4]), finished.outcome)
    yield _figure(figures.drawn(drawing, LIGHT))
    if top is not None:
        yield f"<p>{_text(top.sentence, 1000)}</p>"
    facts = finished.facts
    yield _note(
        f"{facts['fits']:,} fits, {facts['seeds']} seeds, tested on {facts['test']:,} samples of split"
        f" {facts['test_split']}. Bars: one standard error, over seeds and test samples."
    )


def _quality(workspace: Workspace, dataset: Dataset, published: Published) -> Iterator[str]:
    try:
        found: Assessed = assess(workspace, dataset, published.run)
    except MimicError:
        return
    share = found.quality
    truth = "" if found.true is None else f" In truth {found.true:.1%}."
    yield "<h2>How good is the data?</h2>"
    interval = f"{share.low:.1%} to {share.high:.1%}, estimated"
    yield f"<p>{share.share:.1%} of the {NOUN[published.task]}s are right ({interval}).{truth}</p>"
    parts = found.by_class()
    if not parts.empty:
        yield _figure(figures.drawn(evaluate_figures.shares(parts, LIGHT), LIGHT))
    yield _note(share.note)


def _signals(published: Published) -> Iterator[str]:
    yield "<h2>Signals</h2>"
    yield _figure(figures.histogram(histogram(published, published.main), LIGHT, published.main))
    yield _table(signal_summary(published))
    if published.not_scored:
        yield "<h2>Not scored</h2>"
        yield _table(failure_reasons(published))


def _figure(figure: go.Figure) -> str:
    figure.update_layout(font={"family": "system-ui, sans-serif"})
    config = {**figures.CONFIG, "staticPlot": False}
    drawn: str = figure.to_html(full_html=False, include_plotlyjs=False, config=config)
    return drawn


def _table(frame: pd.DataFrame) -> str:
    head = "".join(f"<th>{_text(str(name))}</th>" for name in frame.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{_text(_cell(cell))}</td>' for cell in row)}</tr>" for row in frame.itertuples(index=False)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cell(value: object) -> str:
    return text.score(float(value)) if isinstance(value, (float, np.floating)) else str(value)


def _note(words: str) -> str:
    return f"<p class='note'>{_text(words, 1000)}</p>"


def _text(words: object, longest: int = 200) -> str:
    return html.escape(text.plain(str(words), longest))
