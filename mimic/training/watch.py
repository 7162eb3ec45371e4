"""Watching a model's own forward passes: what each layer was given, and where in the graph its output lies.

Hooks only look. What they keep is dropped at the next forward pass or when it is taken, and a pass without gradients
(an evaluation) leaves no trace. Copies of a model (an average of its weights, a pickle) are not watched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Output:
    """A tensor that came out of a layer, and its place in the graph, which outlives changes made in place."""

    edge: GradientEdge
    value: Tensor  # detached


@dataclass(frozen=True)
class Call:
    """One call of a layer: its name, what it was given (detached) and what it gave."""

    layer: str
    given: Tensor
    output: Output


@dataclass
class Forward:
    """One forward pass of the model: its arguments, the random state before it, the calls of watched layers, outputs.

    `outputs` has an entry for every tensor in what the model returned, in order; None where it has no gradient.
    """

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    random: Tensor | None = None
    calls: list[Call] = field(default_factory=list)
    outputs: list[Output | None] = field(default_factory=list)
    returned: Any = None


class Watch:
    """Hooks on a model and on some of its layers.

    Args:
        module: the model.
        layers: names of the layers to watch.
        forwards: how many forward passes make one batch's losses: 2 for two views. Older ones are dropped.
        replay: keep the random state of each pass, so that it can be run again with the same dropout.
    """

    def __init__(self, module: nn.Module, layers: Iterable[str] = (), forwards: int = 1, replay: bool = False) -> None:
        self._module = module
        self._layers = {name: module.get_submodule(name) for name in layers}
        self._kept = forwards
        self._replay = replay
        self._passes: list[Forward] = []
        self._handles = [
            module.register_forward_pre_hook(_Hook(self._begin), with_kwargs=True),
            *(
                each.register_forward_hook(_Hook(self._record(name)), with_kwargs=True)
                for name, each in self._layers.items()
            ),
            module.register_forward_hook(_Hook(self._end)),
        ]

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
        if module is self._module and torch.is_grad_enabled():
            random = torch.get_rng_state() if self._replay else None
            self._passes = [*self._passes, Forward(args, kwargs, random)][-self._kept :]

    def _record(self, name: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], None]:
        def record(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if layer is not self._layers[name] or not torch.is_grad_enabled() or not _differentiable(output):
                return
            if not self._passes:  # a part of the model is called by itself, e.g. its image tower
                self._passes.append(Forward())
            given = next(each for each in (*args, *kwargs.values()) if isinstance(each, Tensor))
            self._passes[-1].calls.append(Call(name, given.detach(), _output(output)))

        return record

    def _end(self, module: nn.Module, args: tuple[Any, ...], returned: Any) -> None:
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


def _differentiable(output: Any) -> bool:
    return isinstance(output, Tensor) and output.requires_grad


def _output(tensor: Tensor) -> Output:
    return Output(get_gradient_edge(tensor), tensor.detach())
