"""Is this reference fit to judge these labels or captions? A finished run → Good, Weak or Do not use, in one sentence.

Two things must hold. The reference lies downhill: the mean Mimic Score, which is the slope of the mean loss towards it,
is above 0 with its whole 95 % interval. And the reference knows the labels: it agrees with more of them than the start
does, and than always saying the commonest class does, by more than chance (the same samples are compared, so the
standard error is the paired one). To agree with a caption is to find it for its image among those of the batch, and
there is no commonest one. The first alone would pass half of all random directions: on thousands of samples any slope
is significant, and the sign is a coin's.

Three more are grounds for doubt, where they were measured: start and reference have unrelated weights, so that the way
from one to the other is no training's; the start knows the labels no better than the commonest class does; or the score
ranks the samples against the reference's own view of them.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mimic.evaluation.agreement import rank_correlation

Verdict = Literal["Good", "Weak", "Do not use"]

GOOD_LEAD = 0.05  # above chance: what a filter can win is bounded by what the reference knows and the start does not
# Cosine of the weights outside the head. Of two initialisations it is about 0; of a start and what was trained from it
# .9 and more (docs/models.md), less only after long training from random weights.
UNRELATED, RELATED = 0.3, 0.6
ORACLE = 0.995  # agreement beyond which the reference may have learnt these very samples
FEW = 300  # samples below which a verdict is a first impression: a share of so many is known to ± 6 points
_Z = 1.96
_CHANCE = 2.0  # standard errors


@dataclass(frozen=True)
class Lead:
    """How many more of the given labels the reference agrees with than somebody else does.

    Attributes:
        over: who that is.
        agreement: the other one's share of agreement, 0 … 1.
        lead: the reference's share minus that, −1 … 1.
        error: paired standard error of `lead`.
    """

    over: Literal["start", "majority class"]
    agreement: float
    lead: float
    error: float

    @property
    def beyond_chance(self) -> float:
        """The lead minus two standard errors."""
        return self.lead - _CHANCE * self.error


@dataclass(frozen=True)
class ReferenceCheck:
    """The verdict and every number it rests on.

    Attributes:
        verdict: what to make of the run.
        sentence: why, for people.
        samples: how many samples were scored.
        mean, mean_low, mean_high: mean Mimic Score with its 95 % interval, loss per unit of weight distance.
        positive_share: share of samples with a score above 0.
        norm: ‖v‖, weight distance from start to reference over the scope.
        cosine: of −ḡ and v, −1 … 1; None where it was not measured.
        gradient_norm: ‖ḡ‖, loss per unit of weight distance; None likewise.
        gradient_samples: on how many samples, drawn with a fixed seed, these two were measured.
        reference_agreement: share of given labels that the reference predicts.
        start_agreement, majority_agreement: the same for the start and for always saying the commonest label.
        majority_code: the commonest given label's class code.
            Both are None for captions.
        weights_cosine: of start and reference outside the head, −1 … 1; None where there is nothing to compare.
        rank_agreement: Spearman's ρ of the score and the reference's log-probability; None where it was not measured.
    """

    verdict: Verdict
    sentence: str
    samples: int
    mean: float
    mean_low: float
    mean_high: float
    positive_share: float
    norm: float
    cosine: float | None
    gradient_norm: float | None
    gradient_samples: int
    reference_agreement: float
    start_agreement: float
    majority_agreement: float | None
    majority_code: int | None
    weights_cosine: float | None = None
    rank_agreement: float | None = None

    def facts(self) -> dict[str, Any]:
        """Every field, as JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class Gradient:
    """‖ḡ‖ and the cosine of −ḡ and v on some of the samples; see `mimic.scores.gradient`."""

    norm: float
    cosine: float
    samples: int


def check_reference(
    scores: NDArray[np.float32],
    reference_agrees: NDArray[np.bool_],
    start_agrees: NDArray[np.bool_],
    labels: NDArray[np.integer[Any]] | None,
    norm: float,
    gradient: Gradient | None = None,
    weights_cosine: float | None = None,
    reference_logprob: NDArray[np.float32] | None = None,
) -> ReferenceCheck:
    """Judge a reference by the run that used it.

    Args:
        scores: (N,) Mimic Scores of the samples that were scored, N ≥ 2.
        reference_agrees: (N,) whether the reference's prediction is the given label.
        start_agrees: (N,) the same for the start.
        labels: (N,) class codes of the given labels, ≥ 0; None for captions.
        norm: ‖v‖ over the run's scope.
        gradient: the mean gradient's facts, where they were measured.
        weights_cosine: of start and reference outside the head (`mimic.models.related`), where there is one.
        reference_logprob: (N,) log-probability of the given labels under the reference, where it was scored.

    Returns:
        The check.
    """
    count = len(scores)
    mean = float(scores.mean(dtype=np.float64))
    half = _Z * float(scores.std(dtype=np.float64, ddof=1)) / math.sqrt(count)
    leads = [_lead("start", reference_agrees, start_agrees)]
    majority = None if labels is None else int(np.bincount(labels).argmax())
    if labels is not None:
        leads.append(_lead("majority class", reference_agrees, labels == majority))
    agreement = float(reference_agrees.mean())
    weakest = min(leads, key=lambda lead: lead.beyond_chance)
    ranks = None if reference_logprob is None else rank_correlation(scores, reference_logprob)
    ranks = ranks if ranks is not None and math.isfinite(ranks) else None
    given = "captions" if labels is None else "labels"
    if weights_cosine is not None and weights_cosine < UNRELATED:
        verdict, sentence = _unrelated(weights_cosine)
    else:
        verdict, sentence = _judge(mean, half, agreement, weakest, given)
        sentence = _hedged(sentence, count)
    doubts = _doubts(weights_cosine, _ahead_of_majority(start_agrees, labels, majority), ranks)
    if verdict != "Do not use" and doubts:
        verdict, sentence = "Weak", " ".join([sentence, *doubts])
    return ReferenceCheck(
        verdict=verdict,
        sentence=sentence,
        samples=count,
        mean=mean,
        mean_low=mean - half,
        mean_high=mean + half,
        positive_share=float((scores > 0).mean()),
        norm=norm,
        cosine=gradient.cosine if gradient and math.isfinite(gradient.cosine) else None,
        gradient_norm=gradient.norm if gradient else None,
        gradient_samples=gradient.samples if gradient else 0,
        reference_agreement=agreement,
        start_agreement=leads[0].agreement,
        majority_agreement=leads[1].agreement if len(leads) > 1 else None,
        majority_code=majority,
        weights_cosine=weights_cosine,
        rank_agreement=ranks,
    )


def _ahead_of_majority(
    start: NDArray[np.bool_], labels: NDArray[np.integer[Any]] | None, majority: int | None
) -> Lead | None:
    """How far the start itself is ahead of the commonest class; None for captions."""
    return None if labels is None else _lead("majority class", start, labels == majority)


def _lead(over: Literal["start", "majority class"], reference: NDArray[np.bool_], other: NDArray[np.bool_]) -> Lead:
    difference = reference.astype(np.int8) - other.astype(np.int8)
    error = float(difference.std(dtype=np.float64, ddof=1)) / math.sqrt(len(difference))
    return Lead(over, float(other.mean()), float(difference.mean(dtype=np.float64)), error)


def _unrelated(cosine: float) -> tuple[Verdict, str]:
    return "Do not use", (
        "Start and reference share no coordinate system: the cosine of their weights outside the head is "
        f"{cosine:.2f}, as of two trained from different initialisations. Use two with a common pretrained start."
    )


def _doubts(cosine: float | None, start: Lead | None, ranks: float | None) -> list[str]:
    """What speaks against a reference that passes otherwise, a sentence each."""
    found = []
    if cosine is not None and cosine < RELATED:
        found.append(
            f"But start and reference may not share a coordinate system: the cosine of their weights outside the head "
            f"is {cosine:.2f}, where training from a common start leaves more than {RELATED}."
        )
    if start is not None and start.beyond_chance <= 0:
        mine = start.agreement + start.lead
        found.append(
            f"But the start knows no more than the majority class: it agrees with {mine:.1%} of the given labels, "
            f"always saying the commonest with {start.agreement:.1%}. Train it a little first."
        )
    if ranks is not None and ranks <= 0:
        found.append(
            "But the score does not rank the samples as the reference's log-probability does: their rank correlation "
            f"is {ranks:.2f}, so it may be useless or the wrong way round."
        )
    return found


def _hedged(sentence: str, count: int) -> str:
    """The reason as firm as so many samples make it."""
    if count >= FEW:
        return sentence
    return (
        f"As far as {count:,} samples can say: {sentence[0].lower()}{sentence[1:]} "
        f"Score {FEW} or more before you rely on it."
    )


def _judge(mean: float, half: float, agreement: float, weakest: Lead, given: str) -> tuple[Verdict, str]:
    """The verdict, and the sentence that gives its reason."""
    agrees = f"it agrees with {agreement:.1%} of the given {given}, the {weakest.over} with {weakest.agreement:.1%}"
    if mean + half < 0:
        return "Do not use", f"The reference lies uphill: the mean score is {mean:.3g} ± {half:.2g}, below 0."
    if mean - half <= 0:
        return "Do not use", (
            f"These samples do not show that the reference lies downhill: the mean score is {mean:.3g} ± {half:.2g}, "
            "an interval that holds 0. More of them may settle it."
        )
    if weakest.beyond_chance <= 0:
        return "Do not use", f"The reference knows the {given} no better than without it: {agrees}."
    # Among a batch's captions even a good reference finds few, so twice what the start finds is clearly better too.
    enough = min(GOOD_LEAD, weakest.agreement) if given == "captions" else GOOD_LEAD
    if weakest.beyond_chance < enough:
        return "Weak", (
            f"The reference lies downhill but knows the {given} little better: {agrees}. "
            "The ranking may still be good: look at what falls below the line before trusting it."
        )
    warning = (
        " So few disagreements are rare unless it was trained on these very samples, and then it proves nothing:"
        " make sure that it was not."
        if agreement >= ORACLE
        else ""
    )
    return "Good", f"The reference lies downhill and knows the {given} clearly better: {agrees}.{warning}"
