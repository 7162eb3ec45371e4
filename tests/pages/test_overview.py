"""Overview, alone: a published run, nothing yet, and runs in every other state."""

from benchmarks import synthetic
from mimic.workspace.layout import Workspace
from mimic.workspace.publish import publish, write_part
from tests.pages.conftest import CLASSES, SHARD, metrics, words


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
    assert "going" in app.selectbox(key="state: run").options
    assert len(going.shards) == -(-1500 // SHARD)
    assert metrics(app)["Scored"] == f"{running.run('going').counts['scored']:,}"
