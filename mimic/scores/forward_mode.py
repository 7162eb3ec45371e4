"""Forward mode over anybody's model: the value of a function of weights, and its change along a direction, in one pass.

Torch's dual tensors carry the change through the model; a function mode looks over every call and takes the layers that
cost the most by `mimic.scores.dual_rules`. Whatever has no rule there goes by torch's own, so any model works, only
slower. The layers before the first weight that moves run without a change.

A convolution whose output only its BatchNorm reads becomes one convolution with it. Which those are is seen on the
first pass; from the second on they are folded. Should another call ever read what was folded, the pass is done again
without.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
import torch.autograd.forward_ad as fwad
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter, tree_map

from mimic.scores import dual_rules

T = TypeVar("T")

RULES: dict[Callable[..., Any], Callable[..., dual_rules.Dual | None]] = {
    F.linear: dual_rules.linear,
    F.layer_norm: dual_rules.layer_norm,
    F.group_norm: dual_rules.group_norm,
    F.scaled_dot_product_attention: dual_rules.attention,
}
CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
# What only looks at a tensor's shape: a folded convolution's output has the right one.
METADATA = {
    Tensor.dim,
    Tensor.size,
    Tensor.is_floating_point,
    *(getattr(Tensor, name).__get__ for name in ("shape", "ndim", "dtype", "device")),
}


@contextmanager
def forward_mode() -> Iterator[None]:
    """Has attention use kernels that know forward mode: the fused ones and the fast path of nn.Transformer do not."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), quiet_torch():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def quiet_torch() -> Iterator[None]:
    """torch's forward mode uses a deprecated part of torch on its first call and warns of itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated")
        yield


class Pushforward:
    """Pushes changes of weights through functions of them, again and again for one model.

    It remembers what the model's layers allow, nothing about weights or inputs.
    """

    def __init__(self) -> None:
        self._norms: dict[int, _Norm] = {}  # by the memory of the convolution's weight
        self._folds = True
        self._channels_last = True

    def __call__(
        self, function: Callable[[dict[str, Tensor]], T], point: Mapping[str, Tensor], tangent: Mapping[str, Tensor]
    ) -> tuple[T, T]:
        """function(point), and how fast it changes along the tangent.

        Args:
            function: from named weights to tensors, in any nesting.
            point: the weights at which.
            tangent: name → direction, for all of them; shapes and dtypes as in `point`.

        Returns:
            Value and change, both as the function returns them; the change of a tensor that does not move is zero.

        Raises:
            NotImplementedError, RuntimeError: an operation of the function has no forward mode.
        """
        with forward_mode(), torch.no_grad(), fwad.dual_level():
            duals = {name: dual_rules.join((_usable(point[name]), _usable(tangent[name]))) for name in point}
            result = self._try(function, duals)
            return tree_map(_value, result), tree_map(_change, result)

    def _try(self, function: Callable[[dict[str, Tensor]], T], duals: dict[str, Tensor]) -> T:
        mode = _DualMode(self._norms if self._folds else {}, duals, self._channels_last)
        try:
            with mode:
                result = function(duals)
            mode.refuse(tree_iter(result))
        except _FoldedWasRead:
            self._folds = False
        except RuntimeError as error:
            if not self._channels_last or "view size is not compatible" not in str(error):
                raise
            self._channels_last = False
        else:
            self._norms |= mode.found
            return result
        return self._try(function, duals)


@dataclass(frozen=True)
class _Norm:
    """A BatchNorm by running statistics, as it was called behind a convolution."""

    mean: Tensor
    variance: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float


class _FoldedWasRead(Exception):
    """Something other than its normalisation read the output of a convolution that was folded with it."""


class _DualMode(TorchFunctionMode):
    """Takes calls by our rules; one object a pass.

    Args:
        norms: the normalisations to fold, by the memory of the weight of the convolution before them.
        duals: the weights of this pass.
        channels_last: whether convolutions may change their output's layout in memory.
    """

    def __init__(self, norms: Mapping[int, _Norm], duals: Mapping[str, Tensor], channels_last: bool) -> None:
        super().__init__()
        self.norms = norms
        self.found: dict[int, _Norm] = {}
        self._channels_last = channels_last
        self._weights = {each.data_ptr(): each for each in duals.values()}
        self._convolved: tuple[Tensor, int] | None = None  # the last convolution's output, and its weight's memory
        self._folded: dict[int, tuple[Tensor, _Norm]] = {}  # outputs that wait for their normalisation, by identity

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm:
            return self._batch_norm(*args, **kwargs)
        if self._folded and func not in METADATA:
            self.refuse(tree_iter((args, kwargs)))
        if func in CONVOLUTIONS:
            return self._convolution(func, *args, **kwargs)
        if func is F.multi_head_attention_forward:
            with self:  # it is made of calls that have rules
                attended = dual_rules.multi_head(*args, **kwargs)
            if attended is not None:
                return attended
        rule = RULES.get(func)
        result = rule(*args, **kwargs) if rule else None
        return func(*args, **kwargs) if result is None else dual_rules.join(result)

    def refuse(self, tensors: Iterable[Any]) -> None:
        """Stops the pass if one of the tensors is no output of the model's own, because it was folded."""
        if self._folded and any(id(each) in self._folded for each in tensors):
            raise _FoldedWasRead

    def _convolution(
        self,
        func: Callable[..., Tensor],
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        *how: Any,
        **named: Any,
    ) -> Tensor:
        memory = weight.data_ptr()
        norm = self.norms.get(memory)
        if norm is not None:
            weight, bias = self._fold(weight, bias, norm)
        output = dual_rules.join(
            dual_rules.convolution(partial(func, **named), input, weight, bias, *how, channels_last=self._channels_last)
        )
        if norm is not None:
            self._folded[id(output)] = (output, norm)
        else:
            self._convolved = (output, memory)
        return output

    def _fold(self, weight: Tensor, bias: Tensor | None, norm: _Norm) -> tuple[Tensor, Tensor]:
        """Weight s W and bias s (b − μ) + β, with s = γ / √(σ² + ε), of the two layers as one."""
        gamma, beta = (
            each if each is None else self._weights.get(each.data_ptr(), each) for each in (norm.weight, norm.bias)
        )
        scale = torch.rsqrt(norm.variance + norm.eps)
        scale = scale if gamma is None else scale * gamma
        shift = (-norm.mean if bias is None else bias - norm.mean) * scale
        return weight * scale.view(-1, *[1] * (weight.ndim - 1)), shift if beta is None else shift + beta

    def _batch_norm(
        self,
        input: Tensor,
        mean: Tensor | None,
        variance: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        waiting = self._folded.pop(id(input), None)
        if waiting is not None and waiting[1].mean is mean:
            return input
        if training or mean is None or variance is None:
            return F.batch_norm(input, mean, variance, weight, bias, training, momentum, eps)
        if self._convolved is not None and self._convolved[0] is input:
            self.found[self._convolved[1]] = _Norm(mean, variance, _value(weight), _value(bias), eps)
        return dual_rules.join(dual_rules.batch_norm(input, mean, variance, weight, bias, eps))


def _usable(tensor: Tensor) -> Tensor:
    """A tensor that keeps its change through views: one made under inference mode does not."""
    return tensor.clone() if tensor.is_inference() else tensor


def _value(item: T) -> T:
    return dual_rules.parts(item)[0] if isinstance(item, Tensor) else item


def _change(item: Any) -> Any:
    if not isinstance(item, Tensor):
        return item
    value, change = dual_rules.parts(item)
    return torch.zeros_like(value) if change is None else change
