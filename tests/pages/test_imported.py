"""A run that is somebody else's column, without check, reference and predictions: every page takes it."""

import pandas as pd
import pytest

from mimic.runs.columns import import_column
from mimic.workspace.columns import find_column
from tests.pages.conftest import ROWS, metrics


@pytest.mark.parametrize("page", ["overview", "explore", "threshold", "compare", "sample"])
def test_every_page_opens_on_it(copy, open_page, tmp_path, page):
    path = tmp_path / "clip.csv"
    pd.DataFrame({"uid": [f"id-{i:09}" for i in range(1000)], "similarity": range(1000)}).to_csv(path, index=False)
    dataset = copy.dataset(f"synthetic-{ROWS}")
    run, matched = import_column(copy, dataset, find_column(path))
    assert matched.matched == 1000
    app = open_page(copy, page, run=run.id, **({"sample": 3} if page == "sample" else {}))
    assert [each.value for each in app.error] == []
    if page == "overview":
        assert (metrics(app)["Scored"], metrics(app)["Not scored"]) == ("1,000", "500")
