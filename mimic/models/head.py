"""The head: the final linear layer, whose output is the model's. Scopes `last` and the closed form stand on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import cast

from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.models.calling import Inputs, call, evaluating


@dataclass
class HeadCall:
    """What one forward pass saw of a linear layer: its input and output, if it was called exactly once."""

    calls: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def features(self, outputs: Tensor | tuple[Tensor, ...]) -> Tensor | None:
        """The layer's input (B, D), if the layer was called once and gave these logits; None otherwise."""
        if len(self.calls) != 1 or isinstance(outputs, tuple):
            return None
        features, output = self.calls[0]
        same = output.shape == outputs.shape and output.data_ptr() == outputs.data_ptr()
        return features if same and features.ndim == 2 else None


@contextmanager
def watching(module: nn.Module, name: str | None) -> Iterator[HeadCall]:
    """Records what the layer of that name is called with; nothing where the name is None."""
    seen = HeadCall()
    if name is None:
        yield seen
        return

    def record(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        seen.calls.append((args[0], output))

    handle = module.get_submodule(name).register_forward_hook(record)
    try:
        yield seen
    finally:
        handle.remove()


def find_head(module: nn.Module, example: Inputs) -> tuple[str, nn.Linear]:
    """Finds the linear layer whose output is the model's output, by watching one forward pass.

    Args:
        module: the model.
        example: (B, …), any input that it takes, e.g. zeros.

    Returns:
        The layer's name in the model, and the layer.

    Raises:
        MimicError: the model's output is not what one of its linear layers gives.
    """
    names = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    with ExitStack() as stack:
        seen = {name: stack.enter_context(watching(module, name)) for name in names}
        stack.enter_context(evaluating(module))
        logits = call(module, example)
    for name, record in seen.items():
        if record.features(logits) is not None:
            return name, cast(nn.Linear, module.get_submodule(name))
    raise MimicError(f"{type(module).__name__} does not end in a linear layer, so it has no last layer: use scope full")


def guess_head(module: nn.Module) -> tuple[str, nn.Linear]:
    """The linear layer registered last, which is nearly always the head; whoever scores with it checks that it is.

    Raises:
        MimicError: the model has no linear layer.
    """
    layers = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    if not layers:
        raise MimicError(f"{type(module).__name__} has no linear layer, so it has no last layer: use scope full")
    return layers[-1]
