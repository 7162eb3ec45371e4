"""What every source gives: an ordered list of samples under one root, not yet opened.

A source only looks at names and at the manifest. Whether an image can be read shows when it is scored.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import pyarrow as pa

from mimic.data import Sample, Task
from mimic.errors import MimicError
from mimic.images import locate
from mimic.storage import Location, Remote

Kind = Literal["folder", "manifest", "shards", "hugging face", "coco", "metadata", "torchvision"]


@dataclass
class Found:
    """What a source left out, or found to be odd, while its samples were read.

    Attributes:
        counts: what it was → how many, and the first of them, fit for a terminal.
    """

    counts: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, what: str, example: str) -> None:
        count, first = self.counts.get(what, (0, "".join(c if c.isprintable() else "\ufffd" for c in example[:200])))
        self.counts[what] = (count + 1, first)


@dataclass(frozen=True)
class Listing:
    """Samples found somewhere.

    Attributes:
        kind: what kind of source it was.
        path: the folder or manifest that was read.
        root: what the samples' paths are relative to; none of them leads out of it.
        classes: class names in the order of their codes.
        samples: gives the samples, numbered from 0, each time it is called.
        columns: further columns of each sample, with their types.
        task: what is judged of them.
        found: what was left out or odd; complete once the samples have been read.
    """

    kind: Kind
    path: Location
    root: Location
    classes: list[str]
    samples: Callable[[], Iterator[Sample]]
    columns: dict[str, pa.DataType] = field(default_factory=dict)
    task: Task = "labels"
    found: Found = field(default_factory=Found)


def class_order(labels: Iterable[str]) -> list[str]:
    """Class names as most loaders order them: sorted by name, or by value where all are whole numbers.

    >>> class_order(["cat", "ant", "cat"]), class_order(["10", "9"])
    (['ant', 'cat'], ['9', '10'])
    """
    names = set(labels)
    if all(is_number(name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def is_number(name: str) -> bool:
    """Whether a class's name is a whole number, as outputs are numbered: of 18 digits at most, for int64's sake."""
    return name.isascii() and name.isdigit() and len(name) <= 18


class Root:
    """A folder that no path may leave, by ``..`` or by a link."""

    def __init__(self, path: Location) -> None:
        """
        Args:
            path: an existing folder.

        Raises:
            MimicError: there is no such folder.
        """
        if not path.is_dir():
            raise MimicError(f"{path} is not a folder: give the folder that the images' paths are relative to")
        self.path: Location = path.resolve()
        self._inside = f"{self.path}/".replace("//", "/")
        self._folder = lru_cache(maxsize=4096)(os.path.realpath)  # most images share their folder with others

    def relative(self, path: str) -> str:
        """A path relative to the root, with forward slashes.

        Args:
            path: relative to the root, or absolute and inside it. The file need not exist.

        Raises:
            MimicError: it leads out of the root.
        """
        if isinstance(self.path, Remote):
            try:
                return self.path.relative(path)
            except ValueError:
                raise self._leads_out(path) from None
        normal = os.path.normpath(path if path.startswith("/") else self._inside + path)
        folder, name = os.path.split(normal)
        real = f"{self._folder(folder)}/{name}" if "\0" not in normal else ""
        if os.path.islink(real):  # noqa: PTH114 (Path.is_symlink raises on a name that is too long)
            real = os.path.realpath(real)
        if "#" in normal and real.startswith(self._inside):  # a member's path: it is the tar that will be opened
            real = self._folder(str(locate(self.path, normal[len(self._inside) :]).file))
        if not (normal.startswith(self._inside) and real.startswith(self._inside)):
            raise self._leads_out(path)
        return normal[len(self._inside) :]

    def _leads_out(self, path: str) -> MimicError:
        return MimicError(f"{path!r} leads out of the root {self.path}: give a --root that holds every image")
