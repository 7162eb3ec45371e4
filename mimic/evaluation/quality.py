"""Quality: which share of the given labels is right, with an interval, where nobody knows the truth. Higher is better.

What is needed is what a reference thinks of every sample: its log-probabilities r of the K classes, made without having
seen the given labels. Stages:

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
from scipy.special import log_softmax, softmax

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
        probabilities: (N, K) of the meant class, after the temperature, before the given label is looked at.
        spread: (K, K) S; T = I + rate · S.
        rate: ρ.
        influence: (N,) each sample's influence on the share, for intervals.
    """

    quality: Quality
    good: Floats
    labels: NDArray[np.int64]
    probabilities: Floats
    spread: Floats
    rate: float
    influence: Floats


def fit_quality(log_probs: NDArray[np.floating], labels: NDArray[np.integer]) -> Fit:
    """The share of right labels, and each label's probability to be right.

    Args:
        log_probs: (N, K) of a reference that was not trained on these labels, in nats.
        labels: (N,) the given labels, 0 … K−1.

    Raises:
        MimicError: fewer than 50 samples, or a single class.
    """
    r, y = log_softmax(log_probs.astype(np.float64), axis=1), labels.astype(np.int64)
    n, classes = r.shape
    if n < 50 or classes < 2:
        raise MimicError(
            f"{n} samples of {classes} classes cannot tell how many labels are wrong: 50 of 2 are the least"
        )
    models = [_maximise(r, y, _alike(classes))]
    if classes <= MOST_CLASSES:
        models.append(_maximise(r, y, _by_class(r, y, models[0])))
        gain = 2 * (models[1].likelihood - models[0].likelihood)
        more = classes * (classes - 1) - 1  # parameters
        by_class, surely = gain > 2 * more, gain > np.log(n) * more
    else:
        by_class = surely = False
    chosen = models[int(by_class)]
    shares = [chosen.share] + ([models[0].share] if by_class and not surely else [])
    if chosen.log_temperature < 0:
        shares.append(_maximise(r, y, chosen.spread, log_temperature=0.0).share)
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
    return Fit(quality, chosen.good(), y, chosen.probabilities(), chosen.spread, chosen.rate, influence)


def _note(temperature: float, ambiguous: bool) -> str:
    base = "Holds if the reference learnt from other samples with right labels and mistakes depend on the class only"
    if temperature < 0.85:
        return f"{base}; the reference looks too sure of itself here, which mistakes on hard pictures would also do."
    if ambiguous:
        return f"{base}; the interval covers both ways in which the mistakes may be spread."
    return f"{base}."


@dataclass(frozen=True)
class _Model:
    """A point of the model's parameters with the data that it is about."""

    r: Floats
    y: NDArray[np.int64]
    spread: Floats
    log_temperature: float
    rate: float

    def probabilities(self) -> Floats:
        p: Floats = softmax(np.exp(self.log_temperature) * self.r, axis=1)
        return p

    def terms(self) -> tuple[Floats, Floats]:
        """(N,) P(meant = given, given | picture) and P(given | picture)."""
        p = self.probabilities()
        own = p[np.arange(len(self.y)), self.y]
        right = own * (1 + self.rate * np.diag(self.spread)[self.y])
        return right, np.maximum(own + self.rate * np.einsum("nk,nk->n", p, self.spread.T[self.y]), 1e-12)

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

        own, n = scores(self), len(self.y)
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


def _by_class(r: Floats, y: NDArray[np.int64], start: _Model) -> Floats:
    """S by expectation maximisation over all of T, scaled so that ρ is the share of wrong labels."""
    classes = r.shape[1]
    transition = np.eye(classes) + max(start.rate, 0.05) * _alike(classes)
    log_temperature = start.log_temperature
    one_hot = np.eye(classes)[y]
    for turn in range(_ROUNDS):
        p = softmax(np.exp(log_temperature) * r, axis=1)
        q = p * transition.T[y]
        counts = (q / np.maximum(q.sum(axis=1, keepdims=True), 1e-300)).T @ one_hot
        wrong = 1 - np.trace(counts) / counts.sum()
        counts += _BELIEVED * (np.eye(classes) + wrong * _alike(classes))
        transition = counts / counts.sum(axis=1, keepdims=True)
        if turn % _EVERY == _EVERY - 1:
            log_temperature = _maximise(r, y, transition - np.eye(classes), rate=1.0).log_temperature
    meant = softmax(np.exp(log_temperature) * r, axis=1).mean(axis=0)
    off = transition - np.eye(classes)
    wrong = float(-(meant * np.diag(off)).sum())
    return _alike(classes) if wrong < 1e-6 else np.asarray(off / wrong)  # without mistakes there is no pattern


def _maximise(
    r: Floats, y: NDArray[np.int64], spread: Floats, log_temperature: float | None = None, rate: float | None = None
) -> _Model:
    """The likeliest (log a, ρ); either can be held."""
    most = min(1.0, 1 / max(float(-np.diag(spread).min()), 1e-9))  # T has no negative entry
    columns, rows = spread.T[y], np.arange(len(y))

    def loss(parameters: Floats) -> tuple[float, Floats]:
        log_a, rho = parameters
        a = np.exp(log_a)
        p = softmax(a * r, axis=1)
        own, mean = p[rows, y], np.einsum("nk,nk->n", p, r)
        shifted = p * columns
        every = np.maximum(own + rho * shifted.sum(axis=1), 1e-12)
        slope = own * r[rows, y] + rho * np.einsum("nk,nk->n", shifted, r) - every * mean
        gradient = np.array([-(a * slope / every).sum() + log_a / _PRIOR**2, -(shifted.sum(axis=1) / every).sum()])
        return -float(np.log(every).sum()) + 0.5 * (log_a / _PRIOR) ** 2, gradient

    held_a = (-_WIDE, _WIDE) if log_temperature is None else (log_temperature, log_temperature)
    held_rho = (0.0, most) if rate is None else (rate, rate)
    begin = [0.0 if log_temperature is None else log_temperature, min(0.2, most) if rate is None else rate]
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=[held_a, held_rho]).x
    return _Model(r, y, spread, float(found[0]), float(found[1]))
