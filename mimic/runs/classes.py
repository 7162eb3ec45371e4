"""Which output of the model stands for which class of the data set. Said by names where the checkpoint has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimic.errors import MimicError


@dataclass(frozen=True)
class ClassMap:
    """The meeting of a data set's classes and a model's outputs.

    Attributes:
        outputs: one name an output, in order.
        output_of: (classes,) int64, class code → output.
        reason: how it was decided.
    """

    outputs: list[str]
    output_of: NDArray[np.int64]
    reason: str

    def labels(self, codes: NDArray[np.int32]) -> NDArray[np.int64]:
        """Outputs of the given labels; −1 where a sample has no label (code −1)."""
        return np.append(self.output_of, -1)[codes]


def map_classes(classes: Sequence[str], outputs: int, named: Sequence[str] | None, model: str) -> ClassMap:
    """Finds each class's output.

    Args:
        classes: the data set's classes, by code.
        outputs: how many outputs the model has.
        named: the outputs' names, where the checkpoint holds them.
        model: what to call the model in a message.

    Raises:
        MimicError: a class has no output, or nothing says which output it has.
    """
    if named is not None and len(named) != outputs:
        raise MimicError(
            f"the checkpoint names {len(named)} classes and {model} has {outputs} outputs: they must agree"
        )
    if named is not None:
        places = {name: place for place, name in enumerate(named)}
        if missing := [name for name in classes if name not in places]:
            raise MimicError(
                f"{model} has no output for the label {missing[0]!r} (its checkpoint names {_listed(named)}): "
                "rename the label, leave its samples out, or use a checkpoint that knows it"
            )
        return ClassMap(list(named), np.array([places[name] for name in classes], np.int64), "names in the checkpoint")
    if len(classes) == outputs:
        return ClassMap(list(classes), np.arange(outputs), "as many classes as outputs, in the data set's order")
    if all(name.isascii() and name.isdigit() and len(name) <= 18 for name in classes):  # fits int64
        return _by_value(classes, outputs, model)
    raise MimicError(
        f"the data set has {len(classes)} classes ({_listed(classes)}) and {model} has {outputs} outputs, and nothing "
        "says which belongs to which: import with --classes in the order of the outputs, or put a JSON list `classes` "
        "into the checkpoint's metadata"
    )


def _by_value(classes: Sequence[str], outputs: int, model: str) -> ClassMap:
    values = np.array([int(name) for name in classes], np.int64)
    if (values >= outputs).any():
        worst = classes[int(values.argmax())]
        raise MimicError(
            f"{model} has no output for the label {worst!r}: it has {outputs}, for labels 0 to {outputs - 1}"
        )
    names = [str(place) for place in range(outputs)]
    for name, value in zip(classes, values, strict=True):
        names[value] = name
    return ClassMap(names, values, "labels are the outputs' numbers")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
