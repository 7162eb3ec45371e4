"""How fast each sample's loss changes along a direction: dℓ_i(θ + ε v/‖v‖)/dε at ε = 0. The one place that knows how.

Stages: choose a method for every direction, one pass over the batch that serves them all, divide by ‖v‖. Unit: loss per
unit of weight distance; negative where a step along the direction makes the sample's loss smaller.

- ``closed``: the direction lies in the head, so the logits' change is one small matrix product of the features.
- ``jvp``: one forward-mode pass carries the change through the whole model.
- ``difference``: two passes at θ ± h v/‖v‖, for models whose operations forbid forward mode.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import jvp

from mimic.errors import MimicError
from mimic.losses import Loss, reads_pairs
from mimic.models.calling import Inputs, batch_size, evaluating, logits_of, pairs_of, plain_module, run
from mimic.models.direction import Direction
from mimic.models.head import watching
from mimic.scores.compiled import Compiled
from mimic.scores.difference import choose_step
from mimic.scores.forward_mode import quiet_torch
from mimic.scores.halves import PushInHalves

Method = Literal["auto", "closed", "jvp", "difference"]
# What a loss reads: logits (B, K), or features of both towers, scale and perhaps bias.
Outputs: TypeAlias = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class Ends:
    """Outputs at θ ± h v/‖v‖, whose difference stands for their change."""

    plus: Outputs
    minus: Outputs
    step: float


# How the outputs change along v/‖v‖, per unit of weight distance: exactly, or by a difference.
Change: TypeAlias = Outputs | Ends


@dataclass(frozen=True)
class Pushed:
    """What one pass over a batch gave, before any loss.

    Attributes:
        outputs, features: as in `Pass`.
        changes: one a direction.
    """

    outputs: Outputs | None
    features: Tensor | None
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Pass:
    """What one pass over a batch gave.

    Attributes:
        outputs: what the loss reads, at θ: logits (B, K), or a two-tower model's features and scale; None if only
            slopes were asked for and none of them needed it.
        features: (B, D), the head's input at θ; None where no head is known or the model's output is not the head's.
        slopes: one (B,) a direction, dℓ/dε along v/‖v‖.

    All are float32, or float64 for a float64 model: what a half-precision model gives is widened before the loss.
    """

    outputs: Outputs | None
    features: Tensor | None
    slopes: tuple[Tensor, ...]


class Differentiator:
    """The slopes of per-sample losses along one or more directions, each by the method that fits it.

    Args:
        module: the model at θ. Its mode and its parameters are left as they are.
        directions: v over one or more scopes; all share one pass.
        loss: per-sample loss of (outputs, target), see `mimic.losses`.
        method: ``"auto"`` picks for each direction: closed form in the head, else forward mode, else differences.
        head: the name of the final linear layer, where it is known though no direction is about it.
        compiled: whether to have torch.compile make one program of the forward-mode pass.

    Attributes:
        methods: the method of each direction. What was to be jvp may turn into difference on the first batch.
        reasons: why, one sentence each; for differences with the step and its error.

    Raises:
        MimicError: the method is unknown, or does not fit a direction.
    """

    def __init__(
        self,
        module: nn.Module,
        directions: Sequence[Direction],
        loss: Loss,
        method: Method = "auto",
        head: str | None = None,
        compiled: bool = False,
    ) -> None:
        if method not in get_args(Method):
            raise MimicError(f"there is no method {method!r}: one of {', '.join(get_args(Method))}")
        self.module = plain_module(module)
        self.directions = tuple(directions)
        self.loss = loss
        self.head = head or next((each.head for each in self.directions if each.head is not None), None)
        self.methods: list[str] = []
        self.reasons: list[str] = []
        for direction in self.directions:
            name, reason = _choose(self.module, direction, method)
            self.methods.append(name)
            self.reasons.append(reason)
        self._may_fall_back = method == "auto"
        self._steps: dict[int, float] = {}
        self._lines: dict[int, dict[str, Tensor]] = {}
        own = dict(self.module.named_parameters()) | dict(self.module.named_buffers())
        self._push: PushInHalves | Compiled = PushInHalves(self._run, own)
        if compiled and self._by("jvp"):
            read = pairs_of if reads_pairs(loss) else logits_of
            self._push = Compiled(self.module, read, self.head, self._push)

    @property
    def compile_note(self) -> str:
        """What torch.compile made, or why nothing; in a sentence."""
        if isinstance(self._push, Compiled):
            return self._push.note
        return "not compiled, because no scope is scored by forward mode"

    def __call__(self, inputs: Inputs, target: Tensor | None, outputs: bool = True) -> Pass:
        """One pass over a batch.

        Args:
            inputs: what the model takes: images (B, …), or a tuple (images, texts).
            target: what the loss takes, labels (B,) as a rule.
            outputs: whether the outputs at θ are wanted for their own sake.

        Returns:
            Outputs, features and slopes.

        Raises:
            MimicError: the model's output is not what its last linear layer gives, or forward mode was asked for and
                the model forbids it.
        """
        pushed = self.push(inputs, target, outputs)
        with evaluating(self.module):
            slopes = tuple(slope_of(self.loss, pushed.outputs, change, target) for change in pushed.changes)
        return Pass(pushed.outputs, pushed.features, slopes)

    def push(self, inputs: Inputs, target: Tensor | None = None, outputs: bool = True) -> Pushed:
        """The part of a pass that knows no loss, see `__call__`; the target is for the first batch of a difference."""
        here: Outputs | None = None
        features: Tensor | None = None
        changes: dict[int, Change] = {}
        with evaluating(self.module):
            if which := self._by("jvp"):
                here, changes, features = self._forward_mode(which, inputs)
            if here is None and (outputs or self._by("closed")):
                here, features = self._forward(inputs)
            for i in self._by("closed"):
                changes[i] = self._head_change(i, features)
            for i in self._by("difference"):
                changes[i] = self._difference(i, inputs, target)
        return Pushed(here, features, tuple(changes[i] for i in range(len(self.directions))))

    def probe(self, inputs: Inputs) -> None:
        """Settles the methods on any input at all, without deciding what depends on data, such as a difference's step.

        Raises:
            MimicError: as for a pass.
        """
        with evaluating(self.module):
            if which := self._by("jvp"):
                self._forward_mode(which, inputs)
            for i in self._by("closed"):
                self._head_change(i, self._forward(inputs)[1])

    def _by(self, method: str) -> list[int]:
        return [i for i, name in enumerate(self.methods) if name == method]

    def _run(self, inputs: Inputs, state: Mapping[str, Tensor]) -> tuple[Outputs, Tensor | None]:
        """Outputs and features at θ but for some weights, in the model's precision."""
        with watching(self.module, self.head) as seen:
            outputs = outputs_for(self.loss, self.module, inputs, state)
        return outputs, seen.features(outputs)

    def forward(self, inputs: Inputs, state: Mapping[str, Tensor]) -> Outputs:
        """What the loss reads at θ but for some of the model's tensors, as in `Pass`."""
        with evaluating(self.module):
            return widened(self._push.value(inputs, state)[0])

    def _forward(self, inputs: Inputs) -> tuple[Outputs, Tensor | None]:
        outputs, features = self._push.value(inputs, {})
        return widened(outputs), _widened(features)

    def _head_change(self, i: int, features: Tensor | None) -> Tensor:
        """(V h + v_b) / ‖v‖: the logits' change (B, K) when only the head moves."""
        if features is None:
            raise MimicError(
                f"the model's output is not what its last linear layer {self.head!r} gives, "
                "so there is no closed form: use scope full"
            )
        tensors, norm = self.directions[i].tensors, self.directions[i].norm
        bias = tensors.get(f"{self.head}.bias")
        change = F.linear(features, (tensors[f"{self.head}.weight"] / norm).to(features))
        return change if bias is None else change + (bias / norm).to(change)

    def _forward_mode(
        self, which: Sequence[int], inputs: Inputs
    ) -> tuple[Outputs | None, dict[int, Change], Tensor | None]:
        """Outputs, their change along those directions, features.

        Directions along which the model turns out to forbid it are missing where differences may be used instead.
        """
        lines = [self._line(i) for i in which]
        point = {name: each for here, _ in lines for name, each in here.items()}
        try:
            outputs, changes, features = self._push(inputs, point, [direction for _, direction in lines])
        except (NotImplementedError, RuntimeError) as error:
            if len(which) > 1:  # perhaps it does so in layers that only some of them reach
                return self._one_by_one(which, inputs)
            self._forward(inputs)  # a fault of the model or of its input is raised as such from here
            reason = str(error).partition("\n")[0][:160] or type(error).__name__
            if not self._may_fall_back:
                raise MimicError(f"the model forbids forward mode ({reason}): use method difference") from error
            self.methods[which[0]] = "difference"
            self.reasons[which[0]] = f"central difference, because the model forbids forward mode ({reason})"
            return None, {}, None
        lengths = [self.directions[i].norm for i in which]
        scaled = [_scaled(widened(change), 1 / norm) for change, norm in zip(changes, lengths, strict=True)]
        return widened(outputs), dict(zip(which, scaled, strict=True)), _widened(features)

    def _one_by_one(
        self, which: Sequence[int], inputs: Inputs
    ) -> tuple[Outputs | None, dict[int, Change], Tensor | None]:
        passes = [each for i in which if (each := self._forward_mode([i], inputs))[1]]
        if not passes:
            return None, {}, None
        return passes[0][0], {i: change for _, changes, _ in passes for i, change in changes.items()}, passes[0][2]

    def _difference(self, i: int, inputs: Inputs, target: Tensor | None) -> Ends:
        point, direction = self._line(i)

        def outputs_at(distance: float) -> Outputs:
            moved = {name: point[name] + distance / self.directions[i].norm * direction[name] for name in point}
            return self.forward(inputs, moved)

        if i not in self._steps:
            scale = math.sqrt(sum(float(each.cpu().double().square().sum()) for each in point.values()))
            step = choose_step(lambda distance: self.loss(outputs_at(distance), target), scale)
            self._steps[i] = step.length
            self.reasons[i] += (
                f"; step {step.length:.3g} along the unit direction, relative error about {step.error:.0e} "
                "by halving it on the first batch"
            )
        return Ends(outputs_at(self._steps[i]), outputs_at(-self._steps[i]), self._steps[i])

    def _line(self, i: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """θ and v over the scope, in the model's dtypes and on its device."""
        parameters = dict(self.module.named_parameters())
        tensors = self.directions[i].tensors
        point = {name: parameters[name].detach() for name in tensors}
        if i not in self._lines:
            self._lines[i] = {name: v.to(point[name]) for name, v in tensors.items()}
        return point, self._lines[i]


def slope_of(loss: Loss, outputs: Outputs | None, change: Change, target: Tensor | None) -> Tensor:
    """The losses' change (B,) for the outputs' change; the outputs are not needed for a difference."""
    if isinstance(change, Ends):
        return (loss(change.plus, target) - loss(change.minus, target)) / (2 * change.step)
    with quiet_torch():
        slope: Tensor = jvp(lambda z: loss(z, target), (outputs,), (change,))[1]
    return slope


def outputs_for(loss: Loss, module: nn.Module, inputs: Inputs, state: Mapping[str, Tensor] | None = None) -> Outputs:
    """What the loss reads of the model's output, with some of the model's tensors replaced.

    Raises:
        MimicError: the model does not return it.
    """
    read = pairs_of if reads_pairs(loss) else logits_of
    return read(run(module, inputs, state), batch_size(inputs))


def widened(outputs: Outputs) -> Outputs:
    """Outputs in float32 at least: a loss and its slope are small sums of large terms."""
    if isinstance(outputs, tuple):
        return tuple(each.to(torch.promote_types(each.dtype, torch.float32)) for each in outputs)
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))


def _widened(features: Tensor | None) -> Tensor | None:
    return None if features is None else features.to(torch.promote_types(features.dtype, torch.float32))


def _scaled(outputs: Outputs, factor: float) -> Outputs:
    return tuple(each * factor for each in outputs) if isinstance(outputs, tuple) else outputs * factor


def _choose(module: nn.Module, direction: Direction, method: Method) -> tuple[str, str]:
    """The method for a direction, and why."""
    against = _why_not_closed(module, direction)
    if method == "closed" and against:
        raise MimicError(f"there is no closed form for scope {direction.scope}, because {against}: use method auto")
    if method == "jvp" or (method == "auto" and against):
        return "jvp", "forward mode, as asked for" if method == "jvp" else f"forward mode, because {against}"
    if method == "difference":
        return "difference", "central difference, as asked for"
    return "closed", f"closed form, because the scope lies in the final linear layer {direction.head!r}"


def _why_not_closed(module: nn.Module, direction: Direction) -> str:
    """What stands against the closed form; empty if nothing does."""
    if direction.head is None:
        return "the scope reaches beyond the final linear layer"
    if not set(direction.tensors) <= {f"{direction.head}.weight", f"{direction.head}.bias"}:
        return f"{direction.head!r} is no plain linear layer of its own"
    return why_not_through(module, direction.head)


def why_not_through(module: nn.Module, head: str) -> str:
    """Why new weights of the head would not act on its features alone; empty if they do."""
    layer = module.get_submodule(head)
    others = {name for name, _ in layer.named_parameters()} - {"weight", "bias"}
    if not isinstance(layer, nn.Linear) or others or not _is_affine(layer):
        return f"{head!r} is no plain linear layer of its own"
    uses = [name for name, each in module.named_parameters(remove_duplicate=False) if each is layer.weight]
    return f"{head!r} shares its weights with another layer" if len(uses) > 1 else ""


def _is_affine(layer: nn.Linear) -> bool:
    """Whether a layer gives W x + b and nothing else; subclasses of torch's own may do more."""
    if type(layer) is nn.Linear:
        return True
    x = torch.linspace(-1, 1, 2 * layer.in_features).view(2, -1).to(layer.weight)
    with evaluating(layer):
        return torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
