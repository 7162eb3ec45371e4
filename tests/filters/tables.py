"""A table of scores in memory, and rules drawn at random over it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from mimic.filters.mean_rules import Draw, MeanRule, VisitsRule
from mimic.filters.rules import AndRule, MinusRule, OrRule, VotesRule
from mimic.filters.signal_rules import Best, ShareRule, SplitRule, ThresholdRule

RUNS = ("r", "other-run")
SIGNALS = ("mimic", "clip", 'a signal, "quoted"')
CLASSES = ["cat", "dog", "a-b"]


@dataclass(frozen=True)
class Arrays:
    """The table that rules read, with nothing behind it. (run, signal) → scores; run → visits × samples."""

    columns: dict[tuple[str, str], np.ndarray]
    codes: np.ndarray
    visited: dict[str, np.ndarray] = field(default_factory=dict)
    names: tuple[str, ...] = tuple(CLASSES)

    @property
    def size(self) -> int:
        return len(self.codes)

    def scores(self, run: str, signal: str) -> np.ndarray:
        return self.columns[run, signal]

    def visits(self, run: str, measure: str) -> Iterator[np.ndarray]:
        yield from self.visited[run]

    def labels(self) -> tuple[np.ndarray, Sequence[str]]:
        return self.codes, list(self.names)

    def remembered(self, runs: frozenset[str], what: Hashable, make: Callable[[], object]) -> object:
        hash(what)
        return make()


def table(seed: int, size: int = 60) -> Arrays:
    """Few distinct values, so that ties are many; a tenth is not scored; every run and signal has some score."""
    rng = np.random.default_rng(seed)
    columns = {}
    for key in ((run, signal) for run in RUNS for signal in SIGNALS):
        scores = rng.integers(-4, 5, size).astype(np.float32) / 4
        scores[rng.random(size) < 0.1] = np.nan
        scores[0] = 0.5
        columns[key] = scores
    visits = rng.normal(size=(4, size)).astype(np.float32) + rng.normal(size=size).astype(np.float32)
    visits[rng.random(visits.shape) < 0.2] = np.nan
    visits[:, 0] = 1.0
    return Arrays(columns, rng.integers(-1, len(CLASSES), size).astype(np.int32), {"r": visits})


shares = st.integers(1, 100).map(lambda percent: percent / 100) | st.floats(0.001, 1)
finite = st.floats(-2, 2) | st.floats(allow_nan=False, allow_infinity=False)
names = st.fixed_dictionaries({"run": st.sampled_from(RUNS), "signal": st.sampled_from(SIGNALS)})
unscored = st.booleans()
draws = (
    st.builds(Draw, by=st.just("line"), at=finite)
    | st.builds(Draw, by=st.just("top"), at=shares)
    | st.builds(Draw, by=st.sampled_from(["two_means", "mixture"]))
)


def _best(within: str, budgets: dict[str, float], share: float | None, count: int | None) -> Best:
    turned = {name: budget if share is not None else round(budget * 40) for name, budget in budgets.items()}
    return Best(share=share, count=count, within=within, budgets=turned if within == "class" else {})


amounts = st.tuples(shares, st.none()) | st.tuples(st.none(), st.integers(0, 70))
bests = st.tuples(
    st.sampled_from(["all", "class"]), st.dictionaries(st.sampled_from(CLASSES), shares, max_size=2), amounts
).map(lambda drawn: _best(drawn[0], drawn[1], *drawn[2]))
leaves = (
    st.builds(lambda n, t, u: ThresholdRule(**n, threshold=t, drop_unscored=u), names, finite, unscored)
    | st.builds(
        lambda n, s, b, u: ShareRule(**n, side=s, best=b, drop_unscored=u),
        names, st.sampled_from(["top", "bottom"]), bests, unscored,
    )
    | st.builds(lambda n, b: SplitRule(**n, by=b), names, st.sampled_from(["two_means", "mixture"]))
    | st.builds(
        lambda s, o, d: MeanRule(signals=s, of=o, draw=d),
        st.lists(names, min_size=2, max_size=3), st.sampled_from(["normal", "rank", "score"]), draws,
    )
    | st.builds(
        lambda m, d, mean: VisitsRule(run="r", measure=m, draw=d, mean=mean),
        st.sampled_from(["score", "weight", "margin", "neg_loss"]), draws, st.sampled_from([None, "score", "normal"]),
    )
    | st.builds(lambda d, h: VisitsRule(run="r", draw=d, how=h), draws, st.sampled_from(["majority", "dawid_skene"]))
    | st.builds(
        lambda w: VisitsRule(run="r", how="weighted", weights=w), st.lists(st.floats(0, 9), min_size=4, max_size=4)
    )
)  # fmt: skip


def _combined(inner: st.SearchStrategy) -> st.SearchStrategy:
    several = st.lists(inner, min_size=2, max_size=3)
    return (
        st.builds(lambda r, u: AndRule(rules=r, drop_unscored=u), several, unscored)
        | st.builds(lambda r, u: OrRule(rules=r, drop_unscored=u), several, unscored)
        | st.builds(lambda a, b, u: MinusRule(of=a, without=b, drop_unscored=u), inner, inner, unscored)
        | st.builds(lambda r, h: VotesRule(rules=r, how=h), several, st.sampled_from(["majority", "dawid_skene"]))
        | st.lists(st.tuples(inner, st.floats(0, 9)), min_size=2, max_size=3).map(
            lambda p: VotesRule(rules=[r for r, _ in p], how="weighted", weights=[w for _, w in p])
        )
    )


rules = st.recursive(leaves, _combined, max_leaves=6)
