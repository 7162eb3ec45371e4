"""Advice: which signal to use here, how much to keep, whether the reference is fit, what would settle the doubt.

Every sentence is made from a number and says which page shows it. The rules were fixed on Fashion-MNIST and graded on
CIFAR-10 and digits (`python -m benchmarks.evaluate advice`): without a retraining, the first of `PREFERRED` that is
there, keeping 7.5 % fewer than are estimated to be right, and everything where the estimate's interval reaches 100 %.
Right labels that the reference doubts are hardly missed, while wrong ones that it does not doubt enough are dropped
too. How far to go depends on how much more the reference knows than the data: from 3 % fewer, where it has seen less,
to 10 %, where it has seen ten times as much (`python -m benchmarks.evaluate_budget`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from mimic.evaluation.quality import Quality
from mimic.evaluation.reference_check import FEW
from mimic.evaluation.retraining import Best

# In this order; signals that rest on the reference count only where the reference check does not refuse it.
PREFERRED = ("ref_logprob", "ensemble", "mimic_path", "rho", "mimic")
WITHOUT_REFERENCE = ("margin_mean", "confident", "knn", "margin", "logprob")

OF_RIGHT = 0.925  # how many of the labels estimated to be right are kept
LOWEST = 0.8  # of those that are surely right: less is not worth trying
LEAST = 0.1  # less than that is never advised to be kept

WIDE = 0.3  # an interval's width that says next to nothing
NARROW = 0.025  # half an interval's width that leaves little to settle


@dataclass(frozen=True)
class Sentence:
    """A sentence of advice.

    Attributes:
        text: what it says, numbers included.
        source: the page that shows these numbers.
    """

    text: str
    source: str


@dataclass(frozen=True)
class Evidence:
    """What advice is made from; None for what is not known.

    Attributes:
        signals: the signals that are there.
        quality: the estimated share of right labels.
        check: the run's reference check, as run.json keeps it.
        detection: `bands.table` where labels are known to be right or wrong.
        best: the best of a retraining.
        noun: what is judged, a label or a caption.
        needed: what a retraining needs first, as an imperative; None where it can be done.
    """

    signals: Sequence[str]
    quality: Quality | None = None
    check: Mapping[str, Any] | None = None
    detection: pd.DataFrame | None = None
    best: Best | None = None
    noun: str = "label"
    needed: str | None = None


@dataclass(frozen=True)
class Advice:
    """What to do, and why.

    Attributes:
        signal: which to filter by; None where none is advised.
        keep: the share of samples to keep, 1 for everything.
        low, high: the range of shares worth trying.
        sentences: the reasons.
    """

    signal: str | None
    keep: float
    low: float
    high: float
    sentences: tuple[Sentence, ...]

    @property
    def everything(self) -> bool:
        """Whether the advice is to keep everything."""
        return self.keep >= 1.0

    @property
    def paragraph(self) -> str:
        return " ".join(sentence.text for sentence in self.sentences)


def advise(evidence: Evidence) -> Advice:
    """Advice from what is known."""
    signal, why = _signal(evidence)
    keep, low, high, budget = _budget(evidence)
    sentences = [*_reference(evidence.check, evidence.noun), *budget]
    if keep < 1 and why is not None:
        sentences.append(why)
    sentences += _doubts(evidence, keep)
    return Advice(signal if keep < 1 else None, keep, low, high, tuple(sentences))


def _reference(check: Mapping[str, Any] | None, noun: str) -> list[Sentence]:
    if check is None:
        return [Sentence("No reference was checked, so signals that rest on one are at your own risk.", "Overview")]
    fit = {
        "Good": f"The reference is fit to judge these {noun}s",
        "Weak": "The reference is of little use here",
        "Do not use": f"The reference is not fit to judge these {noun}s",
    }
    said = fit.get(check["verdict"], "The reference was checked")
    if check["samples"] < FEW:
        said = f"As far as {check['samples']:,} samples can say, {said[0].lower()}{said[1:]}"
    text = (
        f"{said}: it agrees with"
        f" {check['reference_agreement']:.1%} of them, the start with {check['start_agreement']:.1%}, and the mean"
        f" score is {check['mean']:.3g} ({check['mean_low']:.3g} to {check['mean_high']:.3g})."
    )
    return [Sentence(text, "Overview")]


def _signal(evidence: Evidence) -> tuple[str | None, Sentence | None]:
    """The signal to use and why."""
    if evidence.best is not None:
        return evidence.best.filter, None  # the sentence on the budget names it
    if evidence.detection is not None and len(evidence.detection):
        top = evidence.detection.iloc[0]
        text = (
            f"Of the signals here {top['signal']} finds the wrong {evidence.noun}s best, with an AUROC of"
            f" {top['auroc']:.3f} ({top['auroc_low']:.3f} to {top['auroc_high']:.3f})."
        )
        return str(top["signal"]), Sentence(text, "Evaluate")
    refused = evidence.check is None or evidence.check["verdict"] == "Do not use"
    order = [*WITHOUT_REFERENCE] if refused else [*PREFERRED, *WITHOUT_REFERENCE]
    chosen = next((name for name in order if name in evidence.signals), None)
    if chosen is None:
        return None, Sentence(
            "None of the signals here is one to filter by unseen: compare and review them.", "Compare"
        )
    text = (
        f"No {evidence.noun} here is known to be right or wrong;"
        f" of the signals here {chosen} did best where that was known."
    )
    return chosen, Sentence(text, "Overview")


def _budget(evidence: Evidence) -> tuple[float, float, float, list[Sentence]]:
    """The share to keep, the range worth trying, and why."""
    best, quality, noun = evidence.best, evidence.quality, evidence.noun
    sentences = []
    if quality is not None:
        interval = f"{quality.low:.0%} to {quality.high:.0%}"
        text = f"About {quality.share:.0%} of the {noun}s are right ({interval}, {_by(quality)})."
        sentences.append(Sentence(text, "Evaluate"))
    if best is not None:
        sentences.append(Sentence(best.sentence, "Evaluate"))
        if best.beats:
            return best.budget, best.budget, best.budget, sentences
        if quality is None or not quality.noisy:
            sentences.append(Sentence("Keep everything.", "Evaluate"))
            return 1.0, 1.0, 1.0, sentences
        text = f"As some {noun}s are wrong, that is still the one to try first."
        sentences.append(Sentence(text, "Evaluate"))
        return best.budget, max(LOWEST * quality.low, LEAST), quality.high, sentences
    if quality is None:
        sentences.append(Sentence(f"How many {noun}s are wrong is not known, so no budget is advised.", "Overview"))
        return 1.0, 0.0, 1.0, sentences
    if not quality.noisy:
        text = "All of them may be right: keep everything."
        if quality.high - quality.low > WIDE:
            text = "That is too wide to choose a budget by: keep everything until verdicts say more."
        sentences.append(Sentence(text, "Evaluate"))
        return 1.0, quality.low, 1.0, sentences
    keep, low = max(OF_RIGHT * quality.share, LEAST), max(LOWEST * quality.low, LEAST)
    text = f"Worth trying: keep {low:.0%} to {quality.high:.0%}, {keep:.0%} first."
    sentences.append(Sentence(text, "Threshold"))
    return keep, low, quality.high, sentences


def _by(quality: Quality) -> str:
    return {
        "reference": "estimated from the reference's view of them",
        "audit": "estimated from an audit's verdicts",
        "mixture": "estimated from how the scores are spread",
        "truth": "from those whose truth is known",
    }[quality.method]


def _doubts(evidence: Evidence, keep: float) -> list[Sentence]:
    """What would settle what is still open."""
    quality, sentences = evidence.quality, []
    if quality is not None and (quality.high - quality.low) / 2 > NARROW:
        share = min(max(quality.share, 0.05), 0.95)
        verdicts = int(np.ceil(share * (1 - share) * (float(norm.ppf(0.975)) / NARROW) ** 2 / 10) * 10)
        sentences.append(
            Sentence(
                f"An audit of about {verdicts:,} verdicts would bring the share of right {evidence.noun}s"
                f" to ±{NARROW:.1%}.",
                "Audit",
            )
        )
    if evidence.best is None and keep < 1:
        text = "Whether a model gets better by it, one retraining shows: mimic evaluate retrain."
        if evidence.needed is not None:
            text = f"Whether a model gets better by it, only data that no score has seen can show: {evidence.needed}."
        sentences.append(Sentence(text, "Evaluate"))
    return sentences
