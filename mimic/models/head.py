"""The head: the final linear layer, whose output is the model's. Scopes `last` and the closed form stand on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mimic.errors import MimicError
from mimic.models.calling import call, evaluating


@dataclass
class HeadCall:
    """What one forward pass saw of a linear layer: its calls' inputs and outputs, in order."""

    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)

    def features(self, logits: Tensor) -> Tensor | None:
        """The layer's input (B, D), if the layer was called once and gave these logits; None otherwise."""
        if len(self.outputs) != 1 or self.inputs[0].ndim != 2:
            return None
        output = self.outputs[0]
        same = output is logits or (output.shape == logits.shape and output.data_ptr() == logits.data_ptr())
        return self.inputs[0] if same else None


def watch(layer: nn.Module, seen: HeadCall) -> RemovableHandle:
    """Records the layer's calls into `seen` until the handle is removed."""

    def record(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        seen.inputs.append(args[0])
        seen.outputs.append(output)

    return layer.register_forward_hook(record)


def find_head(module: nn.Module, example: Tensor) -> tuple[str, nn.Linear]:
    """Finds the linear layer whose output is the model's output, by watching one forward pass.

    Args:
        module: the model.
        example: (B, …), any input that it takes, e.g. zeros.

    Returns:
        The layer's name in the model, and the layer.

    Raises:
        MimicError: the model's output is not what one of its linear layers gives.
    """
    seen = {name: (HeadCall(), layer) for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}
    handles = [watch(layer, record) for record, layer in seen.values()]
    try:
        with evaluating(module):
            logits = call(module, example)
        for name, (record, layer) in seen.items():
            if record.features(logits) is not None:
                return name, layer
    finally:
        for handle in handles:
            handle.remove()
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
