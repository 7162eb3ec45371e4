"""Forward mode over anybody's model: a function of weights, and its change along one or more directions, in one pass.

Tensors carry their changes through the model (`mimic.scores.duals`); a function mode looks over every call and takes
the layers that cost the most by `mimic.scores.dual_rules`, which compute a value once for all directions. Whatever has
no rule there goes by torch's own, so any model works, only slower. The layers before the first weight that moves along
a direction run without a change along it. Where a model does what several changes are lost in, each direction gets a
pass of its own.

A convolution whose output only its BatchNorm reads becomes one convolution with it. Which those are is seen on the
first pass; from the second on they are folded. Should another call ever read what was folded, the pass is done again
without. Tokens that nobody reads are left out in the same way, see `mimic.scores.one_token`.

A pass with nothing to push goes the same way, and is faster than the model called as it is for the same reasons.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, TypeVar

import torch
import torch.autograd.forward_ad as fwad
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter, tree_map

from mimic.scores import dual_rules, duals, one_token

T = TypeVar("T")

RULES: dict[Callable[..., Any], Callable[..., duals.Dual | None]] = {
    F.linear: dual_rules.linear,
    F.layer_norm: dual_rules.layer_norm,
    F.group_norm: dual_rules.group_norm,
    F.scaled_dot_product_attention: dual_rules.attention,
}
CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
# Attention that nothing moves in may take any kernel.
FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.MATH]
# What only looks at a tensor's shape: a folded convolution's output has the right one.
METADATA = {
    Tensor.dim,
    Tensor.size,
    Tensor.numel,
    Tensor.__len__,
    Tensor.is_floating_point,
    *(getattr(Tensor, name).__get__ for name in ("shape", "ndim", "dtype", "device", "requires_grad")),
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

    It remembers what the model's layers allow, nothing about the weights' values or inputs.

    Args:
        own: the model's parameters and buffers by name, for what a function reads beyond the weights that it is given.
    """

    def __init__(self, own: Mapping[str, Tensor] | None = None) -> None:
        self._own = dict(own or {})
        self._learnt = _Learnt()

    def __call__(
        self,
        functions: Sequence[Callable[[dict[str, Tensor]], T]],
        point: Mapping[str, Tensor],
        tangents: Sequence[Mapping[str, Tensor]],
    ) -> list[tuple[T, tuple[T, ...]]]:
        """Every function(point), and how fast it changes along each tangent.

        Args:
            functions: from named weights to tensors, in any nesting: one model on different inputs.
            point: the weights at which.
            tangents: each name → direction, for those that move; shapes and dtypes as in `point`.

        Returns:
            Value and changes, all as each function returns them; the change of a tensor that does not move is zero.

        Raises:
            NotImplementedError, RuntimeError: an operation of the function has no forward mode.
        """
        if len(tangents) > 1 and self._learnt.together:
            try:
                return self._pushed(functions, point, tangents)
            except duals.Unseen:
                self._learnt.together = False
        alone = [self._pushed(functions, point, [tangent]) for tangent in tangents]
        return [(each[0][0], tuple(changes[0] for _, changes in each)) for each in zip(*alone, strict=True)]

    def _pushed(
        self,
        functions: Sequence[Callable[[dict[str, Tensor]], T]],
        point: Mapping[str, Tensor],
        tangents: Sequence[Mapping[str, Tensor]],
    ) -> list[tuple[T, tuple[T, ...]]]:
        with forward_mode(), torch.no_grad(), fwad.dual_level():
            weights = {}
            for name, each in point.items():
                changes = [_usable(tangent[name]) if name in tangent else None for tangent in tangents]
                moves = any(change is not None for change in changes)
                weights[name] = duals.join((_usable(each), changes)) if moves else each
            folded: _Folded = {}
            results = [self._try(function, weights, folded, len(tangents)) for function in functions]
            return [
                (tree_map(_value, result), tuple(tree_map(partial(_change, k), result) for k in range(len(tangents))))
                for result in results
            ]

    def value(self, function: Callable[[dict[str, Tensor]], T], point: Mapping[str, Tensor]) -> T:
        """function(point) with nothing to push, by the same kernels."""
        with forward_mode(), torch.no_grad():
            return self._try(function, dict(point), {}, 0)

    def _try(
        self, function: Callable[[dict[str, Tensor]], T], weights: dict[str, Tensor], folded: _Folded, directions: int
    ) -> T:
        mode = _Mode(self._learnt, self._own, weights, folded, directions)
        try:
            with mode:
                result = function(weights)
            mode.refuse(tree_iter(result))
        except _FoldedWasRead:
            self._learnt.folds = False
        except one_token.WasRead:
            self._learnt.one_token = {}
        except duals.Overwrites:
            pass  # which function that was has been learnt
        except RuntimeError as error:
            if not self._learnt.channels_last or "view size is not compatible" not in str(error):
                raise
            self._learnt.channels_last = False
        else:
            mode.learn()
            return result
        return self._try(function, weights, folded, directions)


@dataclass
class _Learnt:
    """What earlier passes found out about a model.

    Attributes:
        norms: convolution's place in the pass → the normalisation that alone reads its output.
        folds: whether those may be folded.
        one_token: attention's place in the pass → the only row of it that is read; None before the first pass.
        channels_last: whether convolutions may change their output's layout in memory.
        together: whether several directions may share a pass.
        overwriting: functions that wrote into their arguments.
    """

    norms: dict[int, _Norm] = field(default_factory=dict)
    folds: bool = True
    one_token: dict[int, int] | None = None
    channels_last: bool = True
    together: bool = True
    overwriting: set[Callable[..., Any]] = field(default_factory=set)


@dataclass(frozen=True)
class _Norm:
    """A BatchNorm by running statistics, as it was called behind a convolution: the names of its tensors, and eps.

    A tensor that is neither the model's own nor among a pass's weights has no name, and stands for itself.
    """

    tensors: tuple[str | Tensor | None, ...]  # mean, variance, weight, bias
    eps: float


# convolution's place → weight and bias of it and its normalisation as one, for all passes at the same weights
_Folded: TypeAlias = dict[int, tuple[Tensor, Tensor]]


class _FoldedWasRead(Exception):
    """Something other than its normalisation read the output of a convolution that was folded with it."""


class _Mode(TorchFunctionMode):
    """Takes calls by our rules; one object a pass.

    Args:
        learnt: what earlier passes found out.
        own: the model's own tensors.
        weights: those of this pass, by name.
        folded: what other passes at the same weights have folded; more is put there.
        directions: how many changes a tensor that moves has.
    """

    def __init__(
        self,
        learnt: _Learnt,
        own: Mapping[str, Tensor],
        weights: Mapping[str, Tensor],
        folded: _Folded,
        directions: int,
    ) -> None:
        super().__init__()
        self._learnt = learnt
        self._several = directions if directions > 1 else 0
        self._known = {**own, **weights}
        self._names = {each.data_ptr(): name for each_of in (own, weights) for name, each in each_of.items()}
        self._together = folded
        self._norms: dict[int, _Norm] = {}
        self._plainly = partial(_plainly, learnt, self._several)  # not a method, which would keep the pass's tensors
        self._tokens = one_token.OneToken(
            learnt.one_token or {}, learning=learnt.one_token is None, plainly=self._plainly
        )
        self._count = 0  # of convolutions
        self._convolved: tuple[Tensor, int] | None = None  # the last one's output, and its place
        self._folded: dict[int, tuple[Tensor, _Norm]] = {}  # outputs that wait for their normalisation, by identity

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        call = partial(self._call, func)
        if func is F.scaled_dot_product_attention:
            return self._tokens.attention(call, args, kwargs)
        if self._tokens.follows and func not in METADATA:
            return self._tokens.step(func, call, args, kwargs)
        return call(args, kwargs)

    def _call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._several and func not in METADATA:
            duals.check(tree_iter((args, kwargs)))
        if func is F.batch_norm:
            return self._batch_norm(*args, **kwargs)
        if self._folded and func not in METADATA:
            self._refuse_folded(tree_iter((args, kwargs)))
        if func in CONVOLUTIONS:
            return self._convolution(func, *args, **kwargs)
        if func is F.multi_head_attention_forward:
            with self:  # it is made of calls that have rules
                attended = dual_rules.multi_head(*args, **kwargs)
            if attended is not None:
                return attended
        rule = RULES.get(func)
        result = rule(*args, **kwargs) if rule else None
        if result is not None:
            return duals.join(result)
        if func is F.scaled_dot_product_attention and not duals.moves(*args, *kwargs.values()):
            with sdpa_kernel(FUSED):
                return func(*args, **kwargs)
        return self._plainly(func, args, kwargs)

    def refuse(self, tensors: Iterable[Any]) -> None:
        """Stops the pass if one of the tensors is not what the model alone would have made there."""
        tensors = list(tensors)
        if self._several:
            duals.check(tensors)
        self._tokens.refuse(tensors)
        self._refuse_folded(tensors)

    def learn(self) -> None:
        """Keeps what this pass found out, which went through."""
        self._learnt.norms |= self._norms
        if self._learnt.one_token is None:
            self._learnt.one_token = self._tokens.found()

    def _refuse_folded(self, tensors: Iterable[Any]) -> None:
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
        place, self._count = self._count, self._count + 1
        norm = self._learnt.norms.get(place) if self._learnt.folds else None
        if norm is not None:
            if place not in self._together:
                with self:  # changes of the weights go along
                    self._together[place] = self._fold(weight, bias, norm)
            weight, bias = self._together[place]
        last = self._learnt.channels_last
        output = duals.join(
            dual_rules.convolution(partial(func, **named), input, weight, bias, *how, channels_last=last)
        )
        if norm is not None:
            self._folded[id(output)] = (output, norm)
        else:
            self._convolved = (output, place)
        return output

    def _fold(self, weight: Tensor, bias: Tensor | None, norm: _Norm) -> tuple[Tensor, Tensor]:
        """Weight s W and bias s (b − μ) + β, with s = γ / √(σ² + ε), of the two layers as one."""
        mean, variance, gamma, beta = self._tensors(norm)
        assert mean is not None
        assert variance is not None
        scale = torch.rsqrt(variance + norm.eps)
        scale = scale if gamma is None else scale * gamma
        shift = (-mean if bias is None else bias - mean) * scale
        return weight * scale.view(-1, *[1] * (weight.ndim - 1)), shift if beta is None else shift + beta

    def _tensors(self, norm: _Norm) -> tuple[Tensor | None, ...]:
        return tuple(self._known[each] if isinstance(each, str) else each for each in norm.tensors)

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
        given = (mean, variance, weight, bias)
        if (waiting := self._folded.pop(id(input), None)) is not None:
            folded = zip(self._tensors(waiting[1]), given, strict=True)
            if training or eps != waiting[1].eps or any(_memory(a) != _memory(b) for a, b in folded):
                raise _FoldedWasRead
            return input
        if training or mean is None or variance is None:
            normal: Tensor = self._plainly(F.batch_norm, (input, *given, training, momentum, eps), {})
            return normal
        if self._convolved is not None and self._convolved[0] is input:
            names = tuple(each if each is None else self._names.get(each.data_ptr(), _value(each)) for each in given)
            self._norms[self._convolved[1]] = _Norm(names, eps)
        return duals.join(dual_rules.batch_norm(input, mean, variance, weight, bias, eps))


def _plainly(
    learnt: _Learnt, several: int, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """What a function gives by torch's own forward mode."""
    if not several or func in METADATA:
        return func(*args, **kwargs)
    try:
        return duals.call_along(func, args, kwargs, several, func in learnt.overwriting)
    except duals.Overwrites:
        learnt.overwriting.add(func)
        raise


def _memory(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _usable(tensor: Tensor) -> Tensor:
    """A tensor that keeps its change through views: one made under inference mode does not."""
    return tensor.clone() if tensor.is_inference() else tensor


def _value(item: T) -> T:
    return duals.parts(item)[0] if isinstance(item, Tensor) else item


def _change(direction: int, item: Any) -> Any:
    if not isinstance(item, Tensor):
        return item
    value, changes = duals.parts(item)
    change = changes[direction] if changes else None
    return torch.zeros_like(value) if change is None else change
