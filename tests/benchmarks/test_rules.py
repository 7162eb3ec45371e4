"""The benchmark of rules runs through on a small workspace, every step of it."""

from benchmarks import synthetic
from benchmarks.rules import RULES, measure
from mimic.workspace.layout import Workspace


def test_every_step_is_measured(tmp_path):
    workspace = Workspace(tmp_path)
    synthetic.build(workspace, 2000, classes=5, shard=1000, pictures=2)
    table = measure(workspace, 1)
    assert set(RULES) < set(table["step"])
    assert (table[["cold_ms", "warm_ms", "peak_mb"]] > 0).all().all()
