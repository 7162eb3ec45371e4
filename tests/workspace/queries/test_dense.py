"""Columns by sample number are what was published; what is remembered is given up when it grows too much."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mimic.data import Sample
from mimic.errors import MimicError
from mimic.files import write_json
from mimic.training.visits import run_tables, visits_schema, write_part
from mimic.workspace.datasets import Source, create_dataset
from mimic.workspace.layout import FORMAT, Workspace
from mimic.workspace.publish import publish
from mimic.workspace.queries import dense
from mimic.workspace.queries.dense import Dense


@pytest.fixture
def table(known):
    return Dense(known.workspace, known.workspace.dataset("d"))


def test_columns_labels_and_truth_lie_at_their_samples(known, table):
    np.testing.assert_array_equal(table.scores("first", "fine"), known.scores["fine"])
    np.testing.assert_array_equal(table.scores("second", "mimic"), known.second_scores["mimic"])
    codes, names = table.labels()
    assert [None if code < 0 else names[code] for code in codes] == known.labels.tolist()
    assert table.truth().wrong.tolist() == known.wrong.tolist()
    assert table.truth().known.tolist() == known.judged.tolist()
    assert table.inside(frozenset(["first", "second"])).all()
    for run, signal, said in (("third", "mimic", "no run 'third'"), ("first", "nope", "no signal 'nope'")):
        with pytest.raises(MimicError, match=said):
            table.scores(run, signal)


@pytest.mark.parametrize(("kept", "way"), [("_KEPT", "remembered"), ("_KEPT_BRIEFLY", "remembered_briefly")])
def test_what_is_too_much_is_forgotten_and_worked_out_again(table, monkeypatch, kept, way):
    monkeypatch.setattr(getattr(dense, kept), "most", 3 * table.scores("first", "fine").nbytes)
    made = []

    def make(name):
        made.append(name)
        return np.zeros(table.size, np.float32)

    for name in ("a", "b", "a", "c", "d", "a", "b"):
        getattr(table, way)(frozenset(["first"]), name, lambda name=name: make(name))
    assert made == ["a", "b", "c", "d", "b"]


def test_a_run_published_anew_is_read_anew(known, table):
    first = table.remembered(frozenset(["first"]), "what", lambda: 1)
    table._opened["first"] = known.second
    assert (first, table.remembered(frozenset(["first"]), "what", lambda: 2)) == (1, 2)


@pytest.fixture
def trained(tmp_path):
    """A published training run of 40 of 50 samples, three visits each but for a few, as arrays too."""
    workspace = Workspace(tmp_path)
    samples = (Sample(i, f"id {i}", f"{i}.png", "cat") for i in range(50))
    dataset = create_dataset(workspace, "d", samples, ["cat"], Source("manifest", Path("x")), tmp_path)
    folder = workspace.runs_folder / "r"
    folder.mkdir(parents=True)
    facts = {"format": FORMAT, "run": "r", "kind": "train", "dataset": "d", "created": "now", "samples": 50}
    write_json(folder / "run.json", facts | {"main": "mimic_mean", "signals": ["mimic_mean"], "config": {}})
    rng = np.random.default_rng(0)
    seen = rng.permuted(np.tile(np.arange(40), (3, 1)), axis=1)
    measures = {name: np.full((3, 50), np.nan, np.float32) for name in ("score", "weight", "loss", "margin")}
    for visit in range(3):
        rows = seen[visit] if visit < 2 else seen[visit][:30]
        values = rng.normal(size=(4, len(rows))).astype(np.float32)
        counts = [np.full(len(rows), number, np.int32) for number in (visit, visit, 8)]
        write_part(
            folder, visit, pa.table([rows, *counts, *values], schema=visits_schema(pa.field("sample", pa.int64())))
        )
        for name, column in zip(measures, values, strict=True):
            measures[name][visit, rows] = column
    publish(workspace.run("r"), dataset, {}, run_tables)
    return Dense(workspace, dataset), measures


def test_visits_come_one_after_another(trained):
    table, measures = trained
    assert table.visits_of("r") == 3
    expected = {
        "score": measures["score"],
        "weight": 8 * measures["weight"],
        "margin": measures["margin"],
        "neg_loss": -measures["loss"],
    }
    for measure, values in expected.items():
        np.testing.assert_array_equal(np.stack(list(table.visits("r", measure))), values)
    assert table.inside(frozenset(["r"])).tolist() == [i < 40 for i in range(50)]
    assert table.truth() is None


def test_a_run_without_visits_says_so(table):
    assert table.visits_of("first") == 0
    with pytest.raises(MimicError, match="recorded no visits"):
        next(table.visits("first", "score"))
