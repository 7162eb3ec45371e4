"""Evaluate, alone: its numbers are those of the functions it calls, with and without truth, retraining, parts."""

from pathlib import Path

import numpy as np
import pytest

from mimic.data import Sample
from mimic.evaluation.advice import advise
from mimic.evaluation.assess import assess
from mimic.evaluation.detection import auroc
from mimic.evaluation.evidence import evidence_of, sources
from mimic.evaluation.truth import REVIEWS
from mimic.evaluation.verdicts import record
from mimic.runs import launch
from mimic.runs.retrain_fits import Fit
from mimic.workspace.audits import begin_audit
from mimic.workspace.datasets import Source, create_dataset
from mimic.workspace.decisions import Decisions, Subject
from mimic.workspace.layout import Workspace
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.rows import judged
from mimic.workspace.retrains import NEEDED, begin_retrain, retrains, write_fits
from tests.pages import captioned
from tests.pages.conftest import ROWS, metrics, words
from tests.runs.captioned import split_and_scored

RUN = f"synthetic-{ROWS}"
FACTS = {
    "kind": "retrain", "dataset": RUN, "created": "2026-01-01T00:00:00+00:00", "jobs": 2, "fits": 6, "seeds": 1,
    "samples": 100, "test": 50, "test_split": "test", "path": "features",
}  # fmt: skip


def published(workspace) -> Published:
    run = workspace.run(RUN)
    return Published.of(run, workspace.dataset(run.dataset))


def test_quality_and_advice_are_the_functions(published, open_page):
    app = open_page(published, "evaluate", run=RUN)
    run = published.run(RUN)
    found = assess(published, published.dataset(run.dataset), RUN)
    assert metrics(app)["Labels that are right"] == f"{100 * found.quality.share:.1f}%"
    assert f"In truth {100 * found.true:.1f}%" in words(app)
    given = advise(evidence_of(published, run, Published.of(run, published.dataset(run.dataset))))
    said = words(app).replace("\\", "").replace("\u2060", "")
    for sentence in given.sentences:
        assert sentence.text in said


def test_the_table_has_the_aurocs(published, open_page):
    app = open_page(published, "evaluate", run=RUN, against="mimic")
    table = app.dataframe[0].value.set_index("Signal")
    run = published.run(RUN)
    known = judged(Published.of(run, published.dataset(run.dataset)))
    scored = ~np.any([np.isnan(values) for values in known.signals.values()], axis=0)
    for name, values in known.signals.items():
        assert table.loc[name, "auroc"].startswith(f"{auroc(values[scored], known.wrong[scored]):.3f} (")
    assert table.loc["mimic", "AUROC against mimic"] == "–"


@pytest.mark.parametrize("by", ["class", "data set"])
def test_parts_can_be_chosen_in_the_address(published, open_page, by):
    app = open_page(published, "evaluate", run=RUN, by=by)
    assert app.selectbox(key="state: by").value == by


def test_a_retraining_is_shown_as_far_as_it_is(copy, open_page):
    assert "Nothing is retrained yet" in words(open_page(copy, "evaluate", run=RUN))
    made = begin_retrain(copy, "tried", FACTS)
    right = np.random.default_rng(0).random(50) < 0.9
    ones = np.ones(100, np.float32)
    rows = []
    for arm, name, budget in (("everything", "", 1.0), ("kept", "mimic", 0.8), ("random", "", 0.8)):
        fit = Fit(arm, name, budget, 0, ones)
        rows.append(
            {"arm": fit.arm, "filter": fit.filter, "budget": budget, "seed": 0, "kept": 80.0,
             "accuracy": float(right.mean()), "correct": right}
        )  # fmt: skip
    write_fits(made, 0, rows)
    app = open_page(copy, "evaluate", run=RUN)
    assert made.state == "interrupted"
    assert "No budget beats keeping everything" in words(app).replace("\\", "")
    assert app.multiselect(key="state: retrained").options == ["mimic"]


def test_a_retraining_is_started_from_the_page_and_shows(tmp_path, open_page):
    workspace = split_and_scored(tmp_path)
    app = open_page(workspace, "evaluate", dataset="pairs")
    refused = launch.start(workspace, ["evaluate", "retrain", "nobody"])
    assert refused.process.wait()
    app.session_state["retraining started other"] = refused
    app.run()
    assert not app.error  # it is not of this data set
    app.session_state["retraining started pairs"] = refused
    app.run()
    assert "nobody" in app.error[0].value
    next(button for button in app.button if button.label == "Retrain").click()
    app.run()
    assert not app.error
    assert app.session_state["retraining started pairs"].process.wait(120) == 0
    app = open_page(workspace, "evaluate", dataset="pairs")
    assert not app.exception
    (made,) = retrains(workspace, "pairs")
    assert made.state == "finished"
    assert "two matrices on frozen features" in words(app)
    assert app.multiselect(key="state: retrained").options
    assert "About 73% of the captions are right (73% to 73%, from those whose truth is known)" in words(app).replace(
        "\\", ""
    )
    advised = evidence_of(workspace, workspace.runs()[0], Published.of(workspace.runs()[0], workspace.dataset("pairs")))
    assert advised.best is not None


@pytest.mark.parametrize("wrong", [0, 1])
def test_a_column_that_knows_too_few_is_a_sentence(tmp_path, open_page, wrong):
    workspace = Workspace(tmp_path)
    samples = (Sample(i, f"s{i}", f"{i}.png", "ab"[i % 2], "ab"[(i % 2) ^ (i < wrong)]) for i in range(60))
    dataset = create_dataset(workspace, "plain", samples, ["a", "b"], Source("manifest", Path("x")), tmp_path)
    captioned.score(workspace, dataset, "plain-run")
    app = open_page(workspace, "evaluate", dataset="plain")
    assert not app.error
    assert not app.exception
    assert f"{wrong} wrong and {60 - wrong} right samples are known" in words(app).replace("\\", "")


@pytest.mark.parametrize("seen", [0, 1, 4])
def test_without_truth_the_ways_to_it_and_everything_else_are_shown(tmp_path, open_page, seen):
    workspace = Workspace(tmp_path)
    samples = (Sample(i, f"s{i}", f"{i}.png", "ab"[i % 2]) for i in range(60))
    dataset = create_dataset(workspace, "plain", samples, ["a", "b"], Source("manifest", Path("x")), tmp_path)
    captioned.score(workspace, dataset, "plain-run")
    decisions = Decisions(workspace, dataset)
    for sample in range(seen):
        decisions.record("ann", "drop" if sample % 2 else "keep", Subject(sample, f"s{sample}", None))
    app = open_page(workspace, "evaluate", dataset="plain")
    assert not app.error
    assert [box.value for box in app.subheader][-3:-1] == ["Does a model get better by it?", "How good is the data?"]
    assert "Labels that are right" in metrics(app)
    said = words(app).replace("\\", "")
    assert "No split is left to test a model on that no score has seen" in said
    run = workspace.run("plain-run")
    assert evidence_of(workspace, run, Published.of(run, dataset)).needed == NEEDED
    assert ("Nobody has said of any label yet" in said) == (seen == 0)
    assert ("0 wrong and 1 right samples are known" in said) == (seen == 1)
    assert ("4 samples, 2 of them wrong" in said) == (seen == 4)
    assert sources(workspace, dataset) == ([REVIEWS] if seen else [])


def test_an_audit_takes_over_where_there_is_no_reference_too(tmp_path):
    workspace = Workspace(tmp_path)
    samples = (Sample(i, f"s{i}", None, caption=f"text {i}") for i in range(200))
    source = Source("metadata", Path("x"))
    dataset = create_dataset(workspace, "plain", samples, [], source, tmp_path, task="captions")
    run = Published.of(captioned.score(workspace, dataset, "plain-run"), dataset)
    assert assess(workspace, dataset).quality.method == "mixture"
    audit = begin_audit(workspace, "strict", run, "mimic", 0.0, (30, 30))
    verdicts = {sample: "bad" if place % 4 == 0 else "good" for place, sample in enumerate(audit.samples)}
    record(Decisions(workspace, dataset), run, audit, verdicts, "ann")
    found = assess(workspace, dataset)
    assert found.quality.method == "audit"
    assert found.quality.low <= 0.75 <= found.quality.high
    assert found.without_audit.method == "mixture"


def test_the_overview_gives_the_same_advice_once_it_is_worked_out(copy, open_page):
    assert "Advice is being worked out" in words(open_page(copy, "overview", run=RUN))
    open_page(copy, "evaluate", run=RUN)  # waits for it
    run = copy.run(RUN)
    given = advise(evidence_of(copy, run, Published.of(run, copy.dataset(run.dataset))))
    said = words(open_page(copy, "overview", run=RUN)).replace("\\", "").replace("\u2060", "")
    assert given.sentences[0].text in said
