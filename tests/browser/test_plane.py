"""The planes of Compare: they say exactly what lies where; lines and marks stand where the scores do."""

import numpy as np
import pytest
from playwright.sync_api import expect

from mimic.data import counted
from mimic.evaluation import ruling
from mimic.filters.signal_rules import Best, ShareRule
from mimic.reports import text
from mimic.workspace.decisions import Subject
from mimic.workspace.filters import save_filter
from mimic.workspace.queries.dense import Dense
from tests.browser.conftest import settle

pytestmark = pytest.mark.browser
RUN = "synthetic-900"
AT = f"dataset={RUN}&run={RUN}&signal=mimic&b=margin"


@pytest.fixture(scope="module")
def table(workspace):
    return Dense(workspace, workspace.dataset(RUN))


@pytest.fixture(scope="module")
def rules(table):
    return [ShareRule(run=RUN, signal=signal, best=Best(count=500)) for signal in ("mimic", "margin")]


def plane(page, name):
    one = page.get_by_role("img", name=name)
    expect(one.locator(".x span").first).to_be_attached()  # drawn
    return one


def pointed_at(page, one, x, y):
    """What the tip says at a place, shares of the plane from the left and from below."""
    box = one.locator(".plot").bounding_box()
    page.mouse.move(box["x"] + x * box["width"], box["y"] + (1 - y) * box["height"])
    return one.locator(".tip")


def within(edges, values):
    return np.clip((np.asarray(values) - edges[0]) / (edges[-1] - edges[0]), 0, 1)


def place(one, line, axis, size):
    """Where a line or a mark stands: a share of the plane."""
    box, plot = line.bounding_box(), one.locator(".plot").bounding_box()
    return (box[axis] + box[size] / 2 - plot[axis]) / plot[size]


def test_every_cell_says_its_count_and_empty_ones_are_empty(visit, served, table, rules):
    page = visit(f"{served}/compare?{AT}&keep=500")
    settle(page)
    found = ruling.likeness(*rules, table).density
    one = plane(page, "Where samples lie on mimic and margin")
    pixels = one.locator("canvas").evaluate(
        "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
    )
    drawn = np.array(pixels).reshape(*found.counts.shape, 4)[::-1]  # rows upwards, as the counts
    assert ((drawn[..., 3] > 0) == (found.counts > 0)).all()
    darker = np.argsort(drawn[..., :3].sum(axis=-1)[found.counts > 0])
    assert (np.diff(found.counts[found.counts > 0][darker]) <= 0).all()
    cells = len(found.counts)
    rng = np.random.default_rng(0)
    full, empty = np.argwhere(found.counts > 0), np.argwhere(found.counts == 0)
    corners = [np.array(at) for at in np.argwhere(found.counts == found.counts.max())]
    for row, column in [*rng.permutation(full)[:6], *corners[:1]]:
        middle = [(edges[at] + edges[at + 1]) / 2 for edges, at in ((found.a, column), (found.b, row))]
        number = counted(int(found.counts[row, column]), "sample")
        words = f"{number} near ({text.score(middle[0])}, {text.score(middle[1])})"
        expect(pointed_at(page, one, (column + 0.5) / cells, (row + 0.5) / cells)).to_have_text(words)
    row, column = empty[0]
    expect(pointed_at(page, one, (column + 0.5) / cells, (row + 0.5) / cells)).to_have_text("")


def test_lines_stand_where_the_scores_are_cut_and_move_with_the_budget_alone(visit, served, table, rules):
    page = visit(f"{served}/compare?{AT}&keep=500")
    settle(page)
    found = ruling.likeness(*rules, table).density
    one = plane(page, "Where samples lie on mimic and margin")
    for name in ("only A drops", "both keep", "both drop", "only B drops"):
        expect(one.get_by_text(name)).to_be_visible()
    one.locator("canvas").evaluate("canvas => (canvas.before = true)")
    first = one.locator(".y span").first.evaluate("tick => ((tick.before = true), tick.dataset.words)")

    def stand(keep):
        cut = [within(edges, rule.model_copy(update={"best": Best(count=keep)}).line(table)[1])
               for rule, edges in zip(rules, (found.a, found.b), strict=True)]  # fmt: skip
        assert place(one, one.locator(".line.up"), "x", "width") == pytest.approx(cut[0], abs=0.005)
        assert place(one, one.locator(".line.across"), "y", "height") == pytest.approx(1 - cut[1], abs=0.005)

    stand(500)
    page.get_by_role("slider", name="Samples that each").focus()
    page.keyboard.press("PageUp")
    page.wait_for_url(lambda url: "keep=500" not in url)
    settle(page)
    stand(int(page.get_by_role("slider", name="Samples that each").input_value()))
    # what no budget changes is not drawn again
    assert one.locator("canvas").evaluate("canvas => canvas.before")
    assert one.locator(".y span").first.evaluate("tick => tick.before && tick.dataset.words") == first


def test_decisions_are_marks_with_a_shape_each(visit, served, table, rules, decisions):
    found = ruling.likeness(*rules, table).density
    scores = [table.scores(RUN, signal) for signal in ("mimic", "margin")]
    both = np.flatnonzero(~np.isnan(scores[0]) & ~np.isnan(scores[1]))
    # three that lie well apart, so that each can be pointed at
    a, b = (within(edges, score[both]) for edges, score in zip((found.a, found.b), scores, strict=True))
    apart = [both[np.argmin(a)], both[np.argmax(a)], both[np.argmin(np.hypot(a - 0.5, b - 0.5))]]
    for sample, action in zip(apart, ("keep", "drop", "drop"), strict=True):
        decisions.record("marker", action, Subject(int(sample), f"id-{sample:09}", None, RUN))
    try:
        page = visit(f"{served}/compare?{AT}&keep=500")
        settle(page)
        one = plane(page, "Where samples lie on mimic and margin")
        marks = one.locator(".marks span")
        expect(marks.first).to_be_attached()
        for sample, words in zip(apart, ("kept", "dropped", "dropped"), strict=True):
            x, y = (
                float(within(edges, score[sample])) for edges, score in zip((found.a, found.b), scores, strict=True)
            )
            values = [text.score(float(score[sample])) for score in scores]
            said = f"{words} by a person ({values[0]}, {values[1]})"
            expect(pointed_at(page, one, min(max(x, 0.002), 0.998), min(max(y, 0.002), 0.998))).to_have_text(said)
        shapes = {
            action: one.locator(f".marks [data-action={action}]").first.evaluate(
                "mark => [getComputedStyle(mark).clipPath, getComputedStyle(mark, '::after').backgroundColor].join()"
            )
            for action in ("keep", "drop")
        }
        assert len(set(shapes.values())) == 2
        assert all(shape.startswith("polygon") for shape in shapes.values())
    finally:
        for _ in apart:
            decisions.undo("marker")


def test_a_filter_without_a_line_has_none_and_no_corners(visit, served, workspace, table):
    rule = {
        "kind": "mean",
        "signals": [{"run": RUN, "signal": "mimic"}, {"run": RUN, "signal": "margin"}],
        "draw": {"by": "top", "at": 0.5},
    }
    save_filter(workspace, "meant", RUN, rule, {"kept": 1, "dropped": 1, "not_scored": 0})
    try:
        page = visit(f"{served}/compare?{AT}&b=filter+meant&keep=500".replace("&b=margin", ""))
        settle(page)
        one = plane(page, "Where samples lie on mimic and filter meant")
        expect(one.locator(".line.up")).to_be_visible()
        expect(one.locator(".line.across")).to_be_hidden()
        assert one.locator(".corners span").count() == 0
    finally:
        next(path for path in workspace.filters() if path.stem == "meant").unlink()
