"""What a training run tells, against the same thing in pandas."""

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from mimic.data import Sample
from mimic.files import write_json
from mimic.training.recorder import Recorder, Visit
from mimic.training.visits import SIGNALS, run_tables
from mimic.workspace.datasets import Source, create_dataset
from mimic.workspace.layout import FORMAT, Workspace
from mimic.workspace.publish import publish
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.training import score_strips, true_codes, visit_history

torch = pytest.importorskip("torch")
EPOCHS, SIZE = 40, 30


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Published, pd.DataFrame]:
    """A published run of made-up visits, and the visits; sample 3 could not be read, and one score is no number."""
    workspace = Workspace(tmp_path)
    samples = (
        Sample(i, f"id{i}", f"{i}.png", "ab"[i % 2], truth=None if i == 4 else "ab"[i // 2 % 2]) for i in range(SIZE)
    )
    dataset = create_dataset(workspace, "d", samples, list("ab"), Source("folder", tmp_path), tmp_path)
    folder = workspace.runs_folder / "r"
    folder.mkdir(parents=True)
    facts = {"format": FORMAT, "run": "r", "dataset": "d", "created": "now", "samples": SIZE, "kind": "train"}
    write_json(folder / "run.json", facts | {"main": "mimic_mean", "signals": list(SIGNALS), "config": {}})
    generator = torch.Generator().manual_seed(0)
    recorder = Recorder(folder, {})
    rows, numbers = [], torch.tensor([i for i in range(SIZE) if i != 3])
    for epoch in range(EPOCHS):
        for batch in numbers[torch.randperm(len(numbers), generator=generator)].split(10):
            scores = torch.randn(len(batch), generator=generator) + epoch / 10
            if epoch == 1:
                scores[0] = float("nan")
            weights = torch.softmax(scores.nan_to_num(), 0)
            recorder.add(Visit(len(rows), epoch, batch, scores, weights, scores**2))
            rows.append(
                pd.DataFrame({"sample": batch, "epoch": epoch, "score": scores, "weight": weights * len(batch)})
            )
    recorder.close()
    run = publish(workspace.run("r"), dataset, {}, lambda c, run: run_tables(c, run, {3: "broken"}))
    return Published.of(run, dataset), pd.concat(rows)


def test_strips_are_the_scores_of_some_epochs(trained) -> None:
    published, visits = trained
    found = score_strips(published, epochs=5, cells=20)
    assert found["epoch"].unique().tolist() == [0, 10, 20, 29, 39]
    for epoch, mine in found.groupby("epoch"):
        scores = visits.loc[visits["epoch"] == epoch, "score"].dropna()
        assert mine["n"].sum() == mine["visits"].iloc[0] == len(scores)
        assert mine["mean"].iloc[0] == pytest.approx(scores.mean(), rel=1e-5)
        assert mine["positive"].iloc[0] == pytest.approx((scores > 0).mean())
        inner = mine[(mine["cell"] > 0) & (mine["cell"] < 19)]
        for _, cell in inner.iterrows():
            assert cell["n"] == ((scores >= cell["low"]) & (scores < cell["high"])).sum()


def test_a_sample_s_history_is_its_visits(trained) -> None:
    published, visits = trained
    found = visit_history(published, 7)
    expected = visits[visits["sample"] == 7]
    assert found["epoch"].tolist() == list(range(EPOCHS))
    np.testing.assert_allclose(found["score"].astype(float), expected["score"], rtol=1e-6)
    np.testing.assert_allclose(found["weight"], expected["weight"], rtol=1e-5)
    assert visit_history(published, 3).empty


def test_samples_that_failed_are_there_without_a_score(trained) -> None:
    published, _ = trained
    assert (published.scored, published.not_scored) == (SIZE - 1, 1)
    with duckdb.connect(published.scores_file, read_only=True) as connection:
        rows = connection.execute("SELECT sample, mimic_mean FROM scores").fetchall()
        assert connection.execute("SELECT sample, id, path, reason FROM failures").fetchall() == [
            (3, "id3", "3.png", "broken")
        ]
    assert rows[-1] == (3, None)
    assert [value for _, value in rows[:-1]] == sorted(value for _, value in rows[:-1])


def test_true_codes_are_those_of_the_truth(trained, tmp_path: Path) -> None:
    dataset = Workspace(tmp_path).dataset("d")
    numbers = np.array([0, 2, 3, 4, 9], np.int32)
    assert true_codes(dataset, numbers).tolist() == [0, 1, 1, -1, 0]
