"""Quality: which share of the given labels is right, with an interval, where nobody knows the truth. Higher is better.

What is needed is what a reference thinks of every sample: its log-probabilities r of the K classes, made without having
seen the given labels; or of a few classes, the others alike, which costs a few numbers a sample whatever K. Stages:

1. The model: the meant class z has P(z | picture) = softmax(a · r), and the given label y has P(y | z) = T[z, y], with
   T = I + ρ S. The temperature a corrects a reference that is too sure or not sure enough; ρ is the share of wrong
   labels; S says which class is taken for which: all alike, or class by class as EM finds it. The plainer S is kept
   unless the likelihood gains more than Akaike's criterion asks for.
2. Maximum likelihood of (log a, ρ), and with it the probability that each given label is the meant one; their mean is
   the share. The interval is the infinitesimal jackknife's, which is what the bootstrap over samples tends to.
3. What the data cannot settle widens the interval: both shapes of S where Schwarz's criterion would choose the other;
   a = 1 where a < 1 fits better, for mistakes on hard pictures look like a reference that is too sure of itself; and
   `ALLOWANCE` for whatever a temperature cannot mend.

It assumes that the reference learnt from other samples with right labels, and that mistakes depend on the class and not
on the picture. Mistakes on pictures that the reference gets wrong itself cannot be seen from here: an audit sees them
(`with_audit`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from mimic.errors import MimicError

Floats = NDArray[np.float64]

# Fixed on Fashion-MNIST with symmetric noise (benchmarks/evaluate.py) before CIFAR-10 and digits were looked at.
ALLOWANCE = 0.0075
LEVEL = 0.95
MOST_CLASSES = 200  # beyond, a matrix of mistakes has more entries than anybody has mistakes

_Z = 1.959964
_WIDE = np.log(6.0)  # a temperature beyond 1/6 … 6 is no correction of a model any more
_PRIOR = 0.5  # deviation of log a beforehand: matters for a few hundred samples only
_ROUNDS, _EVERY = 30, 5  # of EM, and how often it looks at the temperature again
_BELIEVED = 10.0  # mistakes a class, spread evenly, that EM believes in beforehand
_STEP = 1e-4
_REST = 1e-9  # probability that is left to the other classes at least
_NONE = -1e3  # log-probability in a cell without a class: it adds nothing, and is a number


@dataclass(frozen=True)
class Quality:
    """An estimated share of right labels.

    Attributes:
        share, low, high: the estimate with its 95 % interval, 0 … 1.
        samples: how many labels it is about.
        method: what it rests on.
        pattern: how mistakes are spread: alike over the classes, or class by class; None where that plays no part.
        temperature: a, 1 for a reference whose probabilities hold; None where that plays no part.
        note: what to bear in mind, in a sentence.
    """

    share: float
    low: float
    high: float
    samples: int
    method: Literal["reference", "mixture", "audit", "truth"]
    pattern: Literal["alike", "by class"] | None
    temperature: float | None
    note: str

    @property
    def noisy(self) -> bool:
        """Whether some labels are wrong beyond doubt: the whole interval lies below 1."""
        return self.high < 1.0


@dataclass(frozen=True)
class Fit:
    """The fitted model, beside what each sample says under it.

    Attributes:
        quality: of the whole set.
        good: (N,) probability that the given label is the meant one.
        labels: (N,) the given labels.
        rate: ρ; T = I + rate · S.
        influence: (N,) each sample's influence on the share, for intervals.
    """

    quality: Quality
    good: Floats
    labels: NDArray[np.int64]
    rate: float
    influence: Floats
    _model: _Model

    def probabilities(self) -> Floats:
        """(N, K) of the meant class, after the temperature, before the given label is looked at."""
        return self._model.views.spread_out(self._model.probabilities())

    def spread(self) -> Floats:
        """(K, K) S."""
        spread = self._model.spread
        return _alike(self._model.views.classes) if spread is None else spread


def fit_quality(
    log_probs: NDArray[np.floating],
    labels: NDArray[np.integer],
    codes: NDArray[np.integer] | None = None,
    classes: int | None = None,
) -> Fit:
    """The share of right labels, and each label's probability to be right.

    Args:
        log_probs: (N, K) of a reference that was not trained on these labels, in nats; with `codes` (N, M), of the
            classes that they name.
        labels: (N,) the given labels, 0 … K−1.
        codes: (N, M) classes, no class twice in a row, −1 for none. What they leave of the probability is spread over
            the other classes alike.
        classes: K, where `codes` are given.

    Raises:
        MimicError: fewer than 50 samples, or a single class.
    """
    n, classes = len(labels), classes or log_probs.shape[1]
    if n < 50 or classes < 2:
        raise MimicError(
            f"{n} samples of {classes} classes cannot tell how many labels are wrong: 50 of 2 are the least"
        )
    views = _views(log_probs.astype(np.float64), labels.astype(np.int64), codes, classes)
    models = [_maximise(views, None)]
    if classes <= MOST_CLASSES:
        models.append(_maximise(views, _by_class(models[0])))
        gain = 2 * (models[1].likelihood - models[0].likelihood)
        more = classes * (classes - 1) - 1  # parameters
        by_class, surely = gain > 2 * more, gain > np.log(n) * more
    else:
        by_class = surely = False
    chosen = models[int(by_class)]
    shares = [chosen.share] + ([models[0].share] if by_class and not surely else [])
    if chosen.log_temperature < 0:
        shares.append(_maximise(views, chosen.spread, log_temperature=0.0).share)
    influence = chosen.influence()
    half = _Z * float(influence.std()) / np.sqrt(n) + ALLOWANCE
    quality = Quality(
        share=chosen.share,
        low=float(max(min(shares) - half, 0.0)),
        high=float(min(max(shares) + half, 1.0)),
        samples=n,
        method="reference",
        pattern="by class" if by_class else "alike",
        temperature=float(np.exp(chosen.log_temperature)),
        note=_note(float(np.exp(chosen.log_temperature)), len(shares) > 1),
    )
    return Fit(quality, chosen.good(), views.y, chosen.rate, influence, chosen)


def _note(temperature: float, ambiguous: bool) -> str:
    base = "Holds if the reference learnt from other samples with right labels and mistakes depend on the class only"
    if temperature < 0.85:
        return f"{base}; the reference looks too sure of itself here, which mistakes on hard pictures would also do."
    if ambiguous:
        return f"{base}; the interval covers both ways in which the mistakes may be spread."
    return f"{base}."


@dataclass(frozen=True)
class _Views:
    """Log-probabilities by cells: a class each, and last all classes together that are in none, which are alike.

    Attributes:
        y: (N,) the given labels.
        classes: K.
        codes: (N, C) the class of each cell; −1 in the last, and where fewer are named.
        r: (N, C) the log-probability of each class of a cell.
        counts: (N, C) how many classes a cell has.
        own: (N,) the cell of the given label.
    """

    y: NDArray[np.int64]
    classes: int
    codes: NDArray[np.int64]
    r: Floats
    counts: Floats
    own: NDArray[np.int64]

    def softmax(self, temperature: float) -> Floats:
        """(N, C) probability of each class of a cell."""
        p: Floats = np.exp(temperature * self.r)  # the likeliest has 1/K or more, so it needs no shift
        p /= self.total(p)[:, None]
        return p

    def total(self, values: Floats) -> Floats:
        """(N,) Σ over all classes of a value that those of a cell share."""
        total: Floats = np.einsum("nc,nc->n", self.counts, values)
        return total

    def of_given(self, values: Floats) -> Floats:
        """(N,) the value of the given label."""
        found: Floats = np.take_along_axis(values, self.own[:, None], axis=1)[:, 0]
        return found

    def sums(self, matrix: Floats | None) -> Floats:
        """(N, C) Σ over the classes of a cell of the entry in the given label's column; None: of `_alike`."""
        if matrix is None:
            other = 1 / (self.classes - 1)
            sums: Floats = other * self.counts
            sums[np.arange(len(self.y)), self.own] -= 1 + other
            return sums
        sums = np.where(self.codes >= 0, matrix[self.codes, self.y[:, None]], 0.0)
        sums[:, -1] = matrix.sum(axis=0)[self.y] - sums.sum(axis=1)
        return sums

    def spread_out(self, values: Floats) -> Floats:
        """(N, K) the value of every class."""
        every = np.repeat(values[:, -1:], self.classes, axis=1)
        rows, cells = np.nonzero(self.codes >= 0)
        every[rows, self.codes[rows, cells]] = values[rows, cells]
        return every


def _views(r: Floats, y: NDArray[np.int64], codes: NDArray[np.integer] | None, classes: int) -> _Views:
    n = len(y)
    named = np.broadcast_to(np.arange(classes), (n, classes)) if codes is None else codes
    cells = np.concatenate([named, np.full((n, 1), -1)], axis=1).astype(np.int64)
    counts = (cells >= 0).astype(np.float64)
    counts[:, -1] = classes - counts.sum(axis=1)
    r = np.concatenate([r, np.full((n, 1), _NONE)], axis=1)
    r[counts == 0] = _NONE
    rest = counts[:, -1] > 0
    left = np.maximum(1 - np.exp(r[rest]).sum(axis=1), _REST)
    r[rest, -1] = np.log(left / counts[rest, -1])
    most = r.max(axis=1, keepdims=True)
    r -= most + np.log((counts * np.exp(r - most)).sum(axis=1, keepdims=True))
    given = cells == y[:, None]
    own = np.where(given.any(axis=1), given.argmax(axis=1), cells.shape[1] - 1)
    return _Views(y, classes, cells, r, counts, own)


@dataclass(frozen=True)
class _Model:
    """A point of the model's parameters with the data that it is about; without S mistakes are `_alike`."""

    views: _Views
    spread: Floats | None
    sums: Floats  # of S, by cells
    log_temperature: float
    rate: float

    def probabilities(self) -> Floats:
        """(N, C) of each class of a cell."""
        return self.views.softmax(float(np.exp(self.log_temperature)))

    def terms(self) -> tuple[Floats, Floats]:
        """(N,) P(meant = given, given | picture) and P(given | picture)."""
        p = self.probabilities()
        own = self.views.of_given(p)
        diagonal = -1.0 if self.spread is None else np.diag(self.spread)[self.views.y]
        right = own * (1 + self.rate * diagonal)
        return right, np.maximum(own + self.rate * np.einsum("nc,nc->n", p, self.sums), 1e-12)

    @property
    def likelihood(self) -> float:
        return float(np.log(self.terms()[1]).sum())

    def good(self) -> Floats:
        right, every = self.terms()
        return np.clip(right / every, 0.0, 1.0)

    @property
    def share(self) -> float:
        return float(self.good().mean())

    def influence(self) -> Floats:
        """(N,) by how much the share would move per unit weight of each sample, times N."""

        def scores(model: _Model) -> Floats:  # (N, 2): derivatives of each log-likelihood
            moved = [model.moved(at, by) for at in (0, 1) for by in (_STEP, -_STEP)]
            logs = [np.log(each.terms()[1]) for each in moved]
            return np.stack([logs[0] - logs[1], logs[2] - logs[3]], axis=1) / (2 * _STEP)

        own, n = scores(self), len(self.views.y)
        steps = [(self.moved(at, _STEP), self.moved(at, -_STEP)) for at in (0, 1)]
        hessian = np.stack([(scores(up).mean(axis=0) - scores(down).mean(axis=0)) / (2 * _STEP) for up, down in steps])
        hessian -= np.diag([1 / (_PRIOR**2 * n), 1e-9])
        slope = np.array([(up.share - down.share) / (2 * _STEP) for up, down in steps])
        good = self.good()
        moves: Floats = good - good.mean() - (own - own.mean(axis=0)) @ np.linalg.solve(hessian.T, slope)
        return moves

    def moved(self, parameter: int, by: float) -> _Model:
        if parameter == 0:
            return replace(self, log_temperature=self.log_temperature + by)
        return replace(self, rate=self.rate + by)


def _alike(classes: int) -> Floats:
    """S for mistakes that are spread over all other classes alike."""
    spread = np.full((classes, classes), 1 / (classes - 1))
    np.fill_diagonal(spread, -1.0)
    return spread


def _by_class(start: _Model) -> Floats | None:
    """S by expectation maximisation over all of T, scaled so that ρ is the share of wrong labels."""
    views, classes = start.views, start.views.classes
    transition = np.eye(classes) + max(start.rate, 0.05) * _alike(classes)
    log_temperature = start.log_temperature
    for turn in range(_ROUNDS):
        p = views.softmax(float(np.exp(log_temperature)))
        counts = _meant(views, p, transition)
        wrong = 1 - np.trace(counts) / counts.sum()
        counts += _BELIEVED * (np.eye(classes) + wrong * _alike(classes))
        transition = counts / counts.sum(axis=1, keepdims=True)
        if turn % _EVERY == _EVERY - 1:
            log_temperature = _maximise(views, transition - np.eye(classes), rate=1.0).log_temperature
    meant = views.spread_out(views.softmax(float(np.exp(log_temperature)))).mean(axis=0)
    off = transition - np.eye(classes)
    wrong = float(-(meant * np.diag(off)).sum())
    return None if wrong < 1e-6 else np.asarray(off / wrong)  # without mistakes there is no pattern


def _meant(views: _Views, p: Floats, transition: Floats) -> Floats:
    """(K, K) how many samples are expected to mean the row's class and were given the column's."""
    classes = views.classes
    weights = p / np.maximum((p * views.sums(transition)).sum(axis=1, keepdims=True), 1e-300)
    rest = weights[:, -1:]
    # every class as those of the last cell, then each of the other cells by what it differs
    counts = np.broadcast_to(np.bincount(views.y, rest[:, 0], classes), (classes, classes)).ravel()
    entries = np.where(views.codes >= 0, views.codes * classes + views.y[:, None], classes * classes)
    more = np.bincount(entries.ravel(), (weights - rest).ravel(), classes * classes + 1)[:-1]
    return (counts + more).reshape(classes, classes) * transition


def _maximise(
    views: _Views, spread: Floats | None, log_temperature: float | None = None, rate: float | None = None
) -> _Model:
    """The likeliest (log a, ρ); either can be held."""
    # T has no negative entry
    most = 1.0 if spread is None else min(1.0, 1 / max(float(-np.diag(spread).min()), 1e-9))
    sums = views.sums(spread)
    own_r, r = views.of_given(views.r), views.counts * views.r

    def loss(parameters: Floats) -> tuple[float, Floats]:
        log_a, rho = parameters
        a = float(np.exp(log_a))
        p = views.softmax(a)
        own, mean = views.of_given(p), np.einsum("nc,nc->n", p, r)
        shifted = p * sums
        change = shifted.sum(axis=1)
        every = np.maximum(own + rho * change, 1e-12)
        slope = own * own_r + rho * np.einsum("nc,nc->n", shifted, views.r) - every * mean
        gradient = np.array([-(a * slope / every).sum() + log_a / _PRIOR**2, -(change / every).sum()])
        return -float(np.log(every).sum()) + 0.5 * (log_a / _PRIOR) ** 2, gradient

    held_a = (-_WIDE, _WIDE) if log_temperature is None else (log_temperature, log_temperature)
    held_rho = (0.0, most) if rate is None else (rate, rate)
    begin = [0.0 if log_temperature is None else log_temperature, min(0.2, most) if rate is None else rate]
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=[held_a, held_rho]).x
    return _Model(views, spread, sums, float(found[0]), float(found[1]))
