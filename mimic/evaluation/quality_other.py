"""Quality from other evidence: an audit's verdicts, which need no assumption, or a score's two groups, which need many.

`with_audit` is prediction-powered inference (Angelopoulos et al. 2023, arXiv 2301.09633) on a stratified draw: what the
model believes of every sample, corrected by how far it was off on those that people judged. `mixture_quality` is the
paper's way, for scores whose reference is not at hand: the share of the higher of two normal distributions, where two
describe the scores better than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from mimic.data import counted
from mimic.evaluation.quality import LEVEL, Fit, Floats, Quality
from mimic.filters.binarise import fit_mixture

LEAST_VERDICTS = 30

_DRAWS = 40
_DRAWN = 1_000  # samples a draw: fits take their time, and a wider interval does no harm here


@dataclass(frozen=True)
class JudgedZone:
    """Samples of a zone that were drawn at random and judged.

    Attributes:
        size: samples of the whole zone.
        believed: (n,) the model's probabilities that their labels are right.
        right: (n,) whether people found them right.
    """

    size: int
    believed: Floats
    right: NDArray[np.bool_]


def with_audit(fit: Fit, zones: Sequence[JudgedZone]) -> Quality:
    """The share of right labels from verdicts on a random draw, sharpened by the model; it holds whatever the model is.

    Args:
        fit: the model of all the samples that the zones are made of.
        zones: every zone of the audit; each with at least two verdicts.

    Returns:
        The estimate; its interval is Student's.
    """
    total = sum(zone.size for zone in zones)
    share, variance, freedom = float(fit.good.mean()), 0.0, 0
    for zone in zones:
        off = zone.right - zone.believed
        n, weight = len(off), zone.size / total
        share += weight * float(off.mean())
        # one further surprise is counted in: a few verdicts without any do not prove that there are none
        spread = (float(np.square(off - off.mean()).sum()) + 1) / n
        variance += weight**2 * spread / n * max(1 - n / zone.size, 0.0)
        freedom += n - 1
    half = float(student.ppf(0.5 + LEVEL / 2, max(freedom, 1))) * np.sqrt(variance)
    verdicts = sum(len(zone.right) for zone in zones)
    return Quality(
        share=min(max(share, 0.0), 1.0),
        low=float(max(share - half, 0.0)),
        high=float(min(share + half, 1.0)),
        samples=len(fit.good),
        method="audit",
        pattern=fit.quality.pattern,
        temperature=fit.quality.temperature,
        note=f"From {counted(verdicts, 'verdict')} on a random draw, which hold whatever the reference is.",
    )


def known_quality(right: NDArray[np.bool_], total: int) -> Quality:
    """The share among samples whose truth is known, with Wilson's interval, which shrinks to a point as all are known.

    Args:
        right: (n,) of the known samples, at least one.
        total: samples there are, n or more.
    """
    n, share = len(right), float(right.mean())
    z = float(norm.ppf(0.5 + LEVEL / 2)) * np.sqrt(max(1 - n / total, 0.0))
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Quality(
        share=share,
        low=float(max(middle - half, 0.0)),
        high=float(min(middle + half, 1.0)),
        samples=total,
        method="truth",
        pattern=None,
        temperature=None,
        note=f"From the {counted(n, 'sample')} whose truth is known.",
    )


def mixture_quality(visits: NDArray[np.floating], seed: int = 0) -> Quality:
    """The share of the higher of two groups of scores, bootstrapped over samples and visits.

    Args:
        visits: (N, V) scores, NaN where a sample has none; a single column for a signal without visits.
        seed: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    scored = visits[~np.isnan(visits).all(axis=1)]
    n, columns = scored.shape
    share = _upper(np.nanmean(scored, axis=1))
    drawn = []
    for _ in range(_DRAWS):
        rows = scored[rng.integers(0, n, min(n, _DRAWN))][:, rng.integers(0, columns, columns)]
        means = np.nanmean(rows[~np.isnan(rows).all(axis=1)], axis=1)
        drawn.append(_upper(means))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Quality(
        share=share,
        low=float(min(low, share)),
        high=float(max(high, share)),
        samples=n,
        method="mixture",
        pattern=None,
        temperature=None,
        note="Two groups of scores are taken for right and wrong ones, which was off by up to 0.25 where it was "
        "tested: score with a reference, or audit, for an estimate to go by.",
    )


def _upper(scores: Floats) -> float:
    fitted = fit_mixture(scores)
    return 1.0 if fitted.crossing is None else fitted.shares[-1]
