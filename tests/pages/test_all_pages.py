"""What holds of every page: torch stays out, hostile words stay words, broken workspaces become sentences."""

import subprocess
import sys

import pytest
from streamlit.testing.v1 import AppTest

from mimic.workspace.layout import Workspace
from pages.widgets.frame import UNFORESEEN
from tests.pages.conftest import APP, add_hostile, markup, words

PAGES = sorted(path.stem for path in (APP.parent / "pages").glob("*.py"))
OPEN_ALL = """
import os, sys
from streamlit.testing.v1 import AppTest
for page in sys.argv[2:]:
    app = AppTest.from_file(sys.argv[1], default_timeout=60)
    if page != "overview":
        app.switch_page(f"pages/{page}.py")
    app.run()
    assert not app.exception, (page, app.exception)
    assert app.title, page
    print(page, "torch" in sys.modules)
"""


def test_no_page_loads_torch(published):
    ran = subprocess.run(
        [sys.executable, "-c", OPEN_ALL, str(APP), *PAGES],
        env={"MIMIC_WORKSPACE": str(published.path), "PYTHONPATH": str(APP.parent), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.split() == [word for page in PAGES for word in (page, "False")]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("hostile"))
    add_hostile(workspace)
    return workspace


@pytest.mark.parametrize("page", PAGES)
def test_hostile_words_stay_words(hostile, open_page, page):
    said = markup(open_page(hostile, page))
    for mark in ("![", "<img", "](javascript", ":smile:", "$\\int$"):
        assert mark not in said


@pytest.mark.parametrize("page", PAGES)
def test_a_broken_workspace_is_a_sentence(copy, open_page, page):
    (copy.runs_folder / "other" / "run.json").write_text("{")
    assert "is not valid JSON" in words(open_page(copy, page)).replace("\\", "")


@pytest.mark.parametrize("page", [page for page in PAGES if page != "train"])  # it opens training runs alone
def test_a_lost_file_is_a_sentence(copy, open_page, page):
    copy.run("synthetic-1500").scores_file.unlink()
    said = words(open_page(copy, page, run="synthetic-1500")).replace("\\", "")
    assert "is gone" in said


def test_a_link_to_something_that_is_not_there_says_so(published, open_page):
    address = {"dataset": "nope", "run": "x", "signal": "y", "order": "z", "near": "w", "class": ["class 001", "k"]}
    app = open_page(published, "explore", **address | {"order": "nearest"})
    said = "\n".join(warning.value for warning in app.warning).replace("\\", "").replace("\u2060", "")
    assert "No data set 'nope' here; showing synthetic-1500." in said
    assert "No published run of this data set 'x' here" in said
    assert "No signal in this run 'y' here; showing mimic." in said
    assert "'w' in the address is no number for 'near'" in said
    assert "No class 'k' here" in said
    assert not open_page(published, "explore", dataset="synthetic-1500", signal="margin").warning


def test_what_nobody_foresaw_is_a_sentence_with_a_way_to_its_traceback(published, monkeypatch, caplog):
    monkeypatch.setenv("MIMIC_WORKSPACE", str(published.path))
    monkeypatch.setattr("mimic.workspace.layout.Workspace.runs", lambda *_: 1 / 0)
    app = AppTest.from_file(str(APP), default_timeout=60).run()
    assert not app.exception
    (said,) = (error.value for error in app.error)
    assert UNFORESEEN.rstrip(".") in said
    name = said.split("under ")[1].split("\\")[0]
    assert name in caplog.text
    assert "ZeroDivisionError" in caplog.text
