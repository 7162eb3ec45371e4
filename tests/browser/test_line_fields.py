"""One line in four views: each moves the others, exactly; nothing typed, pressed or dragged is thrown back."""

import numpy as np
import pytest
from playwright.sync_api import expect

from mimic.workspace.queries.dense import Dense
from tests.browser.conftest import settle

pytestmark = pytest.mark.browser
RUN = "synthetic-900"
FIELDS = ("Kept, samples", "Kept, % of scored", "Lowest kept mimic")


@pytest.fixture
def page(visit, served):
    page = visit(f"{served}/threshold?dataset={RUN}&run={RUN}&signal=mimic&keep=500")
    settle(page)
    return page


@pytest.fixture(scope="module")
def scores(workspace):
    scores = Dense(workspace, workspace.dataset(RUN)).scores(RUN, "mimic")
    return np.sort(scores[~np.isnan(scores)])


def slider(page):
    return page.get_by_role("slider", name="Samples kept")


def enter(page, label, value):
    page.get_by_label(label).fill(value)
    page.get_by_label(label).press("Enter")


def assert_shows(page, scores, kept):
    expect(page.get_by_test_id("stMetric").filter(has_text="Kept")).to_contain_text(f"{kept:,}")
    settle(page)
    assert f"keep={kept}" in page.url
    count, share, lowest = (page.get_by_label(label).input_value() for label in FIELDS)
    assert (int(slider(page).input_value()), int(count)) == (kept, kept)
    assert float(share) == pytest.approx(100 * kept / scores.size, abs=1e-4)
    if kept:
        assert float(lowest) == pytest.approx(scores[-kept], rel=1e-5)
    else:
        assert lowest == ""  # a line that keeps nothing has no lowest
    expect(page.locator("output")).to_have_text(f"{kept:,}")


def test_each_moves_the_others(page, scores):
    assert_shows(page, scores, 500)
    slider(page).press("ArrowLeft")
    assert_shows(page, scores, 499)
    enter(page, FIELDS[0], "321")
    assert_shows(page, scores, 321)
    enter(page, FIELDS[1], "50")
    assert_shows(page, scores, round(scores.size / 2))
    enter(page, FIELDS[2], "0.01")
    assert_shows(page, scores, int((scores >= 0.01).sum()))
    slider(page).press("Home")
    assert_shows(page, scores, 0)
    slider(page).press("End")
    assert_shows(page, scores, scores.size)


def test_keys_faster_than_the_page_is_drawn_all_count(page, scores):
    slider(page).focus()
    for _ in range(12):
        page.keyboard.press("ArrowLeft")
    assert_shows(page, scores, 488)


def test_who_types_on_is_not_thrown_back(page, scores):
    field = page.get_by_label(FIELDS[0])
    slider(page).press("ArrowLeft")
    field.fill("12")  # and is not done when the answer to the slider comes
    expect(page.get_by_test_id("stMetric").filter(has_text="Kept")).to_contain_text("499")
    settle(page)
    assert field.input_value() == "12"
    field.press_sequentially("3")
    field.press("Enter")
    assert_shows(page, scores, 123)


def test_a_number_out_of_range_moves_nothing(page, scores):
    for label, value in ((FIELDS[0], str(scores.size + 1)), (FIELDS[0], "-1"), (FIELDS[1], "101")):
        enter(page, label, value)
        assert page.get_by_label(label).evaluate("field => !field.validity.valid")
    settle(page)
    assert "keep=500" in page.url


def test_what_a_browser_should_not_send_is_let_be(page, scores):
    """The page speaks for anybody: who puts other words on the wire reaches no further than the line."""
    asked = [{"unit": "__class__", "value": 1}, {"unit": "count", "value": "9e9"}, {"unit": "count", "value": None}, 7]
    for words in asked:
        page.locator(".units").evaluate("(root, words) => root.tell(words)", words)
    settle(page)
    expect(page.get_by_test_id("stMetric").filter(has_text="Kept")).to_contain_text("500")
    page.locator(".units").evaluate("root => root.tell({unit: 'count', value: 1e300, turn: 0})")
    assert_shows(page, scores, scores.size)
