"""What holds of every page: torch stays out, hostile words stay words, broken workspaces become sentences."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks import synthetic
from mimic.data import Sample
from mimic.workspace.datasets import Source, create_dataset
from mimic.workspace.layout import Workspace
from mimic.workspace.publish import publish, write_part
from tests.pages.conftest import APP, markup, words

PAGES = sorted(path.stem for path in (APP.parent / "pages").glob("*.py"))
HOSTILE = [
    "![x](http://example.com/a.png)",
    "<img src=http://example.com/b.png onerror=alert(1)>",
    '=HYPERLINK("http://example.com")',
    "$\\int$ :smile: **bold** [a](javascript:alert(1))",
    "line\nbreak \u202egnp.exe \U0001f600 " + "long" * 3000,
]

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
    """Class names, ids, captions, columns and reasons that would like to be something else."""
    workspace = Workspace(tmp_path_factory.mktemp("hostile"))
    samples = (
        Sample(
            i,
            f"{i} {HOSTILE[i % 5]}",
            f"{i}.png",
            HOSTILE[i % 5],
            HOSTILE[(i + i // 50) % 5],
            extra={HOSTILE[1]: HOSTILE[2]},
        )
        for i in range(100)
    )
    source = Source("manifest", Path("x"))
    dataset = create_dataset(workspace, "hostile", samples, HOSTILE, source, workspace.path, {HOSTILE[1]: pa.string()})
    run = synthetic.begin(workspace, dataset, "hostile", 100)
    table = synthetic.part(run.shards[0], synthetic.draw(run.shards[0], 5, 0), run.signals)
    reasons = pa.array([HOSTILE[1] if reason else None for reason in table["reason"].to_pylist()], pa.string())
    table = table.set_column(table.schema.get_field_index("reason"), "reason", reasons)
    write_part(run, run.shards[0], table)
    publish(run, dataset, {})
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


@pytest.mark.parametrize("page", PAGES)
def test_a_lost_file_is_a_sentence(copy, open_page, page):
    copy.run("synthetic-1500").scores_file.unlink()
    said = words(open_page(copy, page, run="synthetic-1500")).replace("\\", "")
    assert "is gone" in said
