"""A few processes killed at random moments lose nothing; the benchmark kills a hundred of each kind."""

from benchmarks.faults_soak import lost, soak, temporary


def test_nothing_is_lost(tmp_path):
    table = soak(2, 1, tmp_path).set_index("operation")
    assert table.index.tolist() == ["import", "score", "publish", "export", "review"]
    assert (table["tried"] == 2).all()
    assert (table["survived"] == 2).all(), table
    assert (table[["lost_rows", "left_files"]] == 0).all(axis=None)
    assert list(tmp_path.iterdir()) == [tmp_path / "drawn"]


def test_what_is_missing_is_counted(tmp_path):
    whole = {"scores": ["a", "b", "c"], "failures": []}
    assert lost(whole, whole) == 0
    assert lost(whole, {"scores": ["a", "c"], "failures": []}) == 1
    assert lost(whole, {"scores": ["b", "a", "c"], "failures": []}) == 1  # another order
    assert lost(whole, {"failures": []}) == 3
    (tmp_path / "a").mkdir()
    (tmp_path / "a/.scores.duckdb.host-1-0.tmp").touch()
    assert temporary(tmp_path) == 1
