"""Samples that benchmarks.synthetic adds in DuckDB are those that the import would have written."""

from benchmarks import synthetic
from mimic.workspace.files import reading
from mimic.workspace.layout import Workspace


def test_added_samples_equal_imported_ones(tmp_path):
    tables = []
    for imported in (100, 900):
        workspace = Workspace(tmp_path / str(imported))
        run = synthetic.build(workspace, 900, classes=7, shard=130, pictures=20, imported=imported)
        dataset = workspace.dataset(run.dataset)
        assert (dataset.size, dataset.splits, run.counts["scored"] > 800) == (900, {"train": 900}, True)
        with reading(dataset.samples_file) as connection:
            names = connection.execute("FROM classes").fetchall()
            tables.append((connection.execute("SELECT rowid, * FROM samples").fetchall(), names))
    assert tables[0] == tables[1]
