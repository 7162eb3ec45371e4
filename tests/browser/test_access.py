"""Every page, light and dark: axe-core finds nothing serious, the keyboard reaches everything, nothing sticks out."""

import json
from importlib.resources import files

import pytest
from playwright.sync_api import Page, expect

from mimic.filters.signal_rules import ThresholdRule
from mimic.workspace.filters import save_filter
from pages.widgets.frame import PAGES
from tests.browser.conftest import settle

pytestmark = pytest.mark.browser
RUN = "synthetic-900"
# Parts of Streamlit's own that no setting of ours reaches.
THEIRS = {
    "[data-testid=stDataFrame]": "glide-data-grid draws on a canvas, with a table of its own for screen readers",
    "[data-baseweb=select]": "the select's hidden input",
}
# What has the keyboard, and whether it looks otherwise than without (it, or what it lies in).
FOCUSED = """() => {
  let e = document.activeElement;
  while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;
  const around = [e, e.parentElement, e.parentElement?.parentElement].filter(Boolean);
  const look = () => around.map((x) => {
    const s = getComputedStyle(x);
    return [s.outline, s.boxShadow, s.borderColor, s.backgroundColor, s.color].join();
  }).join();
  const lit = look();
  e.blur();
  const unlit = look();
  e.focus();
  const tile = e.className.includes?.('tile') ? '.tile' : '';
  return [e.getAttribute('role') ?? (e.type === 'range' ? 'slider' : e.tagName + tile), lit !== unlit];
}"""
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


def violations(page: Page) -> list[str]:
    """What axe-core calls serious or critical, by the rules of WCAG 2 A and AA, outside of what is Streamlit's own."""
    page.evaluate(AXE)
    asked = "axe.run({exclude: theirs.map((s) => [s])}, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa']})"
    found = page.evaluate(f"async (theirs) => (await {asked}).violations", list(THEIRS))
    return [
        f"{one['id']}: {node['target']} {node['html'][:160]} {json.dumps([c['message'] for c in node['any']])[:200]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.fixture(scope="module", autouse=True)
def a_filter(workspace):
    rule = ThresholdRule(run=RUN, signal="mimic", threshold=0.0)
    save_filter(workspace, "zero", RUN, rule.model_dump(), {"kept": 800, "dropped": 97, "not_scored": 3}, replace=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [*PAGES.values(), "sample"])
def test_nothing_serious(visit, served, name, scheme):
    page = visit(f"{served}/{name}?dataset={RUN}&run={RUN}", scheme=scheme)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    settle(page)
    assert violations(page) == []
    for width in (1280, 1920):
        page.set_viewport_size({"width": width, "height": 1000})
        page.wait_for_timeout(300)
        inside = (
            "() => { const m = document.querySelector('[data-testid=stMain]'); return m.scrollWidth - m.clientWidth; }"
        )
        assert page.evaluate(inside) <= 0, width


def test_the_keyboard_reaches_everything(visit, served):
    page = visit(f"{served}/threshold?dataset={RUN}&run={RUN}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    settle(page)
    page.add_style_tag(content="* { transition: none !important; }")  # looks are compared at once
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        role, seen = page.evaluate(FOCUSED)
        reached.add(role)
        if role == "A.tile":  # ours; how Streamlit's own widgets look is theirs
            assert seen, f"no mark of focus on a {role}"
    assert {"A", "A.tile", "slider", "combobox", "BUTTON", "INPUT"} <= reached
