"""What every visitor may ask for is worked out once and in turn.

What takes ten seconds and a gigabyte for one visitor took eight times that for eight who came together, and always for
the same thing: `functools.lru_cache` lets all of them begin.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial, update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")

_UNKNOWN = object()


class Kept:
    """Answers by key, the longest unused forgotten first. What is known is given at once, the rest made in turn.

    Args:
        most: how much may be kept, by `weigh`; one answer always is.
        weigh: what an answer weighs, always the same; by default they are counted.
    """

    def __init__(self, most: float, weigh: Callable[[Any], float] = lambda _: 1) -> None:
        self.most = most
        self._weigh = weigh
        self._weight = 0.0
        self._found: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()
        self._making = threading.RLock()  # what is made may ask for others

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, or gave the last time; whoever asks meanwhile waits for it. An error is not remembered."""
        if (found := self._known(key)) is not _UNKNOWN:
            return cast(T, found)
        with self._making:
            if (found := self._known(key)) is not _UNKNOWN:  # somebody else has made it meanwhile
                return cast(T, found)
            made = make()
            with self._lock:
                self._found[key] = made
                self._weight += self._weigh(made)
                while len(self._found) > 1 and self._weight > self.most:
                    self._weight -= self._weigh(self._found.popitem(last=False)[1])
        return made

    def has(self, key: Hashable) -> bool:
        """Whether an answer is known by now."""
        return self._known(key) is not _UNKNOWN

    def _known(self, key: Hashable) -> Any:
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key, _UNKNOWN)


class Once(Generic[P, T]):
    """A function whose answers are remembered."""

    def __init__(self, function: Callable[P, T], maxsize: int) -> None:
        self._function = function
        self._kept = Kept(maxsize)
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._kept.get(_key(args, kwargs), partial(self._function, *args, **kwargs))

    def knows(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Whether these arguments would be answered at once."""
        return self._kept.has(_key(args, kwargs))


def once(maxsize: int) -> Callable[[Callable[P, T]], Once[P, T]]:
    """A decorator like `functools.lru_cache` for what takes long: one call at a time, each answer made once."""
    return lambda function: Once(function, maxsize)


def _key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
    return args, tuple(sorted(kwargs.items()))
