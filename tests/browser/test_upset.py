"""Who drops together: the bars and dots on Compare say what the votes say one by one."""

from itertools import product

import numpy as np
import pytest
from playwright.sync_api import expect

from mimic.filters.signal_rules import Best, ShareRule
from mimic.workspace.filters import save_filter
from mimic.workspace.queries.dense import Dense
from tests.browser.conftest import settle

pytestmark = pytest.mark.browser
RUN = "synthetic-900"
SIGNALS = ("mimic", "margin", "ref_logprob")
NAME = "a.third"  # a filter's, in place of the last signal


def test_every_combination_has_a_bar_and_its_dots(visit, served, workspace):
    table = Dense(workspace, workspace.dataset(RUN))
    rules = [ShareRule(run=RUN, signal=signal, best=Best(count=600)) for signal in SIGNALS]
    truth = table.truth()
    save_filter(workspace, NAME, RUN, rules[2].model_dump(mode="json"), {"kept": 1, "dropped": 1, "not_scored": 1})
    try:
        page = visit(f"{served}/compare?dataset={RUN}&run={RUN}&signal=mimic&b=margin&also=filter+{NAME}&keep=600")
        settle(page)
        figure = page.get_by_role("group", name="How many samples each combination of the filters drops")
        columns = figure.get_by_role("list", name="Dropped together").get_by_role("listitem")
        expect(columns.first).to_be_visible()
        votes = np.array([rule.votes(table).votes for rule in rules])
        everyone = (votes >= 0).all(axis=0)
        names = ["mimic", "margin", f"filter {NAME}"]
        expected = {}
        for pattern in product((0, 1), repeat=3):
            mine = everyone & (votes == np.array(pattern)[:, None]).all(axis=0)
            drops = [place for place, vote in enumerate(pattern) if vote == 0]
            if drops and mine.any():
                wrong = f", {(mine & truth.wrong).sum() / (mine & truth.known).sum():.0%} wrong"
                who = " and ".join(names[place] for place in drops)
                expected[f"{mine.sum():,} dropped by {who} only{wrong}"] = (mine.sum(), drops)
        found = {}
        for column in columns.all():
            number = int(column.locator(".height span").inner_text().replace(",", ""))
            dots = column.locator(".dot").evaluate_all("dots => dots.map((dot) => dot.classList.contains('on'))")
            found[column.get_attribute("aria-label")] = (number, np.flatnonzero(dots).tolist())
        assert found == expected
        assert [number for number, _ in found.values()] == sorted((n for n, _ in expected.values()), reverse=True)
        heights = [column.locator(".bar").bounding_box()["height"] for column in columns.all()]
        numbers = np.array([number for number, _ in found.values()])
        np.testing.assert_allclose(np.array(heights) / heights[0], numbers / numbers[0], atol=0.02)
        members = figure.get_by_role("list", name="Dropped by each").get_by_role("listitem")
        dropped = (votes == 0)[:, everyone].sum(axis=1)
        assert members.evaluate_all("all => all.map((one) => one.getAttribute('aria-label'))") == [
            f"{name}: {number:,} dropped" for name, number in zip(names, dropped, strict=True)
        ]
        columns.first.hover()
        expect(figure.locator(".tip")).to_have_text(next(iter(found)))
    finally:
        next(path for path in workspace.filters() if path.stem == NAME).unlink()
