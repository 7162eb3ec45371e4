"""Overview, alone: a published run, nothing yet, and runs in every other state."""

# ruff: noqa: F811 (fixtures are imported by name)

from benchmarks import synthetic
from mimic.evaluation.advice import advise
from mimic.evaluation.evidence import evidence_of
from mimic.evaluation.verdicts import record
from mimic.runs.manager import score
from mimic.workspace.audits import begin_audit
from mimic.workspace.decisions import Decisions
from mimic.workspace.filters import save_filter
from mimic.workspace.layout import Workspace
from mimic.workspace.publish import publish, write_part
from mimic.workspace.queries.connection import Published
from tests.pages.conftest import CLASSES, SHARD, metrics, words
from tests.runs.conftest import digits, workspace  # noqa: F401


def unfold(app, label):
    """Open a part that is closed at first."""
    app.session_state[label] = True
    return app.run()


def test_a_published_run_at_a_glance(published, open_page):
    app = open_page(published, "overview", run="synthetic-1500")
    shown = metrics(app)
    counts = published.run("synthetic-1500").counts
    assert (shown["Samples"], shown["Classes"]) == ("1,500", "5")
    assert shown["Scored"] == f"{counts['scored']:,}"
    assert shown["Not scored"] == str(counts["not_scored"])
    check = published.run("synthetic-1500").check
    assert check["verdict"] in next(badge.value for badge in app.markdown if "badge" in badge.value)
    assert check["sentence"].split(":")[0] in words(app)
    signals, *_, runs = app.dataframe
    assert signals.value["Signal"].tolist() == list(synthetic.SIGNALS)
    assert set(runs.value["Run"]) == {"synthetic-1500", "other"}
    assert set(runs.value["State"]) == {"published"}


def test_it_says_which_signal_finds_faults_best(published, open_page):
    said = words(open_page(published, "overview", run="synthetic-1500"))
    assert "find the wrong labels" in said or "finds the wrong labels" in said
    assert "No score has seen them" in said


def test_an_empty_workspace_says_what_to_do(tmp_path, open_page):
    app = open_page(Workspace(tmp_path), "overview")
    assert "This workspace is empty" in words(app)
    assert f"mimic demo --workspace {tmp_path}" in words(app)
    assert "mimic score NAME" in words(app)


def test_runs_that_are_not_published(running, open_page):
    app = open_page(running, "overview")
    said = words(app)
    for state in ("running", "failed", "interrupted"):
        assert state in said
    assert "800 of 1,500" in said
    assert "400 of 1,500" in said
    assert "no head \\*fits\\* the checkpoint" in said  # somebody's words stay words
    assert app.dataframe[-1].value.set_index("Run")["State"].to_dict()["going"] == "running"


def test_before_the_first_run_is_published(running, open_page):
    for name in ("synthetic-1500", "other"):
        (running.runs_folder / name / "run.json").unlink()
    app = open_page(running, "overview")
    assert "No run is published yet" in words(app)
    assert "800 of 1,500" in words(app)


def test_a_run_is_there_once_it_is_published(running, open_page):
    going = running.run("going")
    for shard in going.shards[2:]:
        write_part(going, shard, synthetic.part(shard, synthetic.draw(shard, CLASSES, 1), going.signals))
    publish(going, running.dataset("synthetic-1500"), {})
    app = open_page(running, "overview", run="going")
    assert app.selectbox(key="state: run").value == "going"
    assert len(going.shards) == -(-1500 // SHARD)
    assert metrics(app)["Scored"] == f"{running.run('going').counts['scored']:,}"


def test_another_run_is_started_from_here(workspace, digits, open_page):
    first = score(workspace, digits.config())
    app = unfold(open_page(workspace, "overview", run=first.id), "Start another run")
    next(box for box in app.selectbox if box.label == "Scope").set_value("last-weight")
    next(button for button in app.button if button.label == "Start").click().run()
    assert not app.exception
    assert app.session_state["started"].process.wait(120) == 0
    runs = workspace.runs()
    assert [runs[0].state, runs[0].config["scopes"]] == ["published", ["last-weight"]]


def test_a_known_truth_without_a_wrong_label_draws_no_empty_chart(tmp_path, monkeypatch, open_page):
    monkeypatch.setattr(synthetic, "WRONG", 0.0)
    workspace = Workspace(tmp_path)
    synthetic.build(workspace, 300, classes=3, pictures=5)
    said = words(open_page(workspace, "overview"))
    assert "no label among them is wrong" in said
    assert "Which signal finds the wrong labels" not in said


def test_a_run_is_deleted_after_asking(copy, open_page):
    rule = {"kind": "threshold", "run": "other", "signal": "mimic", "threshold": 0.0}
    save_filter(copy, "strict", "synthetic-1500", rule, {"kept": 1, "dropped": 1, "not_scored": 0})
    app = unfold(open_page(copy, "overview"), "Delete a run")
    app.selectbox(key="unwanted").set_value("other").run()
    app.button(key="delete").click().run()
    assert "filter strict" in words(app)
    assert len(copy.runs()) == 2
    app.button(key="delete for good").click().run()
    assert [run.id for run in copy.runs()] == ["synthetic-1500"]


def test_the_advice_leads_to_the_line_that_it_names(copy, open_page):
    dataset, run = copy.dataset("synthetic-1500"), copy.run("synthetic-1500")
    shown = Published.of(run, dataset)
    audit = begin_audit(copy, "strict", shown, "mimic", 0.0, (60, 60))
    said = {sample: "bad" if place % 3 else "good" for place, sample in enumerate(audit.samples)}
    record(Decisions(copy, dataset), shown, audit, said, "ann")
    given = advise(evidence_of(copy, run, shown))
    assert given.keep < 1
    open_page(copy, "evaluate", run=run.id)  # waits for the advice; from then on it is there at once
    app = open_page(copy, "overview", run=run.id)
    links = {link.proto.label: link.proto.query_string for link in app.get("page_link")}
    (label,) = [label for label in links if label.startswith("Try it")]
    assert given.signal in label
    keep = round(given.keep * run.counts["scored"])
    assert f"signal={given.signal}" in links[label]
    assert f"keep={keep}" in links[label]


def test_what_the_signals_mean_is_said_in_full(workspace, digits, open_page):
    run = score(workspace, digits.config())
    app = unfold(open_page(workspace, "overview", run=run.id), "What the signals mean")
    said = words(app).replace("\\", "").replace("\u2060", "")
    for name, meaning in run.facts["meanings"].items():
        assert name in said
        assert meaning in said
