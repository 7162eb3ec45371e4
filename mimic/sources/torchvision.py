"""torchvision's classification sets, by name: `torchvision:DTD`. Images that are files are left where they are.

Sets that keep their pixels in one large file (CIFAR, STL10, MNIST …) have them written out as PNG, once, losslessly.
torchvision checks the sums of the files that it unpickles (CIFAR) before it does; nothing else here runs code.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mimic.data import Sample
from mimic.errors import MimicError, MissingExtra
from mimic.files import remove, temporary_name
from mimic.sources.listing import Listing, Root

PREFIX = "torchvision:"

_BY_TRAIN: dict[str, dict[str, Any]] = {"train": {"train": True}, "test": {"train": False}}


def _by_split(**splits: str) -> dict[str, dict[str, Any]]:
    return {ours: {"split": theirs} for ours, theirs in splits.items()}


_TWO, _THREE = _by_split(train="train", test="test"), _by_split(train="train", val="val", test="test")
_WHOLE: dict[str, dict[str, Any]] = {"": {}}

# name → split as we call it ("": there are none) → how torchvision is asked for it
SETS: dict[str, dict[str, dict[str, Any]]] = {
    "CIFAR10": _BY_TRAIN,
    "CIFAR100": _BY_TRAIN,
    "Caltech101": _WHOLE,
    "Caltech256": _WHOLE,
    "Country211": _by_split(train="train", val="valid", test="test"),
    "DTD": _THREE,
    "EuroSAT": _WHOLE,
    "FGVCAircraft": _THREE,
    "FashionMNIST": _BY_TRAIN,
    "Flowers102": _THREE,
    "Food101": _TWO,
    "GTSRB": _TWO,
    "ImageNet": _by_split(train="train", val="val"),
    "Imagenette": _by_split(train="train", val="val"),
    "KMNIST": _BY_TRAIN,
    "MNIST": _BY_TRAIN,
    "OxfordIIITPet": _by_split(train="trainval", test="test"),
    "PCAM": _THREE,
    "RenderedSST2": _THREE,
    "STL10": _TWO,
    "SUN397": _WHOLE,
    "SVHN": _TWO,
    "StanfordCars": _TWO,
    "USPS": _BY_TRAIN,
}
# Where torchvision's classes keep the files of their images, alone or with labels; and the labels.
_FILES = ("_image_files", "_images", "_samples", "samples", "imgs")
_LABELS = ("_labels", "targets", "labels")


def read_torchvision(name: str, root: Path, into: Path, download: bool = False) -> Listing:
    """The samples of a set, split by split.

    Args:
        name: one of `SETS`.
        root: where the set lies, as torchvision lays it out, or shall be put.
        into: where pixels that are no files are written to.
        download: whether torchvision may fetch what is not there.

    Raises:
        MimicError: an unknown name; files that are missing or broken.
        MissingExtra: torchvision is not installed.
    """
    if name not in SETS:
        raise MimicError(f"there is no classification set {PREFIX}{name}: one of {', '.join(SETS)}")
    try:
        from torchvision import datasets
    except ImportError:
        raise MissingExtra(f"{PREFIX}{name}", "models") from None
    found = {}
    for split, arguments in SETS[name].items():
        try:
            found[split] = getattr(datasets, name)(str(root), download=download, **arguments)
        except (RuntimeError, OSError, ValueError, ImportError, TypeError) as error:
            reason = str(error).partition("\n")[0][:160]
            raise MimicError(
                f"{PREFIX}{name} cannot be read from {root} ({reason}): give the folder that holds it with --root, or "
                "--download"
            ) from error
    classes = _classes(next(iter(found.values())), found)
    files = {split: _files(one) for split, one in found.items()}
    in_place = all(files.values())
    if not in_place:
        into.mkdir(parents=True, exist_ok=True)
    allowed = Root(root if in_place else into)

    def samples() -> Iterator[Sample]:
        number = 0
        for split, one in found.items():
            paths = files[split] if in_place else _written(one, into / (split or "all"))
            for place, (path, code) in enumerate(zip(paths, _codes(one), strict=True)):
                relative = allowed.relative(str(path))
                label = classes[code] if code >= 0 else None
                yield Sample(number, f"{split or 'all'}/{place}", relative, label, split=split or None)
                number += 1

    return Listing("torchvision", root.resolve(), allowed.path, classes, samples)


def _classes(first: Any, found: dict[str, Any]) -> list[str]:
    """Class names in the order of their numbers; where a set has no names of its own, the numbers."""
    names = getattr(first, "classes", None) or getattr(first, "categories", None)
    count = 1 + max(max(_codes(one), default=-1) for one in found.values())
    if names and len(names) >= count:
        texts = [name if isinstance(name, str) else ", ".join(map(str, name)) for name in names]
        if len(set(texts)) == len(texts):
            return texts
    return [str(code) for code in range(count)]


def _files(one: Any) -> list[Path]:
    """The files of a set's images; empty where it has none of its own."""
    for attribute in _FILES:
        held = getattr(one, attribute, None)
        if isinstance(held, list) and len(held) == len(one) and held:
            paths = [Path(each[0] if isinstance(each, tuple) else each) for each in held]
            if paths[0].is_file():
                return [path.absolute() for path in paths]
    return []


def _codes(one: Any) -> list[int]:
    """Class numbers; −1 where a sample has none."""
    for attribute in _LABELS:
        held = getattr(one, attribute, None)
        if held is not None and len(held) == len(one):
            return [int(each) for each in held]
    for attribute in _FILES:
        held = getattr(one, attribute, None)
        if isinstance(held, list) and len(held) == len(one) and held and isinstance(held[0], tuple):
            return [int(each[1]) for each in held]
    return [int(one[place][1]) for place in range(len(one))]


def _written(one: Any, folder: Path) -> Iterator[Path]:
    """The images as files, each written as it is asked for, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    making = temporary_name(folder)  # one folder for all: to look for others' leavings at each file would take hours
    making.mkdir()
    try:
        for place in range(len(one)):
            path = folder / f"{place:06}.png"
            if not path.exists():
                one[place][0].save(making / path.name, format="PNG")
                (making / path.name).replace(path)
            yield path
    finally:
        remove(making)
