"""The published tables say what the parts said: sorted, binned, with NULL where a part has NaN."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimic.data import Sample
from mimic.files import write_json
from mimic.workspace.datasets import Source, create_dataset
from mimic.workspace.layout import FORMAT, Dataset, Run, Workspace
from mimic.workspace.publish import BINS, bin_of, part_schema, publish, read_parts, write_part

COUNT = 1000
SIGNALS = ["mimic", "constant", "never", "two"]


def values() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    mimic = rng.standard_t(1.5, COUNT).round(2).astype(np.float32)  # heavy tails and ties
    mimic[rng.random(COUNT) < 0.1] = np.nan
    two = np.where(np.arange(COUNT) < 2, 5.0, 1.0).astype(np.float32)  # both quantiles fall together
    return {"mimic": mimic, "constant": np.ones_like(mimic), "never": np.full_like(mimic, np.nan), "two": two}


@pytest.fixture(scope="module", params=[300, COUNT], ids=["four parts", "one part"])
def published(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[Run, Dataset]:
    workspace = Workspace(tmp_path_factory.mktemp("it's"))
    samples = (Sample(i, f"id{i}", f"{i}.png", None if i % 10 == 9 else "abc"[i % 3]) for i in range(COUNT))
    dataset = create_dataset(workspace, "d", samples, list("abc"), Source("folder", Path("x")), workspace.path)
    folder = workspace.runs_folder / "r"
    folder.mkdir(parents=True)
    facts = {"format": FORMAT, "run": "r", "dataset": "d", "created": "now", "samples": COUNT, "main": "mimic"}
    facts |= {
        "shards": {"count": -(-COUNT // request.param), "size": request.param},
        "signals": SIGNALS,
        "outputs": list("abcd"),
        "config": {"k": [1]},
    }
    write_json(folder / "run.json", facts | {"error": "an earlier attempt failed"})
    run = workspace.run("r")
    columns = values()
    for shard in run.shards:
        rows = np.arange(shard.first, shard.last)
        code = pa.array(rows % 4, pa.int32())
        logprob = pa.array(-rows, pa.float32())
        reasons = pa.array([None if np.isfinite(columns["mimic"][i]) else f"no {i}" for i in rows], pa.string())
        agrees = pa.array(rows % 2 == 0)
        scores = [columns[signal][rows] for signal in SIGNALS]
        predictions = [code, code, pa.nulls(len(rows), pa.int32()), logprob, logprob, logprob]
        table = pa.table(
            [pa.array(rows, pa.int32()), *scores, *predictions, agrees, agrees, reasons], schema=part_schema(SIGNALS)
        )
        write_part(run, shard, table)
    return publish(run, dataset, {"seconds": 2.5}), dataset


def query(run: Run, sql: str) -> pd.DataFrame:
    assert run.scores_file is not None
    with duckdb.connect(run.scores_file, read_only=True) as connection:
        return connection.sql(sql).df()


def test_scores_are_sorted_with_null_for_nan(published: tuple[Run, Dataset]) -> None:
    scores = query(published[0], "SELECT * FROM scores")
    expected = pd.DataFrame({"sample": np.arange(COUNT, dtype=np.int32)} | values())
    expected = expected.sort_values(["mimic", "sample"], na_position="last", ignore_index=True)
    pd.testing.assert_frame_equal(scores, expected)
    bad = int(np.isnan(values()["mimic"]).sum())
    assert query(published[0], "SELECT count(*) - count(mimic) AS n FROM scores")["n"][0] == bad
    assert published[0].counts == {"scored": COUNT - bad, "not_scored": bad}


def test_bins_hold_every_value_of_every_class_once(published: tuple[Run, Dataset]) -> None:
    run, dataset = published
    bins = query(run, "SELECT * FROM bins ORDER BY signal, bin, label")
    labels = np.where(np.arange(COUNT) % 10 == 9, np.nan, np.arange(COUNT) % 3)
    assert bins.groupby("signal")["bin"].max().max() < BINS
    for signal, column in values().items():
        mine = bins[bins["signal"] == signal]
        assert mine["n"].sum() == np.isfinite(column).sum()
        last = mine["high"].max()
        for row in mine.itertuples():
            inside = (column >= row.low) & ((column < row.high) | ((row.high == last) & (column == last)))
            same = np.isnan(labels) if pd.isna(row.label) else labels == row.label
            assert row.n == (inside & same).sum()
            assert row.below == (column < row.low).sum()
    assert set(bins["signal"]) == {"mimic", "constant", "two"}
    assert dataset.classes == list("abc")


def test_predictions_failures_and_run(published: tuple[Run, Dataset]) -> None:
    run, _ = published
    predictions = query(run, "SELECT * FROM predictions")
    assert len(predictions) == 2 * COUNT  # the third is null
    assert predictions["label"].tolist() == [label for i in range(COUNT) for label in ["abcd"[i % 4]] * 2]
    failures = query(run, "SELECT * FROM failures")
    bad = np.flatnonzero(np.isnan(values()["mimic"]))
    assert failures["sample"].tolist() == bad.tolist()
    assert failures["id"].tolist() == [f"id{i}" for i in bad]
    assert failures["reason"].tolist() == [f"no {i}" for i in bad]
    told = {key: json.loads(value) for key, value in query(run, "SELECT * FROM run").itertuples(index=False)}
    assert told["seconds"] == 2.5
    assert told["config.k"] == [1]
    assert told["counts.not_scored"] == len(bad)
    assert "error" not in told
    assert json.loads((run.folder / "run.json").read_text())["published"] == "scores.duckdb"
    assert sorted(entry.name for entry in run.folder.iterdir()) == [
        "events.jsonl",
        "parts",
        "run.json",
        "scores.duckdb",
    ]


def test_parts_read_back_in_order(published: tuple[Run, Dataset]) -> None:
    table = read_parts(published[0], ["sample", "start_agrees"])
    assert table["sample"].to_pylist() == list(range(COUNT))


def test_publishing_again_while_somebody_reads(published: tuple[Run, Dataset]) -> None:
    run, dataset = published
    assert run.scores_file is not None
    with duckdb.connect(run.scores_file, read_only=True) as reader:
        before = reader.execute("SELECT sum(sample) FROM scores").fetchall()
        publish(run, dataset, {})
        assert reader.execute("SELECT sum(sample) FROM scores").fetchall() == before


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=20, unique=True),
    st.lists(st.integers(0, 1000), min_size=1),
)
def test_bin_of_agrees_with_its_definition(edges: list[float], picks: list[int]) -> None:
    ordered = np.sort(np.array(edges, dtype=np.float64))
    # Values in between and on the edges themselves.
    inside = np.interp(np.array(picks) / 1000, np.linspace(0, 1, len(ordered)), ordered).astype(np.float32)
    tested = np.concatenate([inside, ordered.astype(np.float32)])
    for value, place in zip(tested, bin_of(ordered, tested), strict=True):
        last = place == len(ordered) - 2
        assert ordered[place] <= value
        assert value < ordered[place + 1] or (last and value == ordered[place + 1])
