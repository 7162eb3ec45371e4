"""Train, alone: a published training, one that is going, one cut off, and none at all."""

# ruff: noqa: F811 (fixtures are imported by name)

import fcntl
import json
from pathlib import Path

import duckdb
import numpy as np
import pytest

from mimic.reports import text
from mimic.runs.config import ScoreConfig
from mimic.runs.importing import import_dataset
from mimic.runs.local import execute
from mimic.runs.manager import score
from mimic.runs.train.config import TrainConfig
from mimic.runs.train.manage import train
from mimic.workspace.layout import Run, Workspace
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.training import score_strips, visit_history
from tests.pages.conftest import handed, to_copy, words
from tests.runs.conftest import MODEL, Digits, digits, workspace  # noqa: F401


@pytest.fixture
def trained(workspace: Workspace, digits: Digits) -> tuple[Workspace, Run]:
    config = TrainConfig.checked(
        dataset="digits", model=MODEL, reference=digits.reference, start=digits.start, epochs=2, batch_size=50, lr=1e-3,
        compare="uniform",
    )  # fmt: skip
    return workspace, train(workspace, config)


def unpublished(run: Run, **progress: object) -> None:
    """The run as it was before its end."""
    facts = {key: value for key, value in run.facts.items() if key not in ("published", "models")}
    (run.folder / "run.json").write_text(json.dumps(facts))
    (run.folder / "progress.json").write_text(json.dumps({"kept": 540, "note": "epoch 2 of 2", "rate": 100} | progress))


def test_a_published_training(trained, open_page):
    workspace, run = trained
    app = open_page(workspace, "train")
    assert app.selectbox[-1].value == run.id
    said = words(app)
    for title in ("Accuracy", "Loss", "Mean Mimic Score", "Effective sample size", "Mimic Scores by epoch"):
        assert title in said
    results = app.dataframe[-1].value
    assert set(results["arm"]) == {"Grad-Mimic", "equal weights"}
    assert set(results["split"]) == {"train", "validation", "truth"}
    assert results.query("split == 'train'")["samples"].tolist() == [540, 540]
    assert any(str(run.folder / "model.safetensors") in block for block in to_copy(app))
    assert "caught up with its reference" not in said
    strips, shown = score_strips(Published.of(run, workspace.dataset(run.dataset))), handed(app, "mimic-plane")
    rows = np.array(shown["counts"]).reshape(2, -1)[::-1]  # upwards; the first epoch stands on top
    assert rows.sum(axis=1).tolist() == strips.groupby("epoch")["n"].sum().tolist()
    assert (shown["unit"], shown["middles"][1]) == ("visit", ["epoch 2", "epoch 1"])
    means = strips.groupby("epoch")["mean"].first()
    for at, (_, _, _, said) in zip((1, 0), shown["marks"], strict=True):
        assert said.startswith(f"epoch {at + 1}: mean {text.score(means[at], 3)}")


def test_a_link_to_a_training_that_is_not_there(trained, open_page):
    workspace, _ = trained
    app = open_page(workspace, "train", training="gone")
    assert "No training run" in app.warning[0].value


def test_it_says_that_the_reference_was_exhausted(trained, open_page):
    workspace, run = trained
    facts = run.facts | {"exhausted": {"step": 9, "mean": -0.25}}
    (run.folder / "run.json").write_text(json.dumps(facts))
    said = words(open_page(workspace, "train"))
    assert "over the steps up to 10" in said
    assert "it went on" in said


def test_a_training_that_is_going_and_one_that_was_cut_off(trained, open_page):
    workspace, run = trained
    unpublished(run, done=800)
    said = words(open_page(workspace, "train"))
    assert "interrupted: 540 of 2,160 visits" in said
    assert "takes it up again" in said
    with run.lock.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = words(open_page(workspace, "train"))
        assert "running: 800 of 2,160 visits" in said
        assert "100 visits/s" in said
        assert "epoch 2 of 2" in said
        assert "800 of 2,160" in words(open_page(workspace, "overview"))


def test_nothing_trained_yet_says_what_to_do(published, open_page, tmp_path: Path):
    app = open_page(published, "train")
    assert "No model has been trained on synthetic-1500 yet" in words(app).replace("\\", "")
    assert any("mimic train synthetic-1500" in block for block in to_copy(app))
    assert "mimic train NAME" in to_copy(open_page(Workspace(tmp_path), "train"))[0]


def test_another_data_set_s_trainings_are_no_trainings_of_this_one(trained, digits, open_page):
    workspace, _ = trained
    import_dataset(workspace, digits.manifest, "noisy")
    asked = ScoreConfig.checked(dataset="noisy", model=MODEL, reference=digits.reference, start=digits.start, limit=64)
    score(workspace, asked, "cpu", 1, execute)
    app = open_page(workspace, "train", dataset="noisy")
    said = words(app)
    assert "No model has been trained on noisy yet" in said
    assert "Mean Mimic Score" not in said
    (command,) = to_copy(app)
    assert command.startswith(
        f"mimic train noisy --model {MODEL} --reference {digits.reference} --start {digits.start}"
    )
    assert "Trainings on digits" in [link.proto.label for link in app.get("page_link")]


def test_one_sample_s_visits(trained, open_page):
    workspace, run = trained
    with duckdb.connect(run.scores_file, read_only=True) as connection:
        ((sample,),) = connection.execute("SELECT min(sample) FROM visits").fetchall()
    assert "over its visits" in words(open_page(workspace, "sample", run=run.id, sample=sample))


def test_runs_without_visits_have_no_history(published):
    run = published.run("synthetic-1500")
    assert visit_history(Published.of(run, published.dataset(run.dataset)), 3).empty
