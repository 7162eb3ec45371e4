"""The rows of a rule that is built step by step: what each step goes by, how it is cut, and the rule that comes of it.

The expression is the truth. Widgets are made from it; a widget that is moved writes the expression anew. Widgets of one
`turn` belong together: whatever changes the steps themselves begins another turn, so that no old value comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from mimic.errors import MimicError
from mimic.filters.expression import expression
from mimic.filters.mean_rules import Draw, MeanRule
from mimic.filters.rule import Column, Rule
from mimic.filters.rules import VotesRule
from mimic.filters.signal_rules import Best, OfSignal, ShareRule, SplitRule, ThresholdRule
from mimic.filters.steps import Link, Step, joined, steps_of
from mimic.reports import text
from mimic.workspace.queries.bins import bins_of
from mimic.workspace.queries.dense import Dense
from pages.widgets import copied
from pages.widgets.frame import tell
from pages.widgets.runs import short_names

LINKS: dict[Link, str] = {"and": "and", "or": "or", "minus": "but not"}
CUTS = {"top": "best share", "bottom": "worst share", "line": "line", "mixture": "mixture", "two_means": "two groups"}
SHARES = {"top": 0.8, "bottom": 0.15}  # what a share begins with
MEANS = {"normal": "normal scores", "rank": "ranks", "score": "scores"}
VOTES = {"majority": "most of", "dawid_skene": "label model of"}

Take = Callable[[Rule], None]


def rows(rule: Rule, table: Dense, columns: Sequence[Column], turn: int, take: Take, counts: Sequence[str]) -> None:
    """A row a step.

    Args:
        rule: what is shown.
        columns: signals to choose from, those of the run at hand first.
        turn: part of every widget's key.
        take: called with the rule that comes of a change, in a callback.
        counts: what each step leaves, in words.
    """
    steps = steps_of(rule)
    named = _with(columns, [column for _, part in steps for column in part.columns])
    runs = short_names(table.workspace.run(run) for run in {column.run for column in named})

    def called(column: Column) -> str:
        own = column.run == columns[0].run
        return text.plain(column.signal, 40) + ("" if own else f" · {runs[column.run]}")

    for place, (link, part) in enumerate(steps):
        with st.container(border=True, gap="small"):
            head, foot = (st.container(horizontal=True, vertical_alignment="center", gap="small") for _ in range(2))
            foot.caption(counts[place], width="stretch")
            with head:
                row = _Row(steps, place, turn, take, called, foot)
                if place:
                    row.choice("link", list(LINKS), link, LINKS.get, 110)
                else:
                    st.markdown("keep", width="content")
                _part(row, part, table, columns)
                if len(steps) > 1:
                    rest = [step for other, step in enumerate(steps) if other != place]
                    foot.button(
                        "Remove", icon=":material/delete:", key=row.key("remove"), type="tertiary",
                        on_click=partial(take, joined(rest)),
                    )  # fmt: skip


class _Row:
    """One step's widgets: their keys, and what to do when one is moved."""

    def __init__(
        self, steps: list[Step], place: int, turn: int, take: Take, called: Callable[[Column], str],
        foot: DeltaGenerator,
    ) -> None:  # fmt: skip
        self._steps, self._place, self._turn, self._take = steps, place, turn, take
        self.called, self.foot = called, foot
        self.made: Callable[[], Rule] = lambda: steps[place][1]

    def key(self, name: str) -> str:
        return f"step {self._turn} {self._place} {name}"

    def get(self, name: str) -> Any:
        return st.session_state[self.key(name)]

    def moved(self) -> None:
        """The rule with this step as its widgets say now."""
        try:
            steps = list(self._steps)
            link = self.get("link") if self._place else "and"
            steps[self._place] = (link, self.made())
            self._take(joined(steps))
        except (MimicError, ValueError) as error:
            tell(text.markdown(str(error).splitlines()[0], 300), ":material/error:")

    def present(self, name: str, value: Any) -> str:
        """The key of a widget that begins with a value."""
        st.session_state.setdefault(self.key(name), value)
        return self.key(name)

    def choice(self, name: str, options: list[Any], value: Any, words: Callable[[Any], Any], width: int) -> Any:
        return st.selectbox(
            name, options, key=self.present(name, value), format_func=words, width=width, on_change=self.moved,
            label_visibility="collapsed",
        )  # fmt: skip


def _part(row: _Row, part: Rule, table: Dense, columns: Sequence[Column]) -> None:
    if isinstance(part, OfSignal):
        _of_signal(row, part, table, columns)
    elif isinstance(part, MeanRule) and part.draw.by == "top":
        row.choice("of", list(MEANS), part.of, lambda of: f"mean of {MEANS[of]}", 210)
        _several(row, part.signals, columns)
        _share(row, part.draw.at or 0.0)
        row.made = lambda: MeanRule(
            of=row.get("of"),
            signals=tuple(row.get("signals")),
            draw=Draw(by="top", at=row.get("share") / 100),
            drop_unscored=part.drop_unscored,
        )
    elif isinstance(part, VotesRule) and part.how in VOTES and all(isinstance(each, SplitRule) for each in part.rules):
        row.choice("how", list(VOTES), part.how, VOTES.get, 150)
        _several(row, [each.column for each in part.rules if isinstance(each, SplitRule)], columns)
        row.made = lambda: VotesRule(
            rules=tuple(SplitRule(**column.model_dump()) for column in row.get("signals")),
            how=row.get("how"),
            drop_unscored=part.drop_unscored,
        )
    else:
        copied.show(expression(part), key=row.key("words"))


def _of_signal(row: _Row, part: OfSignal, table: Dense, columns: Sequence[Column]) -> None:
    column = row.choice("signal", _with(columns, [part.column]), part.column, row.called, 170)
    cut = row.choice("cut", list(CUTS), _cut_of(part), CUTS.get, 130)
    kept: Best | None = None  # an amount that no slider can show stays as it is
    if cut in SHARES:
        best = part.best if isinstance(part, ShareRule) and part.side == cut else Best(share=SHARES[cut])
        if best.share is None or best.budgets:
            kept = best
            st.markdown(text.markdown(best.words), width="content")
        else:
            _share(row, best.share, f"share {cut}")
            if table.dataset.classes:
                row.foot.checkbox(
                    "of each class", key=row.present("by class", best.within == "class"), on_change=row.moved
                )
    elif cut == "line":
        _line(row, part, table, column)

    def made() -> Rule:
        now = row.get("cut")
        place = {**row.get("signal").model_dump(), "drop_unscored": part.drop_unscored}
        if now in SHARES:
            share = st.session_state.get(row.key(f"share {now}"), 100 * SHARES[now]) / 100
            within = "class" if st.session_state.get(row.key("by class")) else "all"
            best = kept if kept is not None and now == cut else Best(share=share, within=within)
            return ShareRule(side=now, best=best, **place)
        if now == "line":
            return ThresholdRule(threshold=_line_now(row, part, table), **place)
        return SplitRule(by=now, **place)

    row.made = made


def _cut_of(part: OfSignal) -> str:
    if isinstance(part, ShareRule):
        return part.side
    return part.by if isinstance(part, SplitRule) else "line"


def _line(row: _Row, part: OfSignal, table: Dense, column: Column) -> None:
    """A slider over the signal's usual range, which is made to hold the line."""
    line = part.threshold if isinstance(part, ThresholdRule) else 0.0
    low, high = _range(table, column)
    low, high = min(low, line), max(high, line)
    st.slider(
        "line", low, high, key=row.present(f"line {column}", line), step=(high - low) / 500 or 1.0, format="%.4g",
        on_change=row.moved, label_visibility="collapsed", width=140,
    )  # fmt: skip


def _line_now(row: _Row, part: OfSignal, table: Dense) -> float:
    """Where the slider stands; where the signal has none yet, the middle of its range."""
    column: Column = row.get("signal")
    low, high = _range(table, column)
    return float(st.session_state.get(row.key(f"line {column}"), (low + high) / 2))


def _range(table: Dense, column: Column) -> tuple[float, float]:
    bins = bins_of(table.published(column.run), column.signal)
    if not bins:
        raise MimicError(f"no sample of run {column.run} has the signal {column.signal!r}: choose another one")
    low, high = bins[0].high, bins[-1].low
    return (low, high) if low < high else (bins[0].low - 0.5, bins[0].low + 0.5)


def _several(row: _Row, present: Sequence[Column], columns: Sequence[Column]) -> None:
    st.multiselect(
        "signals", _with(columns, present), key=row.present("signals", list(present)),
        format_func=row.called, on_change=row.moved, label_visibility="collapsed", width=420,
    )  # fmt: skip


def _share(row: _Row, share: float, name: str = "share") -> None:
    """A slider in percent; a share between two of its steps stays what it is."""
    st.slider(
        "share", 0.0, 100.0, key=row.present(name, 100 * share), step=0.5, format="%.4g%%", on_change=row.moved,
        label_visibility="collapsed", width=140,
    )  # fmt: skip


def _with(columns: Sequence[Column], present: Sequence[Column]) -> list[Column]:
    return list(dict.fromkeys([*columns, *present]))
