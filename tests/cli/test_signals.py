"""Adding, importing and comparing signals, as people meet it."""

# ruff: noqa: F811 (fixtures are imported by name)

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from mimic.runs import manager
from mimic.runs.further import PACKAGES
from mimic.workspace.layout import Workspace
from tests.runs.conftest import Digits, digits, workspace  # noqa: F401
from tests.test_cli import Command, mimic  # noqa: F401


def test_add_import_and_compare(
    mimic: Command, digits: Digits, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    base = manager.score(workspace, digits.config())
    code, out, err = mimic("signal", "add", base.id, "--signals", "knn, sharpness")
    assert (code, "600 scored, 0 not scored" in out, "600 of 600 (100%)" in err) == (0, True, True)
    run = workspace.runs()[0]
    assert run.signals == [*base.signals, "knn", "sharpness"]

    monkeypatch.setitem(PACKAGES, "confident", "no_such_package")
    code, out, _ = mimic("signal", "add", base.id, "--signals", "confident")
    assert code == 2
    code, out, _ = mimic("signal", "add", base.id)
    assert (code, "confident" in workspace.runs()[0].signals) == (0, False)
    assert 'left out    confident (no_such_package): pip install "mimic-score[baselines]"' in out

    path = workspace.path / "area.csv"
    ids = pd.read_csv(digits.manifest).path
    pd.DataFrame({"key": [*ids, ids[0], "x"], "area": np.arange(602.0)}).to_csv(path, index=False)
    code, out, _ = mimic("signal", "import", path, "--dataset", "digits", "--value", "area", "--negate")
    assert code == 0
    assert "signal      neg_area: minus area, imported from area.csv" in out
    assert "602 rows, 600 samples matched" in out
    assert "ids that no sample has: 1" in out
    assert "rows of an id that came before (the first counts): 1" in out
    imported = next(each for each in workspace.runs() if each.facts["kind"] == "import")
    assert mimic("show", imported.id)[0] == 0

    code, out, _ = mimic("compare", f"{run.id}:mimic", "knn", "--keep", "0.75")
    assert code == 0
    assert "450 kept, 150 dropped" in out
    words = [row.split() for row in out.splitlines()]
    cells = ("both keep", "only A drops", "only B drops", "both drop")
    counts = {cell: int(row[len(cell.split())]) for cell in cells for row in words if " ".join(row).startswith(cell)}
    assert sum(counts.values()) == 600
    assert abs(counts["only A drops"] - counts["only B drops"]) < 30  # ties of knn are kept
    assert mimic("compare", f"{run.id}:mimic", imported.id)[0] == 0
    code, _, err = mimic("compare", run.id, "mimic")
    assert (code, "name the same thing twice" in err) == (2, True)
    assert "has no signal 'luck'" in mimic("compare", run.id, f"{run.id}:luck")[2]
    assert "has a signal 'luck'" in mimic("compare", run.id, "luck")[2]
