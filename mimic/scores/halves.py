"""A model's pass with changes, half a batch at a time: it holds twice what a plain one holds, so half of it as much.

Along K directions a layer holds K + 1 times as much and a product besides; (K + 3) // 2 pieces keep that to twice
what a plain one holds. Only where that changes nothing: a model may couple the samples of its batch, by batch
statistics say. So on the first batch the pieces' outputs are compared with the whole batch's.
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
# outputs, their change along each direction, and the head's input
Pushed: TypeAlias = tuple[Outputs, tuple[Outputs, ...], Tensor | None]

LEAST = 8  # samples in a piece, below which the calls' own cost shows
# Relative; in another batch the same sample is rounded otherwise.
_ROUNDING = {torch.bfloat16: 0.1, torch.float16: 0.05, torch.float32: 1e-4}


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

    def __call__(self, inputs: Inputs, point: Mapping[str, Tensor], tangents: Sequence[Mapping[str, Tensor]]) -> Pushed:
        """Outputs, their changes and the head's input for a batch; see `Pushforward` for point, tangents and errors."""
        count = min((len(tangents) + 3) // 2, batch_size(inputs) // LEAST)
        if self._separate is False or count < 2:
            return self._pushed([inputs], point, tangents)
        pushed = self._pushed(_pieces(inputs, count), point, tangents)
        if self._separate is None:
            self._separate = _same(pushed[0], self._run(inputs, {})[0])
        return pushed if self._separate else self(inputs, point, tangents)

    def value(self, inputs: Inputs, state: Mapping[str, Tensor]) -> tuple[Outputs, Tensor | None]:
        """Outputs and the head's input for a batch as a whole, with nothing to push."""
        return self._push.value(partial(self._run, inputs), state)

    def _pushed(
        self, pieces: Sequence[Inputs], point: Mapping[str, Tensor], tangents: Sequence[Mapping[str, Tensor]]
    ) -> Pushed:
        passes = self._push([partial(self._run, piece) for piece in pieces], point, tangents)
        features = [value[1] for value, _ in passes]
        known = [each for each in features if each is not None]
        changes = zip(*(changes for _, changes in passes), strict=True)
        return (
            _joined([value[0] for value, _ in passes]),
            tuple(_joined([change[0] for change in along]) for along in changes),
            torch.cat(known) if len(known) == len(features) else None,
        )


def _pieces(inputs: Inputs, count: int) -> list[Inputs]:
    if isinstance(inputs, tuple):
        return list(zip(*(each.chunk(count) for each in inputs), strict=True))
    return list(inputs.chunk(count))


def _joined(pieces: Sequence[Outputs]) -> Outputs:
    """Rows one after the other; a number, such as a two-tower model's scale, is the first one's."""
    if isinstance(pieces[0], tuple):
        return tuple(_rows(each) for each in zip(*pieces, strict=True))
    return _rows([each for each in pieces if isinstance(each, Tensor)])


def _rows(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(tensors)) if tensors[0].ndim else tensors[0]


def _same(pieces: Outputs, whole: Outputs) -> bool:
    if isinstance(pieces, tuple):
        return all(_same(a, b) for a, b in zip(pieces, whole, strict=True))
    assert isinstance(whole, Tensor)
    error, size = (pieces - whole).cpu().double(), whole.cpu().double()  # on the CPU, because MPS has no float64
    known = error.isfinite()
    return bool(error[known].norm() <= _ROUNDING.get(whole.dtype, 1e-9) * size[known].norm())
