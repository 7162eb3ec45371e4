"""Deciding by key in a real browser: without a mouse, in order, and nothing that nobody has seen."""

import re
import time

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import press, settle, shown

pytestmark = pytest.mark.browser
RUN = "synthetic-900"


def test_without_a_mouse_from_key_to_log(visit, served, decisions):
    page = visit(f"{served}/review?dataset={RUN}&run={RUN}&queue=random")
    expect(page.get_by_role("heading", name="Review", level=1)).to_be_visible()
    settle(page)
    earlier = len(decisions.history())  # other tests decide in this workspace too
    seen = []
    for key in ("k", "d", "s"):
        seen.append(shown(page))
        press(page, key)
    log = decisions.history().iloc[: -earlier or None]
    assert log["action"].tolist() == ["skip", "drop", "keep"]
    assert all(alt.endswith(row) for alt, row in zip(seen[::-1], log["id"], strict=True))
    press(page, "u")
    assert shown(page) == seen[2]
    # relabel: L puts the keyboard into the list of classes, typing finds one, Enter takes it
    time.sleep(0.4)
    page.keyboard.press("l")
    expect(page.get_by_role("combobox", name="New label")).to_be_focused()
    page.keyboard.type("class")
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("1 relabel"))).to_be_visible()
    settle(page)
    relabelled = decisions.history().iloc[0]
    assert (relabelled["action"], relabelled["old_label"] != relabelled["new_label"]) == ("relabel", True)
    assert seen[2].endswith(relabelled["id"])


def test_a_held_key_decides_only_what_was_there_to_see(visit, served, decisions):
    page = visit(f"{served}/review?dataset={RUN}&run={RUN}&queue=highest")
    expect(page.get_by_role("heading", name="Review", level=1)).to_be_visible()
    settle(page)
    time.sleep(0.4)
    before = len(decisions.history())
    for _ in range(40):  # a held key repeats every 30 ms or so
        page.keyboard.down("d")
        time.sleep(0.02)
    page.keyboard.up("d")
    settle(page)
    time.sleep(0.5)
    assert len(decisions.history()) == before + 1
    for _ in range(3):  # and one that bounces
        page.keyboard.press("d")
        time.sleep(0.02)
    settle(page)
    time.sleep(0.5)
    assert len(decisions.history()) == before + 2


def test_what_a_key_has_to_say_is_said_and_nothing_is_drawn_over_the_page(visit, served, workspace):
    page = visit(f"{served}/review?dataset={RUN}&run={RUN}&queue=lowest")
    page.get_by_label("Who decides").fill("somebody who has decided nothing")
    page.keyboard.press("Enter")
    settle(page)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Nothing left to undo.")).to_be_visible()
    assert "displays one or more elements" not in (workspace.path / "server.log").read_text()


def test_a_pictures_button_hides_no_words(visit, served):
    page = visit(f"{served}/review?dataset={RUN}&run={RUN}&queue=lowest")
    settle(page)
    picture = page.locator("[data-testid=stImage] img[alt*=',']").first
    picture.hover()
    button = page.locator("[data-testid=stElementToolbar]").filter(visible=True).bounding_box()
    inside = picture.bounding_box()
    assert button["y"] >= inside["y"]
    assert button["x"] + button["width"] <= inside["x"] + inside["width"]
