"""Imported columns against the same join in Python, and one sentence for every file that does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mimic.data import Sample
from mimic.errors import MimicError
from mimic.runs.columns import import_column
from mimic.workspace.columns import KNOWN, find_column
from mimic.workspace.datasets import Source, create_dataset
from mimic.workspace.layout import Dataset, Workspace
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.summary import failure_reasons, signal_summary

N = 50
IDS = [f"{i:03}" for i in range(N)]  # digits with leading zeros: no number


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "w")


@pytest.fixture
def dataset(workspace: Workspace) -> Dataset:
    samples = (Sample(i, name, f"{name}.png", "cat" if i % 2 else "dog") for i, name in enumerate(IDS))
    return create_dataset(workspace, "d", samples, ["cat", "dog"], Source("manifest", Path("x")), workspace.path)


def write(path: Path, frame: pd.DataFrame) -> Path:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        types = [(name, "U8" if name == "uid" else "f8") for name in frame.columns]
        np.save(path, np.array([tuple(row) for row in frame.itertuples(index=False)], dtype=types))
    return path


def read(run_file: Path, column: str) -> dict[int, float | None]:
    import duckdb

    with duckdb.connect(str(run_file), read_only=True) as connection:
        return dict(connection.execute(f'SELECT sample, "{column}" FROM scores').fetchall())


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
@pytest.mark.parametrize("negate", [False, True])
def test_matched_unmatched_duplicates_and_missing(workspace, dataset, tmp_path, suffix, negate):
    rng = np.random.default_rng(0)
    ids = [*IDS[5:], "elsewhere", IDS[7], IDS[7]]
    values = rng.normal(size=len(ids))
    values[0], values[1] = np.nan, np.inf
    path = write(tmp_path / f"file{suffix}", pd.DataFrame({"uid": ids, "quality": values}))
    run, matched = import_column(workspace, dataset, find_column(path, value="quality", negate=negate))
    assert (matched.rows, matched.matched, matched.unmatched) == (len(ids), N - 7, 1)
    assert (matched.duplicates, matched.not_numbers) == (2, 2)
    name = "neg_quality" if negate else "quality"
    assert run.signals == [name] == [run.main]
    expected: dict[int, float | None] = dict.fromkeys(range(N))
    for key, value in reversed(list(zip(ids, values, strict=True))):  # the first of an id is written last
        if key in IDS and np.isfinite(value):
            expected[IDS.index(key)] = float(np.float32(-value if negate else value))
    assert read(run.scores_file, name) == expected
    published = Published.of(run, dataset)
    assert (published.scored, published.not_scored) == (N - 7, 7)
    reasons = failure_reasons(published)
    assert dict(zip(reasons.reason, reasons.samples, strict=True)) == {"not in the file": 5, "no number in the file": 2}
    assert signal_summary(published).signal.tolist() == [name]


def test_the_same_file_again_is_the_same_run(workspace, dataset, tmp_path):
    path = write(tmp_path / "a.csv", pd.DataFrame({"id": IDS, "q": range(N)}))
    first, matched = import_column(workspace, dataset, find_column(path, value="q"))
    again, same = import_column(workspace, dataset, find_column(path, value="q"))
    assert (first.id, matched) == (again.id, same)
    assert len(workspace.runs()) == 1
    assert import_column(workspace, dataset, find_column(path, value="q", negate=True))[0].id != first.id


def test_an_array_is_in_the_order_of_the_data_set(workspace, dataset, tmp_path):
    np.save(tmp_path / "area.npy", np.arange(N)[::-1])
    run, matched = import_column(workspace, dataset, find_column(tmp_path / "area.npy"))
    assert read(run.scores_file, "area") == {i: float(N - 1 - i) for i in range(N)}
    assert matched.matched == N
    np.save(tmp_path / "short.npy", np.arange(N - 1))
    with pytest.raises(MimicError, match=r"holds 49 numbers and data set 'd' has 50 samples"):
        import_column(workspace, dataset, find_column(tmp_path / "short.npy"))
    assert len(workspace.runs()) == 1  # what failed leaves nothing


@pytest.mark.parametrize(("column", "signal"), [(name, known.signal) for name, known in KNOWN.items()])
def test_names_of_datacomp_and_laion_need_no_options(tmp_path, column, signal):
    path = write(tmp_path / "m.parquet", pd.DataFrame({"uid": IDS, "url": IDS, column.upper(): np.ones(N)}))
    found = find_column(path)
    assert (found.id, found.value, found.signal) == ("uid", column.upper(), signal)
    assert found.negate == signal.startswith("neg_")


def test_refusals(workspace, dataset, tmp_path):
    both = write(tmp_path / "both.csv", pd.DataFrame({"id": IDS, "similarity": 1, "punsafe": 0}))
    with pytest.raises(
        MimicError, match=r"several that could be meant \(similarity, punsafe\): say which with --value"
    ):
        find_column(both)
    with pytest.raises(MimicError, match="has no column 'x': it has id, similarity, punsafe"):
        find_column(both, value="x")
    with pytest.raises(MimicError, match="none of a known name: say which with --id"):
        find_column(write(tmp_path / "no.csv", pd.DataFrame({"a": IDS, "b": 1})))
    with pytest.raises(MimicError, match="there is no file"):
        find_column(tmp_path / "none.csv")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(MimicError, match="cannot be imported by its name"):
        find_column(tmp_path / "a.txt")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(MimicError, match="cannot be read"):
        find_column(tmp_path / "broken.parquet")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(MimicError, match="cannot be read as a NumPy array"):
        find_column(tmp_path / "objects.npy")
    other = write(tmp_path / "other.csv", pd.DataFrame({"id": ["a", "b"], "similarity": 1}))
    with pytest.raises(MimicError, match=r"gives no sample of data set 'd' a number: its ids look like '.' and"):
        import_column(workspace, dataset, find_column(other))
    assert workspace.runs() == []
