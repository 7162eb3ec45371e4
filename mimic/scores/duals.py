"""Tensors with changes beside them, along one direction or several.

Torch's dual tensors carry one change. Where there are several, the tensor holds all of them as a note, and torch has
one of them as a mark: whatever ran where nobody looked gives a tensor with a mark and no note, or with an outdated one,
and `check` raises `Unseen`. So several directions share one pass, or learn that they cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple, TypeAlias

import torch.autograd.forward_ad as fwad
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

# The change along every direction, None where there is none; empty where there is none along any.
Changes: TypeAlias = Sequence[Tensor | None]
Dual: TypeAlias = tuple[Tensor, Changes]

_NOTE = "_changes_along_directions"


class Unseen(Exception):
    """Something changed a tensor where nobody saw it, so all but one of its changes are lost."""


class Overwrites(Exception):
    """An operation turned out to write into its arguments."""


class _Note(NamedTuple):
    """All changes of a tensor, and which version of its memory they belong to."""

    version: int
    changes: Changes


def parts(tensor: Tensor | None) -> tuple[Any, Changes]:
    """Value and changes of a tensor, dual or plain; (None, ()) of nothing."""
    if tensor is None:
        return None, ()
    value, change = fwad.unpack_dual(tensor)  # type: ignore[no-untyped-call]
    if change is None:
        return value, ()
    note = vars(tensor).get(_NOTE)
    return value, (change,) if note is None else note.changes


def join(dual: Dual) -> Tensor:
    """The dual tensor of a value and its changes."""
    value, changes = dual
    mark = next((each for each in changes if each is not None), None)
    if mark is None:
        return value
    joined: Tensor = fwad.make_dual(value, mark)  # type: ignore[no-untyped-call]
    if len(changes) > 1:
        _note(joined, changes)
    return joined


def along(*changes: Changes) -> Iterator[tuple[Tensor | None, ...]]:
    """Direction by direction, the changes of several tensors."""
    return zip_longest(*changes)


def moves(*arguments: Any) -> bool:
    """Whether any of a call's arguments is a tensor that changes."""
    return any(_changes(each) is not None for each in arguments if isinstance(each, Tensor))


def check(tensors: Iterable[Any]) -> None:
    """Raises `Unseen` where a tensor's changes are not all known; for passes along several directions."""
    for each in tensors:
        if isinstance(each, Tensor) and _changes(each) is not None:
            note = vars(each).get(_NOTE)
            if note is None or note.version != each._version:
                raise Unseen


def call_along(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], directions: int, overwrites: bool
) -> Any:
    """What a function without a rule gives, by torch's own forward mode: its value once for each direction that moves.

    Args:
        func: of anything, tensors with several changes among it.
        args: its arguments.
        kwargs: by name.
        directions: how many changes a tensor that moves has.
        overwrites: whether the function may write into its arguments; then it works on a copy for each direction.

    Raises:
        Overwrites: it did without being said to.
    """
    leaves, shape = tree_flatten((args, kwargs))
    split = {i: parts(each) for i, each in enumerate(leaves) if isinstance(each, Tensor)}
    moving = [k for k in range(directions) if any(changes and changes[k] is not None for _, changes in split.values())]
    if not moving:
        return func(*args, **kwargs)
    given = {k: _arguments(leaves, split, k, copied=overwrites) for k in moving}
    first = given[moving[0]]
    versions = {i: _version(first[i]) for i in split}
    kept = func(*args, **kwargs) if overwrites else None
    changes: dict[int, list[Tensor | None]] = {}
    for k in moving:
        there = tree_unflatten(given[k], shape)
        result = func(*there[0], **there[1])
        changes[k] = [_changes(each) if isinstance(each, Tensor) else None for each in tree_flatten(result)[0]]
        kept = result if kept is None else kept
    written = [i for i in split if _version(first[i]) != versions[i]]  # not what only shares its memory
    if written and not overwrites:
        raise Overwrites
    for i in written:
        _note(leaves[i], [_changes(given[k][i]) if k in given else None for k in range(directions)])
    own, shape = tree_flatten(kept)
    of_each = zip(*(changes.get(k, [None] * len(own)) for k in range(directions)), strict=True)
    return tree_unflatten([_noted(*each) for each in zip(own, of_each, strict=True)], shape)


def _noted(result: Any, changes: Changes) -> Any:
    """A result of a call with its changes."""
    if not isinstance(result, Tensor):
        return result
    if _changes(result) is None:
        return join((result, changes))
    _note(result, changes)
    return result


def _arguments(leaves: list[Any], split: dict[int, tuple[Any, Changes]], k: int, copied: bool) -> list[Any]:
    """A call's arguments with their changes along one direction; perhaps in memory of their own."""
    arguments = list(leaves)
    for i, (value, changes) in split.items():
        change = changes[k] if changes else None
        if copied:
            value, change = value.clone(), None if change is None else change.clone()
        arguments[i] = value if change is None else fwad.make_dual(value, change)  # type: ignore[no-untyped-call]
    return arguments


def _note(tensor: Tensor, changes: Changes) -> None:
    vars(tensor)[_NOTE] = _Note(tensor._version, changes)


def _changes(tensor: Tensor) -> Tensor | None:
    """What torch carries."""
    change: Tensor | None = fwad.unpack_dual(tensor)[1]  # type: ignore[no-untyped-call]
    return change


def _version(tensor: Tensor) -> int | None:
    """Goes up whenever the tensor's memory is written to; an inference tensor, which has none, cannot be written to."""
    return None if tensor.is_inference() else tensor._version
