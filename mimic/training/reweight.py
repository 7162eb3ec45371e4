"""Grad-Mimic: re-weighted training in anybody's own loop, in three lines.

    reweight = GradMimic(model, reference_state)
    losses = F.cross_entropy(model(images), labels, reduction="none")
    reweight(losses).backward()

Stages, once a step: v = θ_ref − θ at the present weights; every sample's score m_i = −⟨g_i, v⟩ / ‖v‖ from the graph
that the losses already have; weights by a policy; Σ w_i ℓ_i with the weights detached, whose gradient is Σ w_i g_i.
Scores are in loss per unit of weight distance; higher is better.

Source: Huang et al., "Evaluating Sample Utility for Efficient Data Selection by Mimicking Model Weights", section 3.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.models.calling import logits_of
from mimic.training.closed import HeadSlope
from mimic.training.exhaustion import Exhaustion, Gauge, OnExhausted, ReferenceExhausted, check_reaction, processes
from mimic.training.recorder import Recorder, Visit
from mimic.training.target import Target
from mimic.training.watch import Forward, Watch
from mimic.training.weights import Policy, PolicyName, Temperature, uniform


class GradMimic:
    """Weighs the samples of each batch by how far they carry a model in training towards a reference.

    Make it once, after the model has its starting weights and before it is wrapped or compiled; call it once a step. It
    hooks into the model to see what the last forward pass with gradients did, and changes nothing. Under
    DistributedDataParallel weights sum to 1 over each process's own batch.

    Args:
        model: the model in training, bare or wrapped.
        reference_state: the reference's state dict, of the same architecture.
        temperature: τ of policy ``softmax``, in units of the score: constant, or a function of the step such as
            `mimic.training.weights.geometric(1.0, 0.1, steps)`.
        scope: which parameters are scored, see `mimic.models.scope`; of these, the ones in training count.
        record: a folder to keep every visit's score, weight, loss and margin in (see `mimic.training.visits`); it needs
            `ids` at every call.
        policy: how scores become weights, see `mimic.training.weights`.
        share: of policy ``top``.
        on_exhausted: what to do from the step on in which the mean score over a window is not positive any more:
            ``"continue"``, give every sample the same weight (``"uniform"``), or raise `ReferenceExhausted`
            (``"stop"``). It is said once as a warning, and kept in `exhausted` and in the record.
        window: steps a mean score is taken over.
        coupled: whether a sample's loss depends on other samples of the batch, as a contrastive one does; the first
            batch tells if it is not given.
        forwards: how many forward passes make one batch's losses, e.g. 2 for two views.
        example: (B, …), an input to find the last layer with, for a model whose head is not its last linear layer.

    Attributes:
        scores: (B,) of the last batch, detached; None before the first.
        weights: (B,) of the last batch, detached.
        exhausted: the window in which the reference was found exhausted; None until then.
        step: how many batches have been weighed.

    Raises:
        MimicError: an unknown scope, policy or reaction; a reference of another architecture, or equal to the model.
    """

    def __init__(
        self,
        model: nn.Module,
        reference_state: Mapping[str, Tensor],
        temperature: Temperature = 1.0,
        scope: str = "last",
        record: Path | str | None = None,
        *,
        policy: PolicyName = "softmax",
        share: float = 0.5,
        on_exhausted: OnExhausted = "continue",
        window: int = 50,
        coupled: bool | None = None,
        forwards: int = 1,
        example: Tensor | None = None,
    ) -> None:
        check_reaction(on_exhausted)
        self.policy = Policy(policy, temperature, share)
        self.step = 0
        self.scores: Tensor | None = None
        self.weights: Tensor | None = None
        self._on_exhausted = on_exhausted
        self._gauge = Gauge(window)
        self._target = Target(model, reference_state, scope, example)
        self._slope = HeadSlope(self._target, coupled)
        self._watch = Watch(self._target.module, self._slope.layers, forwards)
        self._recorder = self._make_recorder(record) if record is not None else None
        self._finish = weakref.finalize(self, _finish, self._watch, self._recorder)

    @property
    def exhausted(self) -> Exhaustion | None:
        """The window in which the mean score was first not positive; None until then."""
        return self._gauge.exhausted

    def __call__(
        self, losses: Tensor, *, ids: Any = None, labels: Tensor | None = None, epoch: int | None = None
    ) -> Tensor:
        """The batch's weighted loss, for `backward()` as ever.

        Args:
            losses: (B,), per-sample losses of the last forward pass, with their graph.
            ids: one a sample, whole numbers or names; only a record needs them.
            labels: (B,) class numbers; a record keeps the margin where they are given.
            epoch: kept in the record.

        Returns:
            Σ w_i ℓ_i, a scalar; the weights are constants in it.

        Raises:
            MimicError: `losses` is not (B,), does not come from the model, or a record lacks ids.
            ReferenceExhausted: see `on_exhausted`; the batch has been scored and recorded.
        """
        self._check(losses)
        passes = self._watch.take()
        weights = self._weigh(losses, passes)
        self._record(losses, passes, ids, labels, epoch)
        self._advance()
        return (weights.to(losses.dtype) * losses).sum()

    def close(self) -> None:
        """Removes the hooks and finishes the record; the model is left as it was found."""
        self._finish()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs to go on bit for bit; everything recorded so far is on the disk after it."""
        if self._recorder is not None:
            self._recorder.flush()
        return {"step": self.step, "gauge": self._gauge.state_dict(), "slope": self._slope.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state_dict` was taken; visits recorded after that are forgotten and will be made again."""
        self.step = state["step"]
        self._gauge.load_state_dict(state["gauge"])
        self._slope.load_state_dict(state["slope"])
        if self._recorder is not None:
            self._recorder.resume(self.step)

    def _weigh(self, losses: Tensor, passes: list[Forward]) -> Tensor:
        with torch.autocast(losses.device.type, enabled=False):
            aim = self._target.aim()
            slopes = self._slope(losses, passes, aim)
            self.scores = -(slopes / aim.norm).detach()
            equal = self.exhausted is not None and self._on_exhausted == "uniform"
            self.weights = uniform(self.scores) if equal else self.policy(self.scores, self.step)
        return self.weights

    def _advance(self) -> None:
        assert self.scores is not None
        step, self.step = self.step, self.step + 1
        if not self._gauge.see(self.scores, step):
            return
        assert self.exhausted is not None
        if self._recorder is not None:
            self._recorder.note(exhausted={"step": self.exhausted.step, "mean": self.exhausted.mean})
        if self._on_exhausted == "stop":
            raise ReferenceExhausted(self.exhausted.sentence)
        warnings.warn(self.exhausted.sentence, stacklevel=3)

    def _record(
        self, losses: Tensor, passes: list[Forward], ids: Any, labels: Tensor | None, epoch: int | None
    ) -> None:
        if self._recorder is None:
            return
        assert self.scores is not None
        assert self.weights is not None
        margins = _margins(passes, labels) if labels is not None else None
        self._recorder.add(Visit(self.step, epoch, ids, self.scores, self.weights, losses.detach(), margins))

    def _make_recorder(self, folder: Path | str) -> Recorder:
        temperature = self.policy.temperature
        facts = {
            "scope": self._target.scope,
            "policy": self.policy.name,
            "temperature": "by step" if callable(temperature) else temperature,
            "share": self.policy.share,
            "on_exhausted": self._on_exhausted,
            "window": self._gauge.window,
            "exhausted": None,
        }
        rank = torch.distributed.get_rank() if processes() > 1 else 0
        return Recorder(folder, facts, rank, processes())

    @staticmethod
    def _check(losses: Tensor) -> None:
        if losses.ndim != 1 or len(losses) == 0:
            raise MimicError(
                f"losses has shape {tuple(losses.shape)}: one loss a sample is needed, (B,), as reduction='none' gives"
            )


def _margins(passes: list[Forward], labels: Tensor) -> Tensor | None:
    """The label's logit minus the highest other one, (B,); None where the model gives no logits for the labels."""
    if labels.is_floating_point() or labels.ndim != 1 or not passes:
        return None
    try:
        logits = logits_of(passes[-1].returned, len(labels)).detach().float()
    except MimicError:
        return None
    given = labels.unsqueeze(1)
    others = logits.scatter(1, given, -torch.inf).amax(dim=1)
    return logits.gather(1, given).squeeze(1) - others


def _finish(watch: Watch, recorder: Recorder | None) -> None:
    watch.close()
    if recorder is not None:
        recorder.close()
