"""All signals of a batch at once: one forward of the start, and one of the reference only where its features differ.

Where start and reference differ in the head alone, the reference's logits come from the start's features.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.losses import NO_LABEL, Loss, check_labels, get_loss, reads_pairs
from mimic.models.calling import call, evaluating, plain_module
from mimic.models.checkpoint import match_state
from mimic.models.direction import Direction
from mimic.models.head import find_head, guess_head
from mimic.scores import DEFAULT_SIGNALS, SIGNALS
from mimic.scores.differentiate import Differentiator, Method, Pass
from mimic.scores.logits import LOGIT_SIGNALS
from mimic.scores.mimic import finite

TOP = 3


@dataclass(frozen=True)
class BatchScores:
    """What a batch got.

    Attributes:
        signals: name → (B,) float32, higher is better; NaN where it could not be had.
        codes: (B, 3) int64, the reference's most likely classes, best first; −1 where there is none.
        logprobs: (B, 3) float32, their log-probabilities in nats; NaN where there is none.
        reasons: one a sample, why some signal is NaN; None where all are numbers.
    """

    signals: dict[str, Tensor]
    codes: Tensor
    logprobs: Tensor
    reasons: tuple[str | None, ...]


class SignalScorer:
    """Scores batches by every signal asked for, sharing one forward pass of the start.

    Args:
        start: the model being scored, at θ, on the device to work on. It must not change while the scorer is in use.
        reference_state: a state dict of the same architecture.
        scope: one or several, see `mimic.models.scope`. The first gives `mimic` and `mimic_path`, a further one adds
            `mimic_<scope>` and `mimic_path_<scope>`.
        signals: names in `mimic.scores.SIGNALS`.
        loss: a name in `mimic.losses.LOSSES`, or a function; of labels (B,), not of pairs.
        method: see `mimic_scores`.
        example: (B, …), an input that the model takes. With it the head is found and the method settled here; without,
            on the first batch.

    Attributes:
        directions: v over each scope, the main one first.

    Raises:
        MimicError: see `Direction.between` and `Differentiator`; or a signal is unknown.
    """

    def __init__(
        self,
        start: nn.Module,
        reference_state: Mapping[str, Tensor],
        scope: str | Sequence[str] = "last",
        signals: Sequence[str] = DEFAULT_SIGNALS,
        loss: str | Loss = "cross_entropy",
        method: Method = "auto",
        example: Tensor | None = None,
    ) -> None:
        if unknown := [name for name in signals if name not in SIGNALS]:
            raise MimicError(f"there is no signal {unknown[0]!r}: one of {', '.join(SIGNALS)}")
        self.module = plain_module(start)
        self.wanted = tuple(signals)
        self.loss = get_loss(loss)
        if reads_pairs(self.loss):
            raise MimicError("a loss of pairs has no labels and no predictions: score pairs with mimic_scores")
        scopes = [scope] if isinstance(scope, str) else list(scope)
        state = match_state(self.module, reference_state)
        self.directions = [Direction.between(self.module, state, each, example) for each in scopes]
        self._suffixes = [""] + ["_" + re.sub(r"\W+", "_", each).strip("_") for each in scopes[1:]]
        self._reference = _differing(self.module, state)
        directions = self.directions if "mimic" in signals else []
        head = _any_head(self.module, example)
        self._differentiate = Differentiator(self.module, directions, self.loss, method, head)
        if example is not None:
            self(example[:1], torch.zeros(1, dtype=torch.long, device=example.device))

    @property
    def method(self) -> str:
        """The main scope's method: closed, jvp or difference; empty where no Mimic Score was asked for."""
        return next(iter(self._differentiate.methods), "")

    @property
    def method_reason(self) -> str:
        """Why that method, in one sentence; for differences with the step and its error."""
        return next(iter(self._differentiate.reasons), "no Mimic Score was asked for")

    @property
    def path_note(self) -> str | None:
        """What `mimic_path`'s end is, where that is not the reference model itself; None where it is."""
        left_out = set(self._reference) - set(self.directions[0].tensors)
        if not left_out:
            return None
        buffers = left_out - {name for name, _ in self.module.named_parameters()}
        if left_out == buffers:
            return "the path ends at the reference's parameters with the start's running statistics"
        return f"the path ends at the start with the parameters of scope {self.directions[0].scope} replaced"

    def __call__(self, images: Tensor, labels: Tensor) -> BatchScores:
        """Scores a batch.

        Args:
            images: (B, …) on the model's device.
            labels: (B,) integers 0 … K−1, or −1 for a sample without a label.

        Returns:
            Signals and predictions, on the model's device.

        Raises:
            MimicError: a label without an output; a model without (B, K) logits.
        """
        here = self._differentiate(images, labels)
        assert isinstance(here.outputs, Tensor)
        known = check_labels(labels, here.outputs.shape[1]).clamp_min(0)
        with evaluating(self.module):
            ends = _Ends(self.module, self._reference, self._differentiate.head, images, here)
            reference = ends.logits(frozenset(self._reference))
            values: dict[str, Tensor] = {}
            for name in self.wanted:
                if name == "mimic":
                    values |= {name + suffix: -slope for suffix, slope in zip(self._suffixes, here.slopes, strict=True)}
                elif name == "mimic_path":
                    values |= self._path(ends, here.outputs, labels)
                else:
                    signal = LOGIT_SIGNALS[name]
                    values[name] = signal.function(here.outputs if signal.of == "start" else reference, known)
        return _assemble(values, reference, labels)

    def _path(self, ends: _Ends, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """[ℓ(θ) − ℓ(θ with the scope replaced by the reference's)] / ‖v‖ for each scope."""
        here = self.loss(logits, labels)
        values = {}
        for direction, suffix in zip(self.directions, self._suffixes, strict=True):
            end = ends.logits(frozenset(self._reference) & frozenset(direction.tensors))
            values["mimic_path" + suffix] = (here - self.loss(end, labels)) / direction.norm
        return values


def _any_head(module: nn.Module, example: Tensor | None) -> str | None:
    """The final linear layer's name, if there is one: it saves a pass where start and reference share features."""
    try:
        return (guess_head(module) if example is None else find_head(module, example))[0]
    except MimicError:
        return None


class _Ends:
    """Logits of one batch with some of the start's tensors replaced by the reference's, each set computed once."""

    def __init__(
        self, module: nn.Module, reference: dict[str, Tensor], head: str | None, images: Tensor, here: Pass
    ) -> None:
        self.module, self.reference, self.head, self.images, self.here = module, reference, head, images, here
        assert isinstance(here.outputs, Tensor)
        self.known: dict[frozenset[str], Tensor] = {frozenset(): here.outputs}

    def logits(self, names: frozenset[str]) -> Tensor:
        """(B, K) with the tensors of these names replaced; from the start's features if all are the head's."""
        if names not in self.known:
            head = {f"{self.head}.weight", f"{self.head}.bias"}
            if self.here.features is not None and names <= head:
                self.known[names] = self._through_head(self.here.features, names)
            else:
                self.known[names] = call(self.module, self.images, {name: self.reference[name] for name in names})
        return self.known[names]

    def _through_head(self, features: Tensor, names: frozenset[str]) -> Tensor:
        layer = cast(nn.Linear, self.module.get_submodule(cast(str, self.head)))
        weight, bias = (
            self.reference[key] if (key := f"{self.head}.{name}") in names else getattr(layer, name)
            for name in ("weight", "bias")
        )
        return F.linear(features, weight, bias)


def _differing(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reference's parameters and buffers that are not the start's, in the start's dtypes and on its device."""
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    brought = {name: state[name].to(own[name].device, own[name].dtype) for name in own if name in state}
    return {name: tensor for name, tensor in brought.items() if not torch.equal(tensor, own[name])}


def _assemble(values: dict[str, Tensor], reference: Tensor, labels: Tensor) -> BatchScores:
    signals = {name: finite(each, labels) for name, each in values.items()}
    top = F.log_softmax(reference.float(), dim=1).topk(min(TOP, reference.shape[1]), dim=1)
    spare = (0, TOP - top.values.shape[1])
    logprobs = F.pad(top.values, spare, value=torch.nan)
    codes = torch.where(logprobs.isnan(), -1, F.pad(top.indices, spare, value=-1))
    lost = torch.stack([each.isnan() for each in signals.values()]).any(dim=0).tolist()
    missing = (labels == NO_LABEL).tolist()
    reasons = tuple(
        "has no label" if without else "the model gave no finite value" if nan else None
        for nan, without in zip(lost, missing, strict=True)
    )
    return BatchScores(signals, codes, logprobs, reasons)
