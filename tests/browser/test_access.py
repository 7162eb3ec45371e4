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
# What has the keyboard, and whether a ring says so, at it or at what it lies in: outline, shadow or edge.
FOCUSED = """async () => {
  const drawn = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 20)));
  await drawn();
  let e = document.activeElement;
  while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;
  const around = [e];  // Streamlit's fields are drawn some way around their inputs
  while (around.length < 6 && around.at(-1).parentElement) around.push(around.at(-1).parentElement);
  const look = () => around.map((x) => {
    const s = getComputedStyle(x);
    return [s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2 ? 'ring' : '', s.boxShadow, s.borderColor];
  }).join();
  const lit = look();
  e.blur();
  await drawn();
  const unlit = look();
  e.focus();
  const tile = e.className.includes?.('tile') ? '.tile' : '';
  return [e.getAttribute('role') ?? (e.type === 'range' ? 'slider' : e.tagName + tile), lit !== unlit];
}"""
# A component's script comes as an object of its own: here each is one that never gets as far as to draw.
NEVER_DRAWN = """
  window.held = [];
  const made = URL.createObjectURL;
  URL.createObjectURL = (what) => {
    if (!what.type?.includes("javascript")) return made(what);
    window.held.push(what);
    return made(new Blob(["await new Promise(() => {});"], { type: what.type }));
  };
"""
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
    for width in (1280, 1920) if scheme == "light" else ():  # what is where does not hang on the colours
        page.set_viewport_size({"width": width, "height": 1000})
        page.wait_for_timeout(300)
        inside = (
            "() => { const m = document.querySelector('[data-testid=stMain]'); return m.scrollWidth - m.clientWidth; }"
        )
        assert page.evaluate(inside) <= 0, width


@pytest.mark.parametrize("name", ["overview", "explore", "threshold", "compare", "sample"])
def test_nothing_serious_before_a_component_is_drawn(chromium, served, name):
    context = chromium.new_context()
    context.add_init_script(NEVER_DRAWN)
    page = context.new_page()
    page.goto(f"{served}/{name}?dataset={RUN}&run={RUN}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    settle(page)
    page.wait_for_function("() => window.held.length > 0")
    assert violations(page) == []
    context.close()


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
        if role not in ("MAIN", "BODY", "DIV"):  # scrolled by keys, and code to be copied
            assert seen, f"no ring on a {role}"
    assert {"A", "A.tile", "slider", "combobox", "BUTTON", "INPUT"} <= reached
