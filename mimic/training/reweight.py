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
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.models.calling import logits_of
from mimic.training.closed import HeadSlope, lies_in_head
from mimic.training.exhaustion import Exhaustion, Gauge, OnExhausted, ReferenceExhausted, check_reaction
from mimic.training.full import FullMethod, FullSlope
from mimic.training.recorder import Recorder, Visit
from mimic.training.target import Target
from mimic.training.together import gathered, processes, rank
from mimic.training.watch import Forward
from mimic.training.weights import Policy, PolicyName, Temperature, uniform

Variant: TypeAlias = Literal["mimic", "cosine"]


class GradMimic:
    """Weighs the samples of each batch by how far they carry a model in training towards a reference.

    Make it once, after the model has its starting weights and before it is wrapped or compiled; call it once a step. It
    hooks into the model to see what the last forward pass with gradients did, and changes nothing. Under
    DistributedDataParallel weights sum to 1 over each process's own batch, or over all of them: see `together`.

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
        variant: ``"mimic"``, or ``"cosine"``: −⟨g_i, v⟩ / (‖g_i‖ ‖v‖), −1 … 1, which does not grow with the length of a
            sample's own gradient over the scope.
        on_exhausted: what to do from the step on in which the mean score over a window is not positive any more:
            ``"continue"``, give every sample the same weight (``"uniform"``), or raise `ReferenceExhausted`
            (``"stop"``). It is said once as a warning, and kept in `exhausted` and in the record.
        window: steps a mean score is taken over.
        method: how scopes beyond the last layer are scored, see `mimic.training.full`; the last layer always has its
            closed form.
        coupled: whether a sample's loss depends on other samples of the batch, as a contrastive one does; the first
            batch tells if it is not given.
        forwards: how many forward passes make one batch's losses, e.g. 2 for two views.
        example: (B, …), an input to find the last layer with, for a model whose head is not its last linear layer.
        together: under several processes, weigh all their batches as one: weights sum to 1 over them, and the mean of
            the processes' gradients, which DistributedDataParallel takes, is Σ w_i g_i over all samples.

    Attributes:
        scores: (B,) of the last batch, detached; None before the first.
        weights: (B,) of the last batch, detached.
        all_weights: those of every process's batch where they are weighed together, else the same.
        distance: ‖v‖ before the last step, a scalar tensor: how far the reference is over the scope.
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
        variant: Variant = "mimic",
        on_exhausted: OnExhausted = "continue",
        window: int = 50,
        method: FullMethod = "auto",
        coupled: bool | None = None,
        forwards: int = 1,
        example: Tensor | None = None,
        together: bool = False,
    ) -> None:
        check_reaction(on_exhausted)
        if variant not in get_args(Variant):
            raise MimicError(f"there is no variant={variant!r}: one of {', '.join(get_args(Variant))}")
        self.policy = Policy(policy, temperature, share)
        self.step = 0
        self.scores: Tensor | None = None
        self.weights: Tensor | None = None
        self.all_weights: Tensor | None = None
        self._all_scores: Tensor | None = None
        self._together = together
        self.distance: Tensor | None = None
        self._variant = variant
        self._on_exhausted = on_exhausted
        self._gauge = Gauge(window)
        self._target = Target(model, reference_state, scope, example)
        in_head = method == "auto" and lies_in_head(self._target)
        self._slope: HeadSlope | FullSlope = (
            HeadSlope(self._target, coupled, forwards, lengths=variant == "cosine")
            if in_head
            else FullSlope(self._target, method, coupled, forwards, lengths=variant == "cosine")
        )
        self._recorder = self._make_recorder(record) if record is not None else None
        self._finish = weakref.finalize(self, _finish, self._slope, self._recorder)

    @property
    def method(self) -> str:
        """How scores are had now: ``closed``, ``backward``, ``jvp``, ``difference``; ``auto`` while undecided."""
        return self._slope.method

    @property
    def reason(self) -> str:
        """Why, in a sentence."""
        return self._slope.reason

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
            Σ w_i ℓ_i, a scalar; the weights are constants in it. Together with other processes it is so many times
            as much as there are of them, for the mean over them to be the sum.

        Raises:
            MimicError: `losses` is not (B,), does not come from the model, or a record lacks ids.
            ReferenceExhausted: see `on_exhausted`; the batch has been scored and recorded.
        """
        self._check(losses)
        passes = self._slope.watch.take()
        weights = self._weigh(losses, passes)
        self._record(losses, passes, ids, labels, epoch)
        self._advance()
        return (weights.to(losses.dtype) * losses).sum() * self._share

    def backward(
        self,
        losses: Tensor,
        *,
        ids: Any = None,
        labels: Tensor | None = None,
        epoch: int | None = None,
        parameters: Literal["all", "scored"] = "all",
        scaler: torch.amp.GradScaler | None = None,
    ) -> Tensor:
        """Leaves the weighted gradients in ``.grad``, added to what is there: for scope ``full``, by one backward pass.

        Args:
            losses, ids, labels, epoch: as in a call.
            parameters: ``"all"`` gives every parameter Σ w_i g_i; ``"scored"`` only those of the scope, and the others
                the plain mean gradient, as the paper's released code does.
            scaler: of float16 training; the gradients are scaled by it, as `scaler.scale(loss).backward()` leaves them.

        Returns:
            Σ w_i ℓ_i, a scalar without graph.

        Raises:
            MimicError: as a call does, or ``"scored"`` under several processes, whose wrapper expects one backward
                pass through everything.
            ReferenceExhausted: see `on_exhausted`; no gradient has been left.
        """
        self._check(losses)
        if parameters not in ("all", "scored"):
            raise MimicError(f"there is no parameters={parameters!r}: all or scored")
        if parameters == "scored" and processes() > 1:
            raise MimicError("parameters='scored' needs a single process: use parameters='all' under several")
        passes = self._slope.watch.take()
        at_once = self._slope.gives_gradients and processes() == 1
        scale = scaler.scale(torch.ones((), device=losses.device)) if scaler is not None else None
        weights = self._weigh(losses, passes, scale, keep_graph=not at_once)
        self._record(losses, passes, ids, labels, epoch)
        self._advance()
        weighted = (weights.to(losses.dtype) * losses).sum() * self._share
        if at_once:
            assert isinstance(self._slope, FullSlope)
            self._add(self._slope.gradients(weights))
        else:
            factor = 1.0 if scale is None else scale
            self._go_back(weighted * factor, losses.mean() * factor if parameters == "scored" else None)
        return weighted.detach()

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

    def _weigh(
        self, losses: Tensor, passes: list[Forward], scale: Tensor | None = None, keep_graph: bool = True
    ) -> Tensor:
        with torch.autocast(losses.device.type, enabled=False):
            aim = self._target.aim()
            slopes = self._slope(losses if scale is None else losses * scale, passes, aim, keep_graph)
            self.distance = aim.norm
            self.scores = -(slopes / self._unit(aim.norm, scale)).detach()
            self._all_scores, own = gathered(self.scores) if self._together else (self.scores, slice(None))
            equal = self.exhausted is not None and self._on_exhausted == "uniform"
            self.all_weights = uniform(self._all_scores) if equal else self.policy(self._all_scores, self.step)
            self.weights = self.all_weights[own]
        return self.weights

    @property
    def _share(self) -> int:
        return processes() if self._together else 1

    def _unit(self, norm: Tensor, scale: Tensor | None) -> Tensor:
        """What slopes are divided by: ‖v‖, and for the cosine every sample's own ‖g_i‖, which a scaler scales too."""
        if self._variant == "cosine":
            assert self._slope.lengths is not None
            tiny = torch.finfo(self._slope.lengths.dtype).tiny
            return (norm * self._slope.lengths).clamp_min(tiny)  # where there is no gradient the cosine is 0
        return norm if scale is None else norm * scale

    def _add(self, gradients: Mapping[str, Tensor]) -> None:
        for name, gradient in gradients.items():
            parameter = self._target.parameters[name]
            gradient = gradient.to(parameter.dtype)
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient

    def _go_back(self, weighted: Tensor, mean: Tensor | None) -> None:
        """One ordinary backward pass, of the weighted loss, or of the mean with the scope's gradients exchanged."""
        if mean is None:
            weighted.backward()  # type: ignore[no-untyped-call]
            return
        scored = self._target.parameters
        gradients = torch.autograd.grad(weighted, list(scored.values()), retain_graph=True, allow_unused=True)
        before = {name: each.grad for name, each in scored.items()}
        for each in scored.values():
            each.grad = None
        mean.backward()  # type: ignore[no-untyped-call]
        for name, each in scored.items():
            each.grad = before[name]
        self._add({name: each for name, each in zip(scored, gradients, strict=True) if each is not None})

    def _advance(self) -> None:
        assert self._all_scores is not None
        step, self.step = self.step, self.step + 1
        if not self._gauge.see(self._all_scores, step):
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
        assert self.all_weights is not None
        together = len(self.all_weights)
        logits = _logits(passes, labels) if labels is not None else None
        self._recorder.add(
            Visit(self.step, epoch, ids, self.scores, self.weights, losses.detach(), logits, labels, together)
        )

    def _make_recorder(self, folder: Path | str) -> Recorder:
        temperature = self.policy.temperature
        facts = {
            "scope": self._target.scope,
            "variant": self._variant,
            "policy": self.policy.name,
            "temperature": "by step" if callable(temperature) else temperature,
            "share": self.policy.share,
            "on_exhausted": self._on_exhausted,
            "window": self._gauge.window,
            "exhausted": None,
        }
        return Recorder(folder, facts, rank(), processes())

    @staticmethod
    def _check(losses: Tensor) -> None:
        if losses.ndim != 1 or len(losses) == 0:
            raise MimicError(
                f"losses has shape {tuple(losses.shape)}: one loss a sample is needed, (B,), as reduction='none' gives"
            )


def _logits(passes: list[Forward], labels: Tensor) -> Tensor | None:
    """The logits (B, K) that belong to class labels (B,); None where the model gives none, or labels are no classes."""
    if labels.is_floating_point() or labels.ndim != 1 or not passes:
        return None
    try:
        return logits_of(passes[-1].returned, len(labels)).detach()
    except MimicError:
        return None


def _finish(slope: HeadSlope | FullSlope, recorder: Recorder | None) -> None:
    slope.watch.close()
    if recorder is not None:
        recorder.close()
