"""Leaves out the tokens that nobody reads: where a transformer's output comes from one token, such as a class token,
the last attention is computed for that token alone, and so is everything behind it.

A pass is watched first. An attention's output is followed through operations that treat every token by itself; where
nothing but one row of it is ever read, later passes compute that row, and lay it out in the place of all the others
without copying it. They are watched as well: should anything ever read another row, the pass is done again in full.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_iter

Call: TypeAlias = Callable[..., Any]


class WasRead(Exception):
    """A pass read what an earlier one did not, and what was therefore not computed."""


@dataclass(frozen=True)
class _Followed:
    """A tensor whose rows along an axis are the tokens of one attention.

    Attributes:
        tensor: it, kept so that its identity stays its own.
        place: which attention of the pass.
        axis: of the tokens.
        row: the tensor's only computed row, of length 1 along the axis; None where all are.
        number: which row that is.
        unread: whether it holds other rows than the one that is read.
    """

    tensor: Tensor
    place: int
    axis: int
    row: Tensor | None = None
    number: int = 0
    unread: bool = False


# (what is followed, what takes an argument's row, arguments) → the arguments for that row, and the result's axis
Rows: TypeAlias = Callable[[Tensor], Tensor]
Done: TypeAlias = tuple[tuple[Any, ...], int] | None
Rule: TypeAlias = Callable[[_Followed, Rows, tuple[Any, ...], dict[str, Any]], Done]


class OneToken:
    """Follows the attentions of one pass.

    Args:
        read: attention's place in the pass → the only row that earlier passes read; empty: none, or the first pass.
        learning: whether to find out.
        plainly: calls a function of torch's, (function, arguments, by name), on tensors with changes.
    """

    def __init__(self, read: Mapping[int, int], learning: bool, plainly: Call) -> None:
        self._read, self._learning, self._plainly = read, learning, plainly
        self._followed: dict[int, _Followed] = {}  # by identity
        self._rows: dict[int, set[int]] = {}
        self._others: dict[int, set[int]] = {}
        self._lost: set[int] = set()
        self._count = 0

    @property
    def follows(self) -> bool:
        """Whether there is anything to look out for."""
        return bool(self._followed)

    def found(self) -> dict[int, int]:
        """After a pass that was to find out: attention → the only row of it that was read."""
        return {
            place: min(rows)
            for place, rows in self._rows.items()
            if len(rows) == 1 and place not in self._lost and not rows & self._others.get(place, set())
        }

    def attention(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An attention's output, by `call`, which takes the same arguments."""
        self.refuse((args, kwargs))  # its tokens mix
        place, self._count = self._count, self._count + 1
        query = args[0] if args else None
        if not isinstance(query, Tensor) or query.ndim != 4 or len(args) < 3 or _masked(args[3:], kwargs):
            return call(args, kwargs)
        if place in self._read:
            row = call((self._view(Tensor.narrow, query, 2, self._read[place], 1), *args[1:]), kwargs)
            return self._spread(row, place, 2, query.shape[2])
        attended = call(args, kwargs)
        if self._learning:
            self._follow(_Followed(attended, place, 2))
        return attended

    def step(self, func: Call, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What an operation gives, by `call` of its arguments."""
        seen = self._among((args, kwargs))
        if not seen:
            return call(args, kwargs)
        one = seen[0]
        if any(each.unread or (each.place, each.axis) != (one.place, one.axis) for each in seen):
            return self._lose(seen, call, args, kwargs)
        if func is Tensor.__getitem__:
            return self._item(one, call, args, kwargs)
        rule = RULES.get(func)
        done = rule(one, partial(self._row, one), args, kwargs) if rule else None
        if done is None:
            return self._lose(seen, call, args, kwargs)
        for_row, axis = done
        if one.row is not None:
            return self._spread(call(for_row, kwargs), one.place, axis, one.tensor.shape[one.axis])
        result = call(args, kwargs)
        self._follow(_Followed(result, one.place, axis))
        return result

    def refuse(self, tree: Any) -> None:
        """Says that the tensors in it may be read whole, as those that leave the pass."""
        if seen := self._among(tree):
            self._lose(seen, lambda *_: None, (), {})

    def _among(self, tree: Any) -> list[_Followed]:
        found = (self._followed.get(id(each)) for each in tree_iter(tree) if isinstance(each, Tensor))
        return [each for each in found if each is not None]

    def _follow(self, followed: _Followed) -> None:
        self._followed[id(followed.tensor)] = followed

    def _spread(self, row: Tensor, place: int, axis: int, length: int, unread: bool = False) -> Tensor:
        """The row in the place of all rows, in the memory of one."""
        tensor = self._view(Tensor.expand, row, *row.shape[:axis], length, *row.shape[axis + 1 :])
        self._follow(_Followed(tensor, place, axis, row, self._read[place], unread))
        return tensor

    def _lose(self, seen: list[_Followed], call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Something reads all of it: nothing may be left out."""
        if any(each.row is not None for each in seen):
            raise WasRead
        self._lost |= {each.place for each in seen}
        self._followed = {key: each for key, each in self._followed.items() if each.place not in self._lost}
        return call(args, kwargs)

    def _view(self, func: Call, *args: Any) -> Tensor:
        view: Tensor = self._plainly(func, args, {})
        return view

    def _row(self, one: _Followed, tensor: Tensor) -> Tensor:
        """The row of a tensor that is followed, or of an operand beside one, such as the residual.

        The tensor itself while all rows are there, and where it has only one.
        """
        followed = self._followed.get(id(tensor))
        if followed is not None:
            return tensor if followed.row is None else followed.row
        axis = tensor.ndim - (one.tensor.ndim - one.axis)
        if one.row is None or axis < 0 or tensor.shape[axis] == 1:
            return tensor
        return self._view(Tensor.narrow, tensor, axis, one.number, 1)

    def _item(self, one: _Followed, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """``x[:, i]`` reads a row, ``x[:, a:b]`` may be some that nobody reads."""
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        whole = slice(None)
        at = index[one.axis] if one.axis < len(index) else whole
        others = [*index[: one.axis], *index[one.axis + 1 :]]
        if any(not isinstance(each, slice) or each != whole for each in others):
            return self._lose([one], call, args, kwargs)
        length = one.tensor.shape[one.axis]
        if isinstance(at, int) and not isinstance(at, bool):
            row = at % length
            self._rows.setdefault(one.place, set()).add(row)
            if one.row is None:
                return call(args, kwargs)
            if row != self._read[one.place]:
                raise WasRead
            return self._view(Tensor.select, one.row, one.axis, 0)
        if not isinstance(at, slice) or at == whole:
            return self._lose([one], call, args, kwargs)
        rows = set(range(*at.indices(length)))
        self._others.setdefault(one.place, set()).update(rows)
        if one.row is None:
            result = call(args, kwargs)
            self._follow(_Followed(result, one.place, one.axis, unread=True))
            return result
        if self._read[one.place] in rows:
            raise WasRead
        return self._spread(one.row, one.place, one.axis, len(rows), unread=True)


def _masked(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether the queries differ in more than themselves: by a mask, dropout, causality."""
    more = {**dict(zip(("attn_mask", "dropout_p", "is_causal"), args, strict=False)), **kwargs}
    return more.get("attn_mask") is not None or bool(more.get("dropout_p")) or bool(more.get("is_causal"))


def _elementwise(one: _Followed, row: Rows, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Done:
    tensors = [each for each in args if isinstance(each, Tensor)]
    kept = kwargs.get("inplace") or any(isinstance(each, Tensor) for each in kwargs.values())
    if kept or any(each.ndim > one.tensor.ndim for each in tensors):
        return None
    return tuple(row(each) if isinstance(each, Tensor) else each for each in args), one.axis


def _dropout(one: _Followed, row: Rows, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Done:
    probability = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
    training = args[2] if len(args) > 2 else kwargs.get("training", True)
    return None if (training and probability) or len(args) > 3 else _elementwise(one, row, args, kwargs)


def _linear(one: _Followed, row: Rows, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Done:
    return ((row(args[0]), *args[1:]), one.axis) if one.axis < one.tensor.ndim - 1 and args[0] is one.tensor else None


def _layer_norm(one: _Followed, row: Rows, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Done:
    behind = args[1] if len(args) > 1 else kwargs.get("normalized_shape", ())
    inner = 1 if isinstance(behind, int) else len(behind)
    return ((row(args[0]), *args[1:]), one.axis) if one.axis < one.tensor.ndim - inner else None


def _transpose(one: _Followed, row: Rows, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Done:
    if len(args) != 3:
        return None
    a, b = (each % one.tensor.ndim for each in args[1:])
    return (row(args[0]), a, b), {a: b, b: a}.get(one.axis, one.axis)


def _permute(one: _Followed, row: Rows, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Done:
    order = _numbers(args[1:])
    return (row(args[0]), *order), [each % one.tensor.ndim for each in order].index(one.axis)


def _reshape(one: _Followed, row: Rows, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Done:
    """Only of what is behind the tokens."""
    shape, old = list(_numbers(args[1:])), list(one.tensor.shape)
    if any(not isinstance(each, int) for each in shape) or kwargs:
        return None
    if -1 in shape:
        shape[shape.index(-1)] = prod(old) // max(-prod(shape), 1)
    if shape[: one.axis + 1] != old[: one.axis + 1]:
        return None
    if one.row is not None:
        shape[one.axis] = 1
    return (row(args[0]), shape), one.axis


def _numbers(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], tuple | list | torch.Size) else args


RULES: dict[Call, Rule] = {
    F.linear: _linear,
    F.layer_norm: _layer_norm,
    F.dropout: _dropout,
    Tensor.transpose: _transpose,
    Tensor.permute: _permute,
    Tensor.reshape: _reshape,
    Tensor.view: _reshape,
    **dict.fromkeys((F.gelu, F.relu, F.silu, torch.relu, torch.sigmoid, Tensor.sigmoid, torch.tanh), _elementwise),
    **dict.fromkeys((Tensor.add, torch.add, Tensor.mul, torch.mul, Tensor.to, Tensor.contiguous), _elementwise),
}
