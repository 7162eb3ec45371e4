"""Levels on the screen: dots lie where the axis says their numbers are; lists for who listens; folds that open."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import settle

pytestmark = pytest.mark.browser
RUN = "synthetic-900"


@pytest.fixture
def page(visit, served):
    page = visit(f"{served}/?dataset={RUN}&run={RUN}")
    settle(page)
    return page


def middle(place):
    box = place.bounding_box()
    return box["x"] + box["width"] / 2


def test_a_dot_lies_where_the_axis_says_its_number_is(page):
    figure = page.get_by_role("figure", name="AUROC of each signal")
    ticks = {float(tick.inner_text()): middle(tick) for tick in figure.locator(".tick").all()}
    low, high = min(ticks), max(ticks)
    rows = figure.get_by_role("listitem").all()
    assert len(rows) == 5
    for row in rows:
        auroc, half = (float(number) for number in re.findall(r"\d\.\d{3}", row.inner_text()))
        step = (ticks[high] - ticks[low]) / (high - low)
        assert middle(row.locator(".dot, .diamond")) == pytest.approx(ticks[low] + (auroc - low) * step, abs=1.5)
        assert row.locator(".interval").bounding_box()["width"] == pytest.approx(2 * half * step, abs=1.5)


def test_a_bar_is_as_wide_as_its_share(page):
    rows = page.get_by_role("figure", name="Agreement with what was given").get_by_role("listitem").all()
    assert [row.inner_text().split("\n")[0] for row in rows] == ["reference", "start", "commonest class"]
    for row in rows:
        share = float(row.inner_text().split("\n")[1].rstrip("%"))
        whole = row.locator(".track").bounding_box()["width"]
        assert 100 * row.locator(".bar").bounding_box()["width"] / whole == pytest.approx(share, abs=0.5)


def test_what_is_folded_is_drawn_once_it_is_opened(page):
    expect(page.locator(".block pre")).to_have_count(0)
    page.get_by_text("Start another run").click()
    expect(page.locator(".block pre").first).to_contain_text("mimic demo")
    settle(page)
    page.get_by_text("Start another run").click()
    expect(page.locator(".block pre")).to_have_count(0)
