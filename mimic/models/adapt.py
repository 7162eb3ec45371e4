"""From a checkpoint to a reference for a given start: another classifier, a LoRA adapter, or simply the same names.

A reference must have the start's tensors, name by name. Two kinds of checkpoint that people have can be brought there:
one that differs in its classifier only, and a low-rank adapter, which is a reference on top of the start.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.models.checkpoint import Checkpoint, match_state, without_prefix
from mimic.models.head import guess_head

HeadRule = Literal["reset", "map"]

_ADAPTER_PREFIX = "base_model.model."
_LORA = re.compile(r"^(?P<layer>.+)\.lora_(?P<part>[AB])(?:\.[^.]+)?\.weight$")
_SAVED = re.compile(r"^(?P<layer>.+?)(?:\.modules_to_save\.[^.]+)?\.(?P<kind>weight|bias)$")


def reference_state(
    module: nn.Module,
    checkpoint: Checkpoint,
    head: HeadRule | None = None,
    classes: Sequence[str] | None = None,
) -> dict[str, Tensor]:
    """The reference's tensors under the start's names.

    Args:
        module: the start, with its weights; its final linear layer is taken to be the last one registered.
        checkpoint: the reference's weights, or a LoRA adapter trained on the start.
        head: what to do where only the classifier has another number of outputs: ``"reset"`` keeps the start's, so the
            direction has nothing there; ``"map"`` takes the outputs of the start's classes, by name.
        classes: names of the start's outputs, in order; for ``"map"``.

    Returns:
        name → tensor for every entry of `module.state_dict()`.

    Raises:
        MimicError: another architecture; another classifier and no rule for it; classes that the reference lacks; an
            adapter without its configuration, or of a kind that is no low-rank sum.
    """
    if any(_LORA.match(name) for name in checkpoint.tensors):
        return _merged(module, checkpoint)
    tensors = without_prefix(checkpoint.tensors, set(module.state_dict()))
    return match_state(module, _with_head(module, tensors, checkpoint, head, classes), checkpoint.name)


def _with_head(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    checkpoint: Checkpoint,
    rule: HeadRule | None,
    classes: Sequence[str] | None,
) -> Mapping[str, Tensor]:
    """The tensors with a classifier of the start's number of outputs."""
    try:
        name, layer = guess_head(module)
    except MimicError:
        return tensors
    theirs, outputs = tensors.get(f"{name}.weight"), layer.out_features
    if theirs is None or theirs.ndim != 2 or theirs.shape[1] != layer.in_features or len(theirs) == outputs:
        return tensors
    members = [f"{name}.{part}" for part, _ in layer.named_parameters()]
    if rule == "reset":
        return {**tensors, **{member: module.state_dict()[member] for member in members}}
    if rule == "map":
        rows = _rows(checkpoint, classes, len(theirs), outputs)
        return {**tensors, **{member: tensors[member][rows] for member in members if member in tensors}}
    raise MimicError(
        f"{checkpoint.name} has another classifier: {name} has {len(theirs)} outputs there and {outputs} in the model; "
        "--head map takes the outputs of the same class names, --head reset leaves the classifier out of the direction"
    )


def _rows(checkpoint: Checkpoint, classes: Sequence[str] | None, there: int, here: int) -> list[int]:
    named = checkpoint.classes
    if named is None or len(named) != there:
        raise MimicError(
            f"{checkpoint.name} does not name its {there} classes, so --head map has nothing to go by: "
            'put a JSON list "classes" into its metadata, or use --head reset'
        )
    if classes is None or len(classes) != here:
        raise MimicError(f"--head map needs the names of the model's {here} outputs")
    if missing := [each for each in classes if each not in named]:
        raise MimicError(f"{checkpoint.name} knows no class {missing[0]!r}, so --head map fails: use --head reset")
    return [named.index(each) for each in classes]


def _merged(module: nn.Module, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The start's weights plus the adapter's low-rank products; whole layers that it saved replace the start's."""
    config = _adapter_config(checkpoint)
    state = dict(module.state_dict())
    pairs: dict[str, dict[str, Tensor]] = {}
    for full_name, tensor in checkpoint.tensors.items():
        name = full_name.removeprefix(_ADAPTER_PREFIX)
        if found := _LORA.match(name):
            pairs.setdefault(found["layer"], {})[found["part"]] = tensor
        elif (found := _SAVED.match(name)) and f"{found['layer']}.{found['kind']}" in state:
            state[f"{found['layer']}.{found['kind']}"] = tensor
        else:
            raise MimicError(
                f"{checkpoint.name} holds {full_name}, which is no low-rank product: merge it into its model"
            )
    for layer, pair in pairs.items():
        weight = state.get(f"{layer}.weight")
        if weight is None or set(pair) != {"A", "B"}:
            raise MimicError(f"{checkpoint.name} adapts {layer}, which {type(module).__name__} does not have whole")
        state[f"{layer}.weight"] = weight + _product(pair, layer, config).to(weight).view_as(weight)
    return match_state(module, state, checkpoint.name)


def _adapter_config(checkpoint: Checkpoint) -> dict[str, Any]:
    config = json.loads(checkpoint.metadata.get("adapter_config", "{}"))
    if "lora_alpha" not in config:
        raise MimicError(
            f"{checkpoint.name} is an adapter: its adapter_config.json, with lora_alpha, must lie beside it"
        )
    if config.get("use_dora"):
        raise MimicError(
            f"{checkpoint.name} is a DoRA adapter, which is no sum with the start: merge it into its model"
        )
    return dict(config)


def _product(pair: dict[str, Tensor], layer: str, config: dict[str, Any]) -> Tensor:
    """B A · α/r (or α/√r), as PEFT merges it; a convolution's A carries the kernel, its B is 1×1."""
    a, b = pair["A"].float(), pair["B"].float()
    rank = len(a)
    special = config.get("alpha_pattern") or {}
    alpha = next((value for key, value in special.items() if re.search(rf"(^|\.){key}$", layer)), config["lora_alpha"])
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    product: Tensor = scale * b.reshape(len(b), rank) @ a.reshape(rank, -1)
    return product.T if config.get("fan_in_fan_out") else product
