"""The HTML report: whole, from this file alone, and hostile words stay words."""

import re

import pytest

from mimic.errors import MimicError
from mimic.evaluation.assess import assess
from mimic.reports.page import report, write_report
from mimic.workspace.layout import Workspace
from tests.pages.conftest import ROWS, add_hostile, published  # noqa: F401


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("hostile"))
    add_hostile(workspace)
    return workspace


def without_plotly(page: str) -> str:
    """All but plotly.js itself, which is the first script."""
    start = page.index("<script>")
    return page[:start] + page[page.index("</script>", start) :]


def test_the_report_holds_the_numbers(published):  # noqa: F811
    run = published.run(f"synthetic-{ROWS}")
    page = without_plotly(report(published, run))
    share = assess(published, published.dataset(run.dataset), run.id).quality
    assert f"{share.share:.1%} of the labels are right ({share.low:.1%} to {share.high:.1%}, estimated)" in page
    for heading in ("Advice", "Reference check", "Does it find the wrong labels?", "How good is the data?", "Signals"):
        assert heading in page
    assert page.count("Plotly.newPlot") >= 5


def test_nothing_is_loaded_from_elsewhere(published):  # noqa: F811
    page = without_plotly(report(published, published.run(f"synthetic-{ROWS}")))
    assert re.findall(r"""(?:src|href)\s*=\s*["']""", page) == []
    assert "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")


def test_hostile_words_stay_words(hostile):
    page = without_plotly(report(hostile, hostile.run("hostile")))
    assert "<img" not in page
    assert page.count("<script") == page.count("</script>") - 1  # plotly.js's own end is left


def test_a_place_that_cannot_be_written_is_said(hostile, tmp_path):
    run = hostile.run("hostile")
    assert write_report(hostile, run, tmp_path / "r.html").stat().st_size > 1_000_000
    with pytest.raises(MimicError, match="cannot be written"):
        write_report(hostile, run, tmp_path / "no" / "folder.html")
