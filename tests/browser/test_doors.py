"""Every door to Review, in a real browser: what was looked at comes up, and the event says where it came from."""

import re
import time

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from mimic.filters.signal_rules import ThresholdRule
from mimic.workspace.decisions import Decisions
from mimic.workspace.filters import save_filter
from mimic.workspace.queries.dense import Dense
from tests.browser.conftest import brush, press, settle, shown

pytestmark = pytest.mark.browser
RUN = "synthetic-900"


@pytest.fixture
def scores(workspace) -> dict[str, np.ndarray]:
    table = Dense(workspace, workspace.dataset(RUN))
    return {name: table.scores(RUN, name) for name in ("mimic", "margin")}


def title(page: Page, words: str) -> None:
    expect(page.get_by_role("heading", name=words, exact=True, level=1)).to_be_visible()
    settle(page)


def decide(page: Page, decisions: Decisions) -> dict[str, object]:
    """Drop what Review shows by key. Returns the event."""
    title(page, "Review")
    before, alt = len(decisions.history()), shown(page)
    press(page, "d")
    log = decisions.history()
    assert len(log) == before + 1
    event = log.iloc[0].to_dict()
    assert alt.endswith(event["id"])
    assert (event["action"], event["run"]) == ("drop", RUN)
    return event


def test_from_a_filter(visit, served, workspace, decisions, scores):
    rule = ThresholdRule(run=RUN, signal="mimic", threshold=0.0)
    counts = {"kept": 0, "dropped": 0, "not_scored": 0}
    save_filter(workspace, "door", RUN, rule.model_dump(mode="json"), counts, replace=True)
    page = visit(f"{served}/combine?dataset={RUN}&run={RUN}&rule=mimic%20%3E%3D%200.0")
    title(page, "Combine")
    expect(page.get_by_text("This rule is saved as")).to_be_visible()
    page.get_by_role("link", name="Review", exact=True).last.click()  # the first is the menu's
    event = decide(page, decisions)
    assert event["source"] == "What door drops, from the highest score down · mimic >= 0.0"
    assert scores["mimic"][event["sample"]] < 0.0


def test_from_a_region_of_the_histogram(visit, served, decisions, scores):
    page = visit(f"{served}/explore?dataset={RUN}&run={RUN}&signal=margin&order=highest")
    title(page, "Explore")
    brush(page, 0.2, 0.4)
    low, high = (float(re.search(rf"{end}=([^&]+)", page.url)[1]) for end in ("low", "high"))
    page.get_by_role("link", name="Review these").click()
    event = decide(page, decisions)
    assert str(event["source"]).startswith("Highest scores first · margin · margin ")
    assert low <= scores["margin"][event["sample"]] < high


def test_from_a_quadrant_of_compare(visit, served, decisions, scores):
    page = visit(f"{served}/compare?dataset={RUN}&run={RUN}&signal=mimic&b=margin&keep=700")
    title(page, "Compare")
    page.get_by_role("link", name="Review these").first.click()
    event = decide(page, decisions)
    assert event["source"] == "What margin@top700 - mimic@top700 keeps"
    kept = {name: np.sort(values[~np.isnan(values)])[-700] for name, values in scores.items()}
    assert scores["mimic"][event["sample"]] < kept["mimic"]  # only A drops it
    assert scores["margin"][event["sample"]] >= kept["margin"]


def test_from_a_search(visit, served, workspace, decisions):
    page = visit(f"{served}/explore?dataset={RUN}&run={RUN}&signal=mimic")
    title(page, "Explore")
    page.get_by_label("Text", exact=True).fill("picture 1")
    page.get_by_label("Text", exact=True).press("Enter")
    expect(page.get_by_text(re.compile(r"^89\d samples"))).to_have_count(0)
    settle(page)
    page.get_by_role("link", name="Review these").click()
    event = decide(page, decisions)
    assert event["source"] == "Lowest scores first · mimic · with picture 1"


def test_by_the_keyboard_alone_from_the_overview(visit, served, decisions):
    page = visit(f"{served}/?dataset={RUN}&run={RUN}")
    title(page, "Overview")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == "Review":
            break
    page.keyboard.press("Enter")
    title(page, "Review")
    first = shown(page)
    time.sleep(0.4)
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("img", name=first, exact=True)).to_have_count(0)
    settle(page)
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("img", name=first, exact=True)).to_be_visible()
    settle(page)
    # what the reference sees stands first among the new labels, and Enter takes what stands first
    guesses = page.get_by_text("The reference sees:").inner_text().removeprefix("The reference sees: ").split(", ")
    wanted = [name for name in guesses if name != first.split(", ")[0]]
    time.sleep(0.4)
    page.keyboard.press("l")
    expect(page.get_by_role("combobox", name="New label")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option").first).to_be_visible()
    assert page.get_by_role("option").all_inner_texts()[: len(wanted)] == wanted
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("[1-9] relabel"))).to_be_visible()
    settle(page)
    event = decisions.history().iloc[0]
    assert (event["action"], event["new_label"] in wanted) == ("relabel", True)
    press(page, "u")
    assert shown(page) == first
