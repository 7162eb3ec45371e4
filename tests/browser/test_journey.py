"""The app as a person uses it, in a real browser."""

import fcntl
import re
import time

import pytest
from playwright.sync_api import Page, expect

from benchmarks import synthetic
from mimic.workspace.filters import load_filter
from mimic.workspace.publish import publish, write_part
from pages.widgets.frame import PAGES
from tests.browser.conftest import brush, serving, settle

pytestmark = pytest.mark.browser
RUN = "synthetic-900"


def title(page: Page, words: str) -> None:
    expect(page.get_by_role("heading", name=words, exact=True, level=1)).to_be_visible()
    settle(page)
    expect(page.get_by_test_id("stException")).to_have_count(0)


def count(page: Page) -> int:
    """How many samples Explore says there are."""
    said = page.get_by_text(re.compile(r"^[\d,]+ samples")).first.inner_text()
    return int(said.split()[0].replace(",", ""))


def metric(page: Page, label: str) -> str:
    return page.get_by_test_id("stMetric").filter(has_text=label).get_by_test_id("stMetricValue").inner_text()


def test_from_overview_to_a_saved_filter_and_back_by_link(visit, served, workspace):
    page = visit(served)
    title(page, "Overview")
    expect(page.get_by_text("Reference check", exact=True)).to_be_visible()

    # brush the histogram: the gallery and the address follow
    page.get_by_role("link", name="Explore", exact=True).click()
    title(page, "Explore")
    expect(page.get_by_text(re.compile(r"^89\d samples"))).to_be_visible()
    everything = count(page)
    brush(page, 0.0, 0.4)
    brushed = count(page)
    assert 0 < brushed < everything
    assert "high=" in page.evaluate("location.href")
    assert "low=" not in page.evaluate("location.href")  # from the open end

    # open a sample, go back: the brush is still there
    tile = page.locator("a.tile").first
    tile.focus()
    tile.press("Enter")
    title(page, "Sample")
    assert "sample=" in page.evaluate("location.href")
    expect(page.get_by_role("img", name=re.compile("class"))).to_be_visible()
    page.go_back()
    title(page, "Explore")
    expect(page.get_by_role("button", name="Clear the brush")).to_be_enabled()
    assert count(page) == brushed

    # move the threshold and save it
    page.get_by_role("link", name="Threshold", exact=True).click()
    title(page, "Threshold")
    before = metric(page, "Kept")
    slider = page.get_by_role("slider", name="amples")
    slider.focus()
    for _ in range(5):
        slider.press("ArrowLeft")
    kept = str(int(before) - 5)
    expect(page.get_by_test_id("stMetric").filter(has_text="Kept")).to_contain_text(kept)
    settle(page)
    assert f"keep={kept}" in page.evaluate("location.href")
    page.get_by_label("Save as").fill("from-the-browser")
    page.get_by_label("Save as").press("Enter")
    settle(page)
    page.get_by_role("button", name="Save this line").click()
    expect(page.get_by_text("from-the-browser").first).to_be_visible()
    settle(page)
    assert load_filter(workspace, "from-the-browser").counts["kept"] == int(kept)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").first.click()  # the newest is listed first
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == 901

    # compare, then open the same view again by its address
    page.get_by_role("link", name="Compare", exact=True).click()
    title(page, "Compare")
    page.get_by_role("combobox", name="B", exact=True).click()
    page.get_by_role("option", name="margin").click()
    expect(page.get_by_text("B: margin")).to_be_visible()
    settle(page)
    again = visit(page.evaluate("location.href"))
    title(again, "Compare")
    expect(again.get_by_text("B: margin")).to_be_visible()
    for label in ("Same decision", "Only A drops", "Both drop"):
        assert metric(again, label) == metric(page, label)


def test_a_run_is_watched_until_it_is_published(visit, served, workspace):
    dataset = workspace.dataset(RUN)
    run = synthetic.begin(workspace, dataset, "going", 300)

    def step(place: int) -> None:
        shard = run.shards[place]
        write_part(run, shard, synthetic.part(shard, synthetic.draw(shard, 5, 3), run.signals))

    with run.lock.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        step(0)
        page = visit(served)
        expect(page.get_by_text("300 of 900")).to_be_visible()
        step(1)
        expect(page.get_by_text("600 of 900")).to_be_visible()
        step(2)
        publish(run, dataset, {})
    expect(page.get_by_text(re.compile(r"^\d+ of 900"))).to_have_count(0)
    settle(page)  # a menu opened while the page starts again is closed by it
    page.get_by_role("combobox", name="Run", exact=True).click()
    expect(page.get_by_role("option", name="going")).to_be_visible()


def test_a_chooser_whose_code_comes_late_shows_what_was_chosen(chromium, served):
    """By then the page is drawn for the second time, and only the first answer said what to show."""
    with chromium.new_context() as context:
        page = context.new_page()
        page.route(re.compile("Selectbox.*[.]js"), lambda route: (time.sleep(4), route.continue_()))
        page.goto(served)
        expect(page.get_by_text("Advice", exact=True)).to_be_visible()  # in the second answer
        expect(page.get_by_role("combobox", name="Data set")).to_have_value(RUN)


def test_back_undoes_a_step(visit, served):
    page = visit(f"{served}/threshold?dataset={RUN}&run={RUN}&keep=500")
    title(page, "Threshold")
    page.get_by_role("slider", name="amples").focus()
    page.get_by_role("slider", name="amples").press("ArrowRight")
    expect(page.get_by_test_id("stMetric").filter(has_text="Kept")).to_contain_text("501")
    settle(page)
    page.go_back()
    expect(page.get_by_test_id("stMetric").filter(has_text="Kept")).to_contain_text("500")


def test_hostile_words_stay_words(visit, served):
    """Names full of markup neither draw it nor fetch what it names: the fixture sees every request."""
    for name in (
        "",
        "explore?split=class",
        "sample?sample=1",
        *(page for page in PAGES.values() if page != "overview"),
    ):
        mark = "&" if "?" in name else "?"
        page = visit(f"{served}/{name}{mark}dataset=hostile&run=hostile")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        settle(page)
        assert page.locator("img[src*=example]").count() == 0
        assert page.locator("a[href*=javascript]").count() == 0
        page.close()


@pytest.mark.parametrize("name", ["overview", "explore", "sample"])
def test_a_new_servers_first_visitor_may_come_by_any_link(visit, workspace, name):
    """To that visitor Streamlit runs a page's file without app.py (its old convention), which must not show."""
    with serving(workspace.path) as base:
        page = visit(f"{base}/{name}?dataset={RUN}&run={RUN}&signal=margin")
        title(page, name.capitalize() or "Overview")
        expect(page.get_by_test_id("stSidebar")).to_have_count(0)
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page.get_by_role("combobox", name="Signal", exact=True)).to_have_value("margin")
