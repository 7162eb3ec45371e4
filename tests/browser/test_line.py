"""The line on the bars: what it says while it is dragged is exact, the page follows, and keys move it too."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.dense import Dense
from tests.browser.conftest import settle

pytestmark = pytest.mark.browser
RUN = "synthetic-900"


def counts(words):
    """Kept and dropped, as the line says them."""
    return tuple(int(number.replace(",", "")) for number in re.findall(r"[\d,]+\d|\d", words))


@pytest.fixture
def page(visit, served):
    page = visit(f"{served}/threshold?dataset={RUN}&run={RUN}&keep=500")
    settle(page)
    return page


@pytest.fixture(scope="module")
def scores(workspace):
    scores = Dense(workspace, workspace.dataset(RUN)).scores(
        RUN, Published.of(workspace.run(RUN), workspace.dataset(RUN)).main
    )
    return np.sort(scores[~np.isnan(scores)])


def drag(page, share):
    """Take hold of the bars in their middle, drag to a share of their width; not let go yet."""
    box = page.locator(".plot").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + share * box["width"], box["y"] + 60, steps=4)


def test_the_line_says_exact_counts_while_it_is_dragged_and_the_page_follows(page, scores):
    line = page.get_by_role("slider", name="Line on")
    for share in (0.25, 0.7, 0.0):
        drag(page, share)
        kept, dropped = counts(line.get_attribute("aria-valuetext"))
        assert kept + dropped == scores.size
        expect(page.locator(".said")).to_have_text(f"{kept:,} kept, {dropped:,} dropped")
        page.mouse.up()
        expect(page.get_by_test_id("stMetric").filter(has_text="Kept")).to_contain_text(f"{kept:,}")
        settle(page)
        assert f"keep={kept}" in page.url
        assert counts(line.get_attribute("aria-valuetext")) == (kept, dropped)
        # a line between whole bars splits no equal scores, and keeps just what it says
        assert kept in (0, scores.size) or scores[-kept] > scores[-kept - 1]
        assert page.get_by_label("Kept, samples").input_value() == str(kept)


def test_keys_move_the_line_and_its_ends_are_all_and_nothing(page, scores):
    line = page.get_by_role("slider", name="Line on")
    before = counts(line.get_attribute("aria-valuetext"))[0]
    line.focus()
    for key, holds in (
        ("ArrowRight", lambda n: n < before),
        ("Home", lambda n: n == scores.size),
        ("End", lambda n: n == 0),
    ):
        line.press(key)
        kept = counts(line.get_attribute("aria-valuetext"))[0]
        assert holds(kept)
        expect(page.get_by_test_id("stMetric").filter(has_text="Kept")).to_contain_text(f"{kept:,}")
        assert int(line.get_attribute("aria-valuenow")) == kept


def test_every_class_says_how_much_of_it_is_kept(page):
    rows = page.locator("figure li")
    for title in [row.get_attribute("title") for row in rows.all()]:
        _, kept, of, dropped = re.fullmatch(r"(.*): ([\d,]+) of ([\d,]+) kept, ([\d,]+) dropped", title).groups()
        kept, of, dropped = (int(number.replace(",", "")) for number in (kept, of, dropped))
        assert kept + dropped == of
    shares = [float(share) for share in rows.locator(".number").all_inner_texts()]
    assert shares == sorted(shares)
    assert len(shares) > 1
