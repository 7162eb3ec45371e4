"""All signals of a batch at once: one forward of the start, and one of the reference only where its features differ.

Where start and reference differ in the head alone, the reference's logits come from the start's features. Images with
captions go the same way as images with labels; they have other signals, and no predictions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.losses import NO_LABEL, Loss, check_labels, get_loss, reads_pairs
from mimic.models.calling import Inputs, plain_module
from mimic.models.checkpoint import match_state
from mimic.models.direction import Direction
from mimic.models.head import find_head, guess_head
from mimic.scores import BY_SCOPE, DEFAULT_PAIR_SIGNALS, DEFAULT_SIGNALS
from mimic.scores.differentiate import Method, slope_of
from mimic.scores.logits import BATCH_SIGNALS, margin
from mimic.scores.mimic import finite
from mimic.scores.pairs import BATCH_PAIR_SIGNALS, Embedded, finds_its_own
from mimic.scores.passes import BatchPasses, Passes
from mimic.scores.precision import LEAST_SAMPLES, Agreement, Precision, agreement, check_agreement

TOP = 3


@dataclass(frozen=True)
class BatchScores:
    """What a batch got.

    Attributes:
        signals: name → (B,) float32, higher is better; NaN where it could not be had.
        codes: (B, 3) int64, the reference's most likely classes, best first; −1 where there is none, as for pairs.
        logprobs: (B, 3) float32, their log-probabilities in nats; NaN where there is none.
        reference_agrees, start_agrees: (B,) bool, whether the model's own choice is what was given: the label's output
            is the highest, or the image's caption the nearest of the batch's.
        reasons: one a sample, why some signal is NaN; None where all are numbers.
    """

    signals: dict[str, Tensor]
    codes: Tensor
    logprobs: Tensor
    reference_agrees: Tensor
    start_agrees: Tensor
    reasons: tuple[str | None, ...]


class SignalScorer:
    """Scores batches by every signal asked for, sharing one forward pass of the start.

    Args:
        start: the model being scored, at θ, on the device to work on. It must not change while the scorer is in use.
        reference_state: a state dict of the same architecture.
        scope: one or several, see `mimic.models.scope`. The first gives `mimic` and `mimic_path`, a further one adds
            `mimic_<scope>` and `mimic_path_<scope>`.
        signals: names in `mimic.scores.SIGNALS`, or in `PAIR_SIGNALS` for a loss of pairs; None: the default ones.
        loss: a name in `mimic.losses.LOSSES`, or a function; of labels (B,) or of pairs.
        method: see `mimic_scores`.
        example: an input that the model takes, images (B, …) or (images, texts). With it the head is found and the
            method settled here; without, on the first batch.
        precision: ``"fp32"`` is the model's own; ``"bf16"`` has the passes in bfloat16, losses and sums in float32, and
            scores the first batch in both.
        force: whether to go on in half precision where it ranks the first batch otherwise than full precision.
        compiled: whether to have torch.compile make one program of the forward-mode pass; for batches of one size.

    Attributes:
        pairs: whether it scores images with captions.
        directions: v over each scope, the main one first; always in the model's own precision.
        agreements: signal → half precision against full on the first batch; empty before it, and for fp32.

    Raises:
        MimicError: see `Direction.between` and `Differentiator`; or a signal or precision is unknown.
    """

    def __init__(
        self,
        start: nn.Module,
        reference_state: Mapping[str, Tensor],
        scope: str | Sequence[str] = "last",
        signals: Sequence[str] | None = None,
        loss: str | Loss = "cross_entropy",
        method: Method = "auto",
        example: Inputs | None = None,
        precision: Precision = "fp32",
        force: bool = False,
        compiled: bool = False,
    ) -> None:
        self.module = plain_module(start)
        self.loss = get_loss(loss)
        self.pairs = reads_pairs(self.loss)
        self.wanted = tuple((DEFAULT_PAIR_SIGNALS if self.pairs else DEFAULT_SIGNALS) if signals is None else signals)
        _check_names(self.wanted, [*BY_SCOPE, *(BATCH_PAIR_SIGNALS if self.pairs else BATCH_SIGNALS)], precision)
        scopes = [scope] if isinstance(scope, str) else list(scope)
        state = match_state(self.module, reference_state)
        images = None if isinstance(example, tuple) else example
        self.directions = [Direction.between(self.module, state, each, images) for each in scopes]
        self._suffixes = [""] + ["_" + re.sub(r"\W+", "_", each).strip("_") for each in scopes[1:]]
        directions = self.directions if "mimic" in self.wanted else []
        head = None if self.pairs else _any_head(self.module, images)
        parts = (self.module, state, head, directions, self.loss, method)
        self.agreements: dict[str, Agreement] = {}
        self._force = force
        full = Passes(*parts, compiled=compiled and precision == "fp32")
        self._passes = full if precision == "fp32" else Passes(*parts, dtype=torch.bfloat16, compiled=compiled)
        self._compiled = compiled
        # What half precision has still to be compared with.
        self._unchecked: Passes | None = None if precision == "fp32" else full
        if example is not None:
            self._passes.probe(tuple(each[:1] for each in example) if isinstance(example, tuple) else example[:1])

    @property
    def columns(self) -> list[str]:
        """The names of the signals that a batch gets: those asked for, the Mimic Scores once for each scope."""
        suffixes = {name: self._suffixes if name in BY_SCOPE else [""] for name in self.wanted}
        return [name + suffix for name in self.wanted for suffix in suffixes[name]]

    @property
    def method(self) -> str:
        """The main scope's method: closed, jvp or difference; empty where no Mimic Score was asked for."""
        return next(iter(self._passes.differentiate.methods), "")

    @property
    def method_reason(self) -> str:
        """Why that method, in one sentence; for differences with the step and its error."""
        return next(iter(self._passes.differentiate.reasons), "no Mimic Score was asked for")

    @property
    def compile_note(self) -> str | None:
        """What was compiled, or why nothing was, in a sentence; None where it was not asked for."""
        return self._passes.differentiate.compile_note if self._compiled else None

    @property
    def path_note(self) -> str | None:
        """What `mimic_path`'s end is, where that is not the reference model itself; None where it is."""
        left_out = self._passes.replaced - set(self.directions[0].tensors)
        if not left_out:
            return None
        if not left_out & {name for name, _ in self.module.named_parameters()}:
            return "the path ends at the reference's parameters with the start's running statistics"
        return f"the path ends at the start with the parameters of scope {self.directions[0].scope} replaced"

    def __call__(self, inputs: Inputs, labels: Tensor | None = None) -> BatchScores:
        """Scores a batch.

        The first batch also decides what depends on data: a difference's step, and whether half precision will do.
        Where several processes share the work, or one goes on after another, give each the same samples first.

        Args:
            inputs: images (B, …), or for pairs (images, texts), on the model's device. A pair's loss is that of its
                batch: a picture that could not be read must not be in it.
            labels: (B,) integers 0 … K−1, or −1 for a sample without a label; None for pairs.

        Returns:
            Signals and predictions, on the model's device.

        Raises:
            MimicError: a label without an output; a model without (B, K) logits; half precision that ranks the first
                batch otherwise than full.
        """
        if self.pairs != (labels is None):
            raise MimicError("a loss of pairs takes no labels" if self.pairs else "the loss reads labels: give them")
        if labels is None:
            return self.judge(self.embed(inputs))
        scores = self._of_labels(self._passes, inputs, labels)
        if self._unchecked is not None:
            self._check(scores, self._of_labels(self._unchecked, inputs, labels))
        return scores

    def embed(self, inputs: Inputs) -> Embedded:
        """The part of scoring pairs that knows no batch: a pair's row is the same whatever the others are.

        Raises:
            MimicError: as for a call.
        """
        embedded = self._embedded(self._passes, inputs)
        if self._unchecked is not None:
            self._check(self.judge(embedded), self.judge(self._embedded(self._unchecked, inputs)))
        return embedded

    def judge(self, embedded: Embedded) -> BatchScores:
        """The scores of pairs as a batch of their own: ``judge(embed(inputs))`` is what a call gives."""
        with torch.inference_mode(False), torch.no_grad():
            signals = self._signals(
                embedded, embedded.ends, None, lambda name: BATCH_PAIR_SIGNALS[name](embedded, self.loss)
            )
            none = torch.full((len(embedded), TOP), -1, device=embedded.start[0].device)
            agrees = finds_its_own(embedded.reference), finds_its_own(embedded.start)
        return BatchScores(signals, none, none.float().fill_(torch.nan), *agrees, _reasons(signals, None))

    def _embedded(self, passes: Passes, inputs: Inputs) -> Embedded:
        batch = passes(inputs, None)
        return Embedded(batch.start, batch.reference, self._ends(batch), batch.changes)

    def _of_labels(self, passes: Passes, inputs: Inputs, labels: Tensor) -> BatchScores:
        batch = passes(inputs, labels)
        known = check_labels(labels, batch.start.shape[1]).clamp_min(0)
        with torch.inference_mode(False), torch.no_grad():
            signals = self._signals(batch, self._ends(batch), labels, lambda name: BATCH_SIGNALS[name](batch, known))
            codes, logprobs = _predictions(batch.reference)
            agrees = codes[:, 0] == labels, margin(batch.start, known) > 0
        return BatchScores(signals, codes, logprobs, *agrees, _reasons(signals, labels))

    def _ends(self, batch: BatchPasses) -> tuple[Any, ...]:
        """Outputs at the end of each scope's path, where a signal needs them."""
        directions = self.directions if "mimic_path" in self.wanted else []
        return tuple(batch.with_replaced(frozenset(each.tensors)) for each in directions)

    def _signals(
        self,
        batch: BatchPasses | Embedded,
        ends: Sequence[Any],
        labels: Tensor | None,
        plain: Callable[[str], Tensor],
    ) -> dict[str, Tensor]:
        """The columns, as they are stored; `plain` gives those that know no direction.

        `mimic_path` is [ℓ(θ) − ℓ(θ with the scope replaced by the reference's)] / ‖v‖.
        """
        values: dict[str, Tensor] = {}
        for name in self.wanted:
            if name == "mimic":
                slopes = [slope_of(self.loss, batch.start, change, labels) for change in batch.changes]
                values |= {name + suffix: -slope for suffix, slope in zip(self._suffixes, slopes, strict=True)}
            elif name == "mimic_path":
                here = self.loss(batch.start, labels)
                for direction, suffix, end in zip(self.directions, self._suffixes, ends, strict=True):
                    values[name + suffix] = (here - self.loss(end, labels)) / direction.norm
            else:
                values[name] = plain(name)
        return {name: finite(each, labels) for name, each in values.items()}

    def _check(self, half: BatchScores, full: BatchScores) -> None:
        """Compares half precision with full on a batch, if it has samples enough: once."""
        agreements = {name: agreement(each, full.signals[name]) for name, each in half.signals.items()}
        if min(each.samples for each in agreements.values()) >= LEAST_SAMPLES:
            self.agreements = agreements
            if not self._force:
                check_agreement(agreements)
            self._unchecked = None


def _check_names(signals: Sequence[str], known: Sequence[str], precision: str) -> None:
    if unknown := [name for name in signals if name not in known]:
        raise MimicError(f"there is no signal {unknown[0]!r}: one of {', '.join(known)}")
    if precision not in get_args(Precision):
        raise MimicError(f"there is no precision {precision!r}: one of {', '.join(get_args(Precision))}")


def _any_head(module: nn.Module, example: Tensor | None) -> str | None:
    """The final linear layer's name, if there is one: it saves a pass where start and reference share features."""
    try:
        return (guess_head(module) if example is None else find_head(module, example))[0]
    except MimicError:
        return None


def _predictions(reference: Tensor) -> tuple[Tensor, Tensor]:
    """The best classes (B, TOP) int64 and their log-probabilities in float32; −1 and NaN where there is none."""
    top = F.log_softmax(reference, dim=1).topk(min(TOP, reference.shape[1]), dim=1)
    spare = (0, TOP - top.values.shape[1])
    logprobs = F.pad(top.values.float(), spare, value=torch.nan)
    return torch.where(logprobs.isnan(), -1, F.pad(top.indices, spare, value=-1)), logprobs


def _reasons(signals: Mapping[str, Tensor], labels: Tensor | None) -> tuple[str | None, ...]:
    """One a sample: why some signal is NaN."""
    lost = torch.stack([each.isnan() for each in signals.values()]).any(dim=0).tolist()
    missing = [False] * len(lost) if labels is None else (labels == NO_LABEL).tolist()
    return tuple(
        "has no label" if without else "the model gave no finite value" if nan else None
        for nan, without in zip(lost, missing, strict=True)
    )
