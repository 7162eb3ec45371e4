"""Export, alone: counts before, files after, nothing overwritten unasked."""

import json

import pytest

import mimic
from mimic.files import read_json, write_json
from mimic.workspace.decisions import Decisions, Subject
from mimic.workspace.filters import save_filter
from tests.pages.conftest import metrics, to_copy, words

RULE = {"kind": "threshold", "run": "synthetic-1500", "signal": "mimic", "threshold": 0.0, "drop_unscored": False}
KEPT = ":blue[:material/check:] Kept"


@pytest.fixture
def filtered(copy, monkeypatch):
    monkeypatch.delenv("MIMIC_DECISIONS_URL", raising=False)
    save_filter(copy, "strict", "synthetic-1500", RULE, {"kept": 1, "dropped": 1, "not_scored": 1})
    return copy


def press(app, key):
    next(button for button in app.button if button.key == key).click()
    return app.run()


def test_without_a_filter_it_says_what_to_do(published, open_page):
    assert "no filter is saved yet" in words(open_page(published, "export"))


def test_a_file_is_written_once(filtered, open_page):
    app = open_page(filtered, "export", filter="strict", format="parquet")
    kept = metrics(app)[KEPT]
    press(app, "write")
    assert not app.exception
    path = filtered.path / "exports" / "strict-parquet.parquet"
    loaded = mimic.load_filter(path)
    facts = json.loads(path.with_name(path.name + ".json").read_text())
    assert f"{facts['counts']['kept']:,}" == kept
    assert int(loaded.kept.sum()) == facts["counts"]["kept"] + facts["counts"]["not_scored"]
    assert facts["sha256"] in words(app)
    press(app, "write")
    assert "is there already" in words(app).replace("\\", "")
    app.checkbox(key="overwrite").check()
    press(app, "write")
    assert "Written" in "".join(one.value for one in app.success)


def test_decisions_overrule_unless_switched_off(filtered, open_page):
    app = open_page(filtered, "export", filter="strict", format="jsonl")
    before = int(metrics(app)[KEPT].replace(",", ""))
    loaded_kept = int(mimic.load_filter(_written(app, filtered)).kept.argmax())
    assert "People's decisions change nothing here." in words(app)
    decisions = Decisions(filtered, filtered.dataset("synthetic-1500"))
    decisions.record("ann", "drop", Subject(loaded_kept, "x", None))
    app.run()
    assert "1 samples go" not in words(app)
    assert "1 sample goes the other way than the filter says" in words(app)
    assert int(metrics(app)[KEPT].replace(",", "")) == before - 1
    app.toggle(key="overrule").set_value(False).run()
    assert int(metrics(app)[KEPT].replace(",", "")) == before


def test_a_name_cannot_leave_the_folder(filtered, open_page):
    app = open_page(filtered, "export", filter="strict", format="csv")
    app.text_input(key="state: as").set_value("../up")
    press(app, "write")
    assert "cannot name an export" in words(app)
    assert not list(filtered.path.rglob("up.csv"))


def _written(app, workspace):
    press(app, "write")
    return workspace.path / "exports" / "strict-jsonl.jsonl"


def test_the_command_says_all_that_was_chosen(filtered, open_page):
    app = open_page(filtered, "export", filter="strict", format="imagefolder")
    app.toggle(key="overrule").set_value(False).run()
    app.button_group(key="images").set_value("copy").run()
    assert "--format imagefolder --out PATH --no-decisions --images copy --workspace" in to_copy(app)[-1]


def test_what_a_format_holds_is_said(filtered, open_page):
    app = open_page(filtered, "export", filter="strict", format="csv")
    assert "It holds every sample, dropped ones too: go by the column kept." in words(app)
    app.selectbox(key="state: format").set_value("datacomp").run()
    assert "It holds only what is kept." in words(app)


@pytest.mark.parametrize("page", ["threshold", "combine", "export"])
def test_an_unfit_reference_is_said_wherever_a_filter_goes_by_it(filtered, open_page, page):
    path = filtered.runs_folder / "synthetic-1500" / "run.json"
    write_json(path, read_json(path) | {"check": {"verdict": "Do not use", "sentence": "It knows *nothing*."}})
    said = "says Do not use: It knows nothing."
    assert said in words(open_page(filtered, page)).replace("\\", "").replace("*", "")
    if page == "threshold":  # the start alone says what this signal says
        assert said not in words(open_page(filtered, page, signal="margin")).replace("\\", "").replace("*", "")
