"""Which run a page opens with: the newest that scored, not a training that came after it."""

import pytest

from mimic.files import read_json, write_json
from mimic.workspace.layout import Workspace
from tests.pages.conftest import ROWS

RUN = f"synthetic-{ROWS}"


@pytest.fixture
def trained_last(copy: Workspace) -> Workspace:
    path = copy.run("other").folder / "run.json"
    write_json(path, read_json(path) | {"kind": "train", "created": "2100-01-01T00:00:00+00:00"})
    assert copy.runs()[0].id == "other"
    return copy


@pytest.mark.parametrize("page", ["overview", "evaluate", "threshold"])
def test_a_training_does_not_lead(page: str, trained_last: Workspace, open_page) -> None:
    app = open_page(trained_last, page)
    (run,) = [box for box in app.selectbox if box.label == "Run"]
    assert run.value == RUN
    assert len(run.options) == 2  # it can still be chosen
