"""A model's pass with changes as one program of torch.compile, for batches of one size; all others go as they would.

It takes a minute or more to make, so it pays where many batches follow. A batch of one, as a probe, decides nothing.
Whatever keeps the compiler from it is said once, in `note`, and the pass goes on without.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from mimic.models.calling import Inputs, batch_size
from mimic.scores.forward_mode import forward_mode
from mimic.scores.halves import Outputs, Pushed, PushInHalves

# Relative, of the outputs' change: compiled sums run in another order, and a ReLU's input may round across 0.
_ROUNDING = {torch.bfloat16: 0.1, torch.float16: 0.05, torch.float32: 1e-3}


class Compiled:
    """Pushes changes of a model's weights to its outputs, compiled; called as `PushInHalves`, which it falls back on.

    Args:
        module: the model; a copy is compiled.
        read: (what the model returns, batch) → what the loss reads of it.
        head: the name of the final linear layer, whose input is given back too.
        uncompiled: the same without compiling.

    Attributes:
        note: what is compiled, or why nothing is, in a sentence.
    """

    def __init__(
        self, module: nn.Module, read: Callable[[Any, int], Outputs], head: str | None, uncompiled: PushInHalves
    ) -> None:
        self._module = copy.deepcopy(module).eval()
        self._read, self._uncompiled = read, uncompiled
        self._seen: list[Tensor] = []  # the head's input, within a pass
        self._heads = False  # whether that is what the outputs come from
        if head is not None:
            self._module.get_submodule(head).register_forward_hook(self._record)
        self._size: int | None = None  # of the batches that are compiled for
        self._program: Callable[..., Pushed] | None = torch.compile(self._pass, fullgraph=True, dynamic=False)
        self.note = "not compiled yet"

    def __call__(self, inputs: Inputs, point: Mapping[str, Tensor], tangents: Sequence[Mapping[str, Tensor]]) -> Pushed:
        """See `PushInHalves`. The first batch goes both ways, and is compared."""
        size = batch_size(inputs)
        if self._program is None or size == 1 or size != (self._size or size):
            return self._uncompiled(inputs, point, tangents)
        expected = self._uncompiled(inputs, point, tangents) if self._size is None else None
        try:
            with forward_mode(), torch.no_grad():
                outputs, changes, features = self._program(inputs, dict(point), [dict(each) for each in tangents])
        except Exception as error:  # a compiler fails in many ways
            self._give_up(f"torch.compile failed ({type(error).__name__}: {_first_line(error)})")
            return expected or self._uncompiled(inputs, point, tangents)
        if expected is not None:
            self._size = size
            self._heads = expected[2] is not None
            apart = _difference(changes, expected[1])
            if not apart <= _ROUNDING.get(_dtype(outputs), 1e-9):
                self._give_up(f"the first batch came out otherwise (relative difference {apart:.0e})")
                return expected
            self.note = (
                f"compiled by torch.compile for batches of {self._size}, others as they are; "
                f"on the first one the outputs' change differs by {apart:.0e}"
            )
        return outputs, changes, features if self._heads else None

    def value(self, inputs: Inputs, state: Mapping[str, Tensor]) -> tuple[Outputs, Tensor | None]:
        """See `PushInHalves`; not compiled."""
        return self._uncompiled.value(inputs, state)

    def _give_up(self, reason: str) -> None:
        self._program, self.note = None, f"not compiled, because {reason}"

    def _record(self, layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        self._seen.append(args[0])

    def _pass(self, inputs: Inputs, point: dict[str, Tensor], tangents: list[dict[str, Tensor]]) -> Pushed:
        """What the directions share, the compiler finds by itself."""
        arguments = inputs if isinstance(inputs, tuple) else (inputs,)

        def run(weights: dict[str, Tensor]) -> tuple[Outputs, tuple[Tensor, ...]]:
            returned = functional_call(self._module, {**point, **weights}, arguments, tie_weights=False)
            return self._read(returned, batch_size(inputs)), (self._seen.pop(),) if self._seen else ()

        passes = [jvp(run, ({name: point[name] for name in each},), (each,))[:2] for each in tangents]
        outputs, features = passes[0][0]
        return outputs, tuple(changes[0] for _, changes in passes), features[0] if features else None


def _difference(ours: Outputs | tuple[Outputs, ...], theirs: Outputs | tuple[Outputs, ...]) -> float:
    """‖ours − theirs‖ / ‖theirs‖, the worst of several."""
    if isinstance(ours, tuple):
        return max(_difference(a, b) for a, b in zip(ours, theirs, strict=True))
    assert isinstance(theirs, Tensor)
    error, size = (ours - theirs).cpu().double().norm(), theirs.cpu().double().norm()  # MPS has no float64
    return float(error / size) if size else float(error)


def _dtype(outputs: Outputs) -> torch.dtype:
    return outputs[0].dtype if isinstance(outputs, tuple) else outputs.dtype


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:160]
