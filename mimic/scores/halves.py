"""A model's pass with changes, half a batch at a time: it holds twice what a plain one holds, so half of it as much.

Only where that changes nothing: a model may couple the samples of its batch, by batch statistics say. So on the first
batch the halves' outputs are compared with the whole batch's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from mimic.models.calling import Inputs, batch_size
from mimic.scores.forward_mode import Pushforward

Outputs: TypeAlias = Tensor | tuple[Tensor, ...]
# (input, weights to use instead) → the model's outputs, and its head's input (B, D) if there is one
Run: TypeAlias = Callable[[Inputs, Mapping[str, Tensor]], tuple[Outputs, Tensor | None]]

LEAST = 8  # samples in a half, below which the calls' own cost shows
# Relative; in another batch the same sample is rounded otherwise.
_ROUNDING = {torch.bfloat16: 0.1, torch.float16: 0.05, torch.float32: 1e-3}


class PushInHalves:
    """Pushes changes of a model's weights to its outputs.

    Args:
        run: the model.
        own: its parameters and buffers, see `Pushforward`.
    """

    def __init__(self, run: Run, own: Mapping[str, Tensor] | None = None) -> None:
        self._run = run
        self._push = Pushforward(own)
        self._separate: bool | None = None  # whether samples are known not to depend on one another

    def __call__(
        self, inputs: Inputs, point: Mapping[str, Tensor], tangent: Mapping[str, Tensor]
    ) -> tuple[Outputs, Outputs, Tensor | None]:
        """Outputs, their change and the head's input for a batch; see `Pushforward` for point, tangent and errors."""
        if self._separate is False or batch_size(inputs) < 2 * LEAST:
            return self._pushed([inputs], point, tangent)
        pushed = self._pushed(_halves(inputs), point, tangent)
        if self._separate is None:
            self._separate = _same(pushed[0], self._run(inputs, {})[0])
        return pushed if self._separate else self(inputs, point, tangent)

    def value(self, inputs: Inputs, state: Mapping[str, Tensor]) -> tuple[Outputs, Tensor | None]:
        """Outputs and the head's input for a batch as a whole, with nothing to push."""
        return self._push.value(partial(self._run, inputs), state)

    def _pushed(
        self, pieces: Sequence[Inputs], point: Mapping[str, Tensor], tangent: Mapping[str, Tensor]
    ) -> tuple[Outputs, Outputs, Tensor | None]:
        passes = self._push([partial(self._run, piece) for piece in pieces], point, tangent)
        features = [value[1] for value, _ in passes]
        known = [each for each in features if each is not None]
        return (
            _joined([value[0] for value, _ in passes]),
            _joined([change[0] for _, change in passes]),
            torch.cat(known) if len(known) == len(features) else None,
        )


def _halves(inputs: Inputs) -> tuple[Inputs, Inputs]:
    middle = (batch_size(inputs) + 1) // 2
    if isinstance(inputs, tuple):
        return tuple(each[:middle] for each in inputs), tuple(each[middle:] for each in inputs)
    return inputs[:middle], inputs[middle:]


def _joined(pieces: Sequence[Outputs]) -> Outputs:
    """Rows one after the other; a number, such as a two-tower model's scale, is the first one's."""
    if isinstance(pieces[0], tuple):
        return tuple(_rows(each) for each in zip(*pieces, strict=True))
    return _rows([each for each in pieces if isinstance(each, Tensor)])


def _rows(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(tensors)) if tensors[0].ndim else tensors[0]


def _same(halves: Outputs, whole: Outputs) -> bool:
    if isinstance(halves, tuple):
        return all(_same(a, b) for a, b in zip(halves, whole, strict=True))
    assert isinstance(whole, Tensor)
    error, size = (halves - whole).cpu().double(), whole.cpu().double()  # on the CPU, because MPS has no float64
    known = error.isfinite()
    return bool(error[known].norm() <= _ROUNDING.get(whole.dtype, 1e-9) * size[known].norm())
