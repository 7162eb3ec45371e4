"""Bars: what they say is exact, also while a line or brush moves; the page follows it, and keys move it too."""

import re
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from playwright.sync_api import expect

from mimic.reports import text
from mimic.workspace.queries.connection import Published
from mimic.workspace.queries.dense import Dense
from mimic.workspace.queries.histogram import histogram
from mimic.workspace.queries.rows import judged
from tests.browser.conftest import brush, settle
from tests.pages.conftest import HOSTILE

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
def published(workspace):
    return Published.of(workspace.run(RUN), workspace.dataset(RUN))


@pytest.fixture(scope="module")
def every_score(workspace, published):
    return Dense(workspace, workspace.dataset(RUN)).scores(RUN, published.main)


@pytest.fixture(scope="module")
def scores(every_score):
    return np.sort(every_score[~np.isnan(every_score)])


def drag(page, share):
    """Take hold of the bars in their middle, drag to a share of their width; not let go yet."""
    to(page, 0.5)
    page.mouse.down()
    to(page, share)


def to(page, share):
    """The pointer to a share of the bars' width."""
    box = page.locator(".plot").bounding_box()
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


@pytest.fixture
def explore(visit, served):
    """Opens Explore with further parts of its address."""

    def opened(address=""):
        page = visit(f"{served}/explore?dataset={RUN}&run={RUN}&{address}")
        settle(page)
        page.locator(".inside path").first.wait_for(state="attached")
        return page

    return opened


def ends(page):
    """The scores low ≤ s < high that the address asks for."""
    asked = parse_qs(urlsplit(page.url).query)
    return float(asked.get("low", ["-inf"])[0]), float(asked.get("high", ["inf"])[0])


def shown(page):
    """How many samples the gallery has."""
    said = page.get_by_text(re.compile(r"^[\d,]+ samples")).first.inner_text()
    return int(said.split()[0].replace(",", ""))


def between(scores, low, high):
    return int(((scores >= low) & (scores < high)).sum())


def assert_follows(page, scores, said):
    """The page shows what the brush said: range and count."""
    expect(page.get_by_text(re.compile(rf"^{said.split()[-2]} samples"))).to_be_visible()
    settle(page)
    low, high = ends(page)
    assert said == f"{text.interval(low, high)}: {between(scores, low, high):,} samples"
    assert shown(page) == between(scores, low, high)


def assert_chosen(page, bars, first, last):
    """The page shows the bars from the first to before the last."""
    n = bars["n"][first:last].sum()
    expect(page.get_by_text(re.compile(rf"^{n:,} samples"))).to_be_visible()
    settle(page)
    assert ends(page) == (bars["low"][first], bars["high"][last - 1])


def test_a_brush_says_exact_counts_while_it_is_drawn_and_the_page_follows(explore, scores, published):
    page = explore()
    edges = {*histogram(published, published.main)["low"], *histogram(published, published.main)["high"]}
    for share in (0.2, 0.51, 0.9, 1.0):  # to the left, within a bar, to the right, to the open end
        drag(page, share)
        said, drawn = page.locator(".said").inner_text(), page.locator(".figure").get_attribute("style")
        page.mouse.up()
        assert_follows(page, scores, said)
        assert set(ends(page)) <= edges
        assert page.locator(".figure").get_attribute("style") == drawn  # it stays where it was let go
    assert ends(page)[1] == np.inf


def test_an_end_of_a_brush_is_dragged_on(explore, scores):
    page = explore()
    brush(page, 0.3, 0.6)
    low, high = ends(page)
    box = page.locator("[data-end=high]").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 4, box["y"] + 60)
    page.mouse.down()
    to(page, 0.8)
    said = page.locator(".said").inner_text()
    page.mouse.up()
    assert_follows(page, scores, said)
    assert (ends(page)[0], ends(page)[1] > high) == (low, True)


@pytest.mark.parametrize("way", ["click", "Escape", "button"])
def test_a_brush_is_lifted(explore, scores, way):
    page = explore("low=0.01&high=0.02")  # not where bars begin or end
    assert shown(page) == between(scores, 0.01, 0.02)
    if way == "click":
        to(page, 0.2)
        page.mouse.down()
        page.mouse.up()
    elif way == "Escape":
        page.get_by_role("slider", name="Lower end on").press("Escape")
    else:
        page.get_by_role("button", name="Clear the brush").click()
    expect(page.get_by_role("button", name="Clear the brush")).to_be_disabled()
    settle(page)
    assert (ends(page), shown(page)) == ((-np.inf, np.inf), scores.size)
    expect(page.locator(".window")).to_be_hidden()


def test_keys_move_both_ends_of_a_brush(explore, published):
    page = explore()
    bars = histogram(published, published.main)
    lower, upper = (page.get_by_role("slider", name=f"{name} end on") for name in ("Lower", "Upper"))
    lower.focus()
    for _ in range(5):  # faster than the page follows
        page.keyboard.press("ArrowRight")
    assert_chosen(page, bars, 5, len(bars))
    assert lower.get_attribute("aria-valuetext") == text.interval(*ends(page))
    upper.focus()
    page.keyboard.press("PageDown")
    assert_chosen(page, bars, 5, len(bars) - 10)
    page.keyboard.press("Home")  # no brush is without a bar
    assert_chosen(page, bars, 5, 6)
    page.keyboard.press("End")
    lower.press("Home")
    expect(page.get_by_role("button", name="Clear the brush")).to_be_disabled()


def test_a_drag_that_becomes_a_scroll_changes_nothing(explore):
    page = explore()
    brush(page, 0.3, 0.6)
    before = page.locator(".figure").evaluate("(figure) => figure.style.getPropertyValue('--high')")
    drag(page, 0.9)
    page.locator(".plot").dispatch_event("pointercancel")
    assert page.locator(".figure").evaluate("(figure) => figure.style.getPropertyValue('--high')") == before
    page.mouse.up()
    expect(page.locator(".said")).to_be_hidden()


@pytest.mark.parametrize(
    "answer", ["{first: -1, last: 3, turn: 1}", "{first: 2, last: 1e9, turn: 1}", "[0, '1']", "null"]
)
def test_what_a_browser_makes_up_is_left_out(explore, scores, answer):
    page = explore()
    page.locator(".figure").evaluate(f"(figure) => figure.tell({answer})")
    page.get_by_text("Log heights").click()
    page.wait_for_url(re.compile("log=True"))
    settle(page)
    assert (ends(page), shown(page)) == ((-np.inf, np.inf), scores.size)
    expect(page.get_by_test_id("stException")).to_have_count(0)


def tips(page, bars, down=60):
    """What is said over the middle of each bar."""
    box = page.locator(".plot").bounding_box()
    left, width = bars["left"].iloc[0], bars["right"].iloc[-1] - bars["left"].iloc[0]
    for middle in (bars["left"] + bars["right"]) / 2:
        page.mouse.move(box["x"] + box["width"] * (middle - left) / width, box["y"] + down)
        yield page.locator(".tip").inner_text()


def heights(page):
    """Of all bars, in parts of a hundred, as they are drawn."""
    shape = page.locator("path.outside").get_attribute("d")
    return np.array([100 - float(top) for top in re.findall(r"V([\d.e-]+)H", shape)])


@pytest.mark.parametrize("log", [False, True])
def test_bars_are_as_high_as_they_say_and_say_what_is_in_them(explore, published, log):
    page = explore(f"split=truth&log={log}")
    bars, known = histogram(published, published.main), judged(published)
    for bar, said in zip(bars.itertuples(), tips(page, bars), strict=True):
        inside = (known.signals[published.main] >= bar.low) & (known.signals[published.main] < bar.high)
        wrong, right = int((inside & known.wrong).sum()), int((inside & ~known.wrong).sum())
        words = f"{text.interval(bar.low, bar.high)}: {wrong + right} samples · wrong {wrong} · right {right}"
        assert said == words
    counts = bars["n"].to_numpy(dtype=float)
    if log:  # from half of the smallest count that is drawn
        smallest = histogram(published, published.main, "truth")["n"].min() / 2
        np.testing.assert_allclose(heights(page), 100 * np.log(counts / smallest) / np.log(counts.max() / smallest))
    else:
        np.testing.assert_allclose(heights(page), 100 * counts / counts.max())
    assert page.locator(".legend span").all_inner_texts() == ["wrong", "right"]


def test_a_class_says_where_its_scores_lie(explore, workspace, published, every_score):
    page = explore("split=class")
    bars, dataset = histogram(published, published.main), workspace.dataset(RUN)
    labels, _ = Dense(workspace, dataset).labels()
    names = page.locator(".strip .name").all_inner_texts()
    assert sorted(names) == sorted(dataset.classes)
    for place, name in enumerate(names):
        mine = every_score[(labels == dataset.classes.index(name)) & ~np.isnan(every_score)]
        strip = page.locator(".strip").nth(place)
        down = strip.bounding_box()["y"] - page.locator(".plot").bounding_box()["y"] + 9
        for bar, said in zip(bars.itertuples(), tips(page, bars, down), strict=True):
            assert (
                said == f"{name}, {text.interval(bar.low, bar.high)}: {between(mine, bar.low, bar.high)} of {mine.size}"
            )
        assert strip.get_attribute("aria-label") == f"{name}: {mine.size} samples"


def test_hostile_classes_are_words(visit, served):
    page = visit(f"{served}/explore?dataset=hostile&run=hostile&split=class")
    settle(page)
    expect(page.locator(".strip .name")).to_have_count(len(HOSTILE))
    assert sorted(page.locator(".strip .name").all_inner_texts()) == sorted(text.plain(name, 80) for name in HOSTILE)
    assert page.locator(".strip .name *").count() == 0


def test_every_class_says_how_much_of_it_is_kept(page):
    rows = page.locator("figure li")
    for title in [row.get_attribute("title") for row in rows.all()]:
        _, kept, of, dropped = re.fullmatch(r"(.*): ([\d,]+) of ([\d,]+) kept, ([\d,]+) dropped", title).groups()
        kept, of, dropped = (int(number.replace(",", "")) for number in (kept, of, dropped))
        assert kept + dropped == of
    shares = [float(share) for share in rows.locator(".number").all_inner_texts()]
    assert shares == sorted(shares)
    assert len(shares) > 1
