"""Curves on the screen lie where their numbers are by the axes; they say them, follow the width, and are saved so."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from mimic.evaluation import ruling
from mimic.evaluation.truth import COLUMN, judge
from mimic.filters.signal_rules import Best, ShareRule
from mimic.workspace.queries.dense import Dense
from tests.browser.conftest import settle

pytestmark = pytest.mark.browser
RUN = "synthetic-900"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def likeness(workspace):
    rules = [ShareRule(run=RUN, signal=signal, best=Best(count=500)) for signal in ("mimic", "margin")]
    return ruling.likeness(*rules, Dense(workspace, workspace.dataset(RUN)))


@pytest.fixture(scope="module")
def found(workspace):
    return judge(workspace, [RUN], COLUMN).found()


def figure(page, name):
    one = page.get_by_role("img", name=name)
    expect(one.locator(".of").first).to_be_attached()
    return one


def numbers(words):
    return [float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", words)]


def scale(one, axis):
    """From a place on the SVG to the number that the axis says is there."""
    ticks = [(float(tick.get_attribute(axis)) - (4 if axis == "y" else 0), float(tick.inner_html()))
             for tick in one.locator(f"text.{axis}").all()]  # fmt: skip
    (at, low), *_, (end, high) = sorted(ticks)
    return lambda place: low + (place - at) / (end - at) * (high - low)


def points(one, path):
    """The path's points in the numbers of the axes."""
    places = np.array(numbers(path.get_attribute("d"))).reshape(-1, 2)
    return np.column_stack([scale(one, axis)(places[:, column]) for column, axis in enumerate("xy")])


def test_curves_and_bands_go_through_their_numbers_at_every_width(visit, served, found):
    page = visit(f"{served}/evaluate?dataset={RUN}&run={RUN}")
    settle(page)
    one = figure(page, "ROC curves")
    for width in (1280, 900):
        page.set_viewport_size({"width": width, "height": 1400})
        expect(one).to_have_attribute("width", str(one.locator("..").evaluate("figure => figure.clientWidth")))
        for name in ("mimic", "margin"):
            band, group = 100 * found[name].roc, one.locator(f".of[data-name={name}]")
            np.testing.assert_allclose(points(one, group.locator(".curve")), band[["x", "y"]], atol=1e-6)
            around = np.concatenate([band[["x", "high"]], band[["x", "low"]][::-1]])
            np.testing.assert_allclose(points(one, group.locator(".band")), around, atol=1e-6)


def test_pointing_says_the_nearest_point(visit, served, likeness):
    page = visit(f"{served}/compare?dataset={RUN}&run={RUN}&signal=mimic&b=margin&keep=500")
    settle(page)
    one = figure(page, "Overlap of what A and B drop at every budget")
    assert one.locator(".legend text").all_text_contents() == ["these two", "by chance"]
    curve = one.locator(".of[data-name='these two'] .curve")
    places = np.array(numbers(curve.get_attribute("d"))).reshape(-1, 2)
    table = likeness.overlaps
    np.testing.assert_allclose(points(one, curve), 100 * table[["kept", "overlap"]], atol=1e-6)
    box = one.bounding_box()
    for at in (3, 24, 45):
        page.mouse.move(box["x"] + places[at, 0], box["y"] + places[at, 1])
        row = table.iloc[at]
        words = f"these two: {row['overlap']:.1%} at {row['kept']:.0%} kept, {row['chance']:.1%} by chance"
        expect(one.locator("..").locator(".tip")).to_have_text(words)
    page.mouse.move(box["x"] + 1, box["y"] + 1)
    expect(one.locator("..").locator(".tip")).to_have_text("")


def test_the_budget_s_line_moves_and_stands_where_the_axis_says(visit, served, likeness):
    page = visit(f"{served}/compare?dataset={RUN}&run={RUN}&signal=mimic&b=margin&keep=500")
    settle(page)
    one = figure(page, "Overlap of what A and B drop at every budget")

    def stands():
        (x, *_) = numbers(one.locator("path.line").get_attribute("d"))
        return scale(one, "x")(x)

    slider = page.get_by_role("slider", name="Samples that each")
    assert stands() == pytest.approx(100 * 500 / likeness.pairs.shared, abs=1e-6)
    slider.focus()
    page.keyboard.press("PageUp")
    page.wait_for_url(lambda url: "keep=500" not in url)
    settle(page)
    assert stands() == pytest.approx(100 * int(slider.input_value()) / likeness.pairs.shared, abs=1e-6)


def test_a_figure_is_saved_as_it_is_seen(visit, served, found, tmp_path):
    page = visit(f"{served}/evaluate?dataset={RUN}&run={RUN}")
    settle(page)
    one = figure(page, "ROC curves")
    with page.expect_download() as got:
        page.get_by_role("button", name=re.compile("^Save (PNG|SVG): ROC curves")).click()
    assert got.value.suggested_filename == f"roc-{RUN}.png"
    got.value.save_as(tmp_path / "roc.png")
    picture = Image.open(tmp_path / "roc.png").convert("RGB")
    assert picture.size == tuple(2 * int(one.get_attribute(side)) for side in ("width", "height"))
    assert picture.getpixel((0, 0)) == (255, 255, 255)  # it has a ground of its own
    assert len(picture.getcolors(100_000)) > 50
    page.get_by_test_id("stButtonGroup").get_by_role("radio", name="svg").click()
    expect(page.get_by_role("button", name=re.compile("^Save (PNG|SVG): ROC curves"))).to_have_text("Save SVG")
    with page.expect_download() as got:
        page.get_by_role("button", name=re.compile("^Save (PNG|SVG): ROC curves")).click()
    assert got.value.suggested_filename == f"roc-{RUN}.svg"
    got.value.save_as(tmp_path / "roc.svg")
    saved = ElementTree.parse(tmp_path / "roc.svg").getroot()
    assert saved.tag == f"{SVG}svg"
    words = [each.text for each in saved.iter(f"{SVG}text")]
    assert "right ones dropped, %" in words
    assert words[: len(found)] == one.locator(".legend text").all_text_contents()[: len(found)]


@pytest.mark.parametrize("place", [0.02, 0.45, 0.55, 0.98])
def test_a_tip_is_whole(visit, served, place):
    page = visit(f"{served}/compare?dataset={RUN}&run={RUN}&signal=mimic&b=margin&keep=500")
    settle(page)
    one = figure(page, "Overlap of what A and B drop at every budget")
    places = np.array(numbers(one.locator(".of[data-name='these two'] .curve").get_attribute("d"))).reshape(-1, 2)
    x, y = places[round(place * (len(places) - 1))]
    box, tip = one.bounding_box(), one.locator("..").locator(".tip")
    page.mouse.move(box["x"] + x, box["y"] + y)
    expect(tip).not_to_be_empty()
    words = tip.bounding_box()
    assert box["x"] <= words["x"] <= words["x"] + words["width"] <= box["x"] + box["width"]
    assert box["y"] <= words["y"] <= words["y"] + words["height"] <= box["y"] + box["height"]


def test_all_words_of_a_saved_figure_lie_in_it(visit, chromium, served, tmp_path):
    page = visit(f"{served}/evaluate?dataset={RUN}&run={RUN}&by=class")
    settle(page)
    page.get_by_test_id("stButtonGroup").get_by_role("radio", name="svg").click()
    button = page.get_by_role("button", name=re.compile("^Save SVG: Estimated share"))
    with page.expect_download() as got:
        button.click()
    got.value.save_as(tmp_path / "shares.svg")
    reader = chromium.new_page()
    reader.set_content((tmp_path / "shares.svg").read_text(encoding="utf-8"))
    width = float(reader.locator("svg").get_attribute("width"))
    boxes = reader.evaluate(
        "[...document.querySelectorAll('text')].map((e) => { const b = e.getBBox(); return [b.x, b.width]; })"
    )
    turned = reader.locator("text[transform]").count()
    assert len(boxes) - turned > 5
    assert all(x >= -1 and x + wide <= width + 1 for x, wide in boxes[: len(boxes) - turned])
    reader.close()


def test_words_are_copied(chromium, served):
    context = chromium.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"{served}/evaluate?dataset={RUN}&run={RUN}")
    settle(page)
    block = page.locator(".block").first
    block.get_by_role("button", name="Copy").click()
    expect(block.get_by_role("status")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == block.locator("pre").inner_text()
    expect(block.get_by_role("status")).to_have_text("")
    # from another machine without TLS there is no clipboard
    page.evaluate("(window.board = navigator.clipboard).writeText('something else')")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    block.get_by_role("button", name="Copy").click()
    expect(block.get_by_role("status")).to_contain_text("Selected")
    page.keyboard.press("Control+c")
    assert page.evaluate("window.board.readText()") == block.locator("pre").inner_text()
    context.close()
