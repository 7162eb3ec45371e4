"""Watching a model's own forward passes: what each layer was given, and where in the graph its output lies.

Hooks only look. What they keep is dropped at the next forward pass or when it is taken, and a pass without gradients
(an evaluation) leaves no trace. Copies of a model (an average of its weights, a pickle) are not watched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle


@dataclass(frozen=True)
class Output:
    """A tensor that came out of a layer, and its place in the graph, which outlives changes made in place."""

    edge: GradientEdge
    value: Tensor  # detached


@dataclass(frozen=True)
class Call:
    """One call of a layer: its name, what it was given (detached) and what it gave.

    A parameter that is spread over the batch is a call too: its name, itself, and the spread view.
    """

    layer: str
    given: Tensor
    output: Output


@dataclass
class Forward:
    """One forward pass of the model.

    Attributes:
        args, kwargs: what the model was called with; nothing where only a part of it was called.
        random: the random states of the CPU and of the model's GPU before it; None where they were not asked for.
        autocast: the model's device, whether autocast was on there, and to which dtype.
        calls: of watched layers, in order.
        outputs: one for every tensor in what the model returned, in order; None where it has no gradient.
        returned: what the model returned.
    """

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    random: tuple[Tensor, ...] | None = None
    autocast: tuple[torch.device, bool, torch.dtype] = (torch.device("cpu"), False, torch.bfloat16)
    calls: list[Call] = field(default_factory=list)
    outputs: list[Output | None] = field(default_factory=list)
    returned: Any = None


class Watch:
    """Hooks on a model and on some of its layers.

    Args:
        module: the model.
        layers: names of the layers to watch; each with the name of its own submodule that is given its result, or with
            an empty one where the result is its output.
        forwards: how many forward passes make one batch's losses: 2 for two views. Older ones are dropped.
        spread: names of parameters (first dimension 1) that each forward pass gets as a view, one row a sample.
        replay: keep the random state of each pass, so that it can be run again with the same dropout.
    """

    def __init__(
        self,
        module: nn.Module,
        layers: Mapping[str, str] | None = None,
        forwards: int = 1,
        spread: Iterable[str] = (),
        replay: bool = False,
    ) -> None:
        self._module = module
        self._layers = {name: module.get_submodule(name) for name in layers or {}}
        self._given: dict[str, Tensor] = {}  # to a layer that has not come to its result yet
        self._kept = forwards
        self._spread = list(spread)
        self._replay = replay
        self._passes: list[Forward] = []
        self._swapped: list[tuple[dict[str, Any], str, nn.Parameter]] = []
        self._handles = [module.register_forward_pre_hook(_Hook(self._begin), with_kwargs=True)]
        for name, inner in (layers or {}).items():
            self._handles += self._watch_inside(name, inner) if inner else self._watch_output(name)
        self._handles.append(module.register_forward_hook(_Hook(self._end), always_call=True))

    def take(self) -> list[Forward]:
        """The passes since the last time, oldest first; they are forgotten here."""
        passes, self._passes = self._passes, []
        return passes

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._passes = []

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if module is not self._module or not torch.is_grad_enabled():
            return
        passed = Forward(args, kwargs)
        if self._replay:
            device = next(module.parameters()).device
            passed.random = _random_states(device)
            enabled, dtype = torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)
            passed.autocast = device, enabled, dtype
        self._passes = [*self._passes, passed][-self._kept :]
        if self._spread:
            self._spread_over(len(_first_tensor(args, kwargs)), passed)

    def _spread_over(self, samples: int, passed: Forward) -> None:
        for path in self._spread:
            owner, _, name = path.rpartition(".")
            held = self._module.get_submodule(owner)._parameters
            parameter = held[name]
            assert parameter is not None
            view = parameter.expand(samples, *parameter.shape[1:])
            passed.calls.append(Call(path, parameter.detach(), _output(view)))
            self._swapped.append((held, name, parameter))
            held[name] = view  # type: ignore[assignment]  # as torch.func.functional_call does it

    def _watch_output(self, name: str) -> list[RemovableHandle]:
        watched = self._layers[name]

        def after(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if layer is watched:
                self._record(name, _first_tensor(args, kwargs), output)

        return [watched.register_forward_hook(_Hook(after), with_kwargs=True)]

    def _watch_inside(self, name: str, inner: str) -> list[RemovableHandle]:
        watched, receiver = self._layers[name], self._layers[name].get_submodule(inner)

        def before(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if layer is watched:
                self._given[name] = _first_tensor(args, kwargs)

        def received(layer: nn.Module, args: tuple[Any, ...]) -> None:
            if layer is receiver and name in self._given:
                self._record(name, self._given.pop(name), args[0])

        return [
            watched.register_forward_pre_hook(_Hook(before), with_kwargs=True),
            receiver.register_forward_pre_hook(_Hook(received)),
        ]

    def _record(self, name: str, given: Tensor, output: Any) -> None:
        if not torch.is_grad_enabled() or not _differentiable(output):
            return
        if not self._passes:  # a part of the model is called by itself, e.g. its image tower
            self._passes.append(Forward())
        self._passes[-1].calls.append(Call(name, given.detach(), _output(output)))

    def _end(self, module: nn.Module, args: tuple[Any, ...], returned: Any) -> None:
        while self._swapped:
            held, name, parameter = self._swapped.pop()
            held[name] = parameter
        if module is self._module and torch.is_grad_enabled() and self._passes:
            leaves = [each for each in tree_leaves(returned) if isinstance(each, Tensor)]
            self._passes[-1].outputs = [_output(each) if _differentiable(each) else None for each in leaves]
            self._passes[-1].returned = returned


class _Hook:
    """A hook that neither pickles nor copies with the model: the copy gets one that does nothing."""

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> None:
        self._function(*args)

    def __reduce__(self) -> tuple[Callable[[], Callable[..., None]], tuple[()]]:
        return _inert, ()


def _inert() -> Callable[..., None]:
    return _ignore


def _ignore(*args: Any) -> None:
    """The hook of a copy."""


def _first_tensor(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    return next(each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor))


def _random_states(device: torch.device) -> tuple[Tensor, ...]:
    here = torch.get_rng_state()
    return (here, torch.cuda.get_rng_state(device)) if device.type == "cuda" else (here,)


def _differentiable(output: Any) -> bool:
    return isinstance(output, Tensor) and output.requires_grad


def _output(tensor: Tensor) -> Output:
    return Output(get_gradient_edge(tensor), tensor.detach())
