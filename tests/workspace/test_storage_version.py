"""A published file is read by the oldest DuckDB that is supported: every row, the same."""

import subprocess
import sys

import duckdb
import pytest

from benchmarks import synthetic
from mimic.workspace.layout import Workspace

OLDEST = "1.5"
READ = """
import sys
import duckdb
print(duckdb.__version__)
for path in sys.argv[1:]:
    connection = duckdb.connect(path, read_only=True)
    for (name,) in sorted(connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()):
        print(name, connection.execute(f"SELECT * FROM {name}").fetchall())
"""


@pytest.mark.slow  # fetches a wheel
def test_the_oldest_duckdb_reads_what_the_newest_has_written(tmp_path):
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target", site]
    fetched = subprocess.run([*pip, f"duckdb=={OLDEST}.*"], capture_output=True, text=True, timeout=120, check=False)
    if fetched.returncode:
        pytest.skip(f"no wheel of DuckDB {OLDEST} can be had here: {fetched.stderr.strip().splitlines()[-1]}")
    workspace = Workspace(tmp_path / "workspace")
    run = synthetic.build(workspace, 3000, classes=5, pictures=2)
    files = [run.scores_file, workspace.dataset(run.dataset).samples_file]
    told = []
    for environment in ({"PYTHONPATH": str(site)}, {}):
        command = [sys.executable, "-c", READ, *map(str, files)]
        told.append(subprocess.check_output(command, cwd=tmp_path, env=environment, text=True).splitlines())
    assert told[0][0].startswith(f"{OLDEST}.")
    assert told[1][0] == duckdb.__version__ != told[0][0]
    assert told[0][1:] == told[1][1:]
    assert {line.split()[0] for line in told[0]} >= {"scores", "bins", "predictions", "failures", "run", "samples"}
