"""Calling somebody else's model: in eval mode, with whatever weights are wanted, and reading what it returns.

A model of labels returns (B, K) logits in one of many wrappings; a two-tower model returns features of both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.models.substitute import call_with

# What a model takes: images (B, …), or (images, texts) for two towers.
Inputs: TypeAlias = Tensor | tuple[Tensor, ...]

# Where LeViT, EfficientFormer and TinyViT of timm keep the relative positions' biases that they have looked up.
_CACHE = "attention_bias_cache"


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients inside; every submodule's own mode is restored after.

    Inference mode is switched off inside: dual numbers lose their tangents in it without a word.
    """
    training = [each for each in module.modules() if each.training]
    for each in training:
        each.training = False
    try:
        with torch.inference_mode(False), torch.no_grad(), _fresh_caches(module):
            yield
    finally:
        for each in training:
            each.training = True


def run(module: nn.Module, inputs: Inputs, state: Mapping[str, Tensor] | None = None) -> Any:
    """What the model returns, with some of its parameters and buffers replaced.

    Args:
        module: any model.
        inputs: what it takes: one tensor (B, …), or a tuple of them.
        state: parameter or buffer name → tensor to use instead; a tied weight is replaced wherever it is used.

    Returns:
        The model's own output.
    """
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    if not state:
        return module(*arguments)
    with _fresh_caches(module):
        return call_with(module, state, arguments)


@contextmanager
def _fresh_caches(module: nn.Module) -> Iterator[None]:
    """Sets aside what some of timm's models keep of their weights in eval mode: other weights need it anew."""
    caches = [vars(each) for each in module.modules() if _CACHE in vars(each)]
    kept = [each[_CACHE] for each in caches]
    for each in caches:
        each[_CACHE] = {}
    try:
        yield
    finally:
        for each, cache in zip(caches, kept, strict=True):
            each[_CACHE] = cache


def call(module: nn.Module, images: Inputs, state: Mapping[str, Tensor] | None = None) -> Tensor:
    """The model's logits, with some of its parameters and buffers replaced.

    Args:
        module: a model whose output is logits, or a tuple or mapping that holds them.
        images: (B, …), what the model takes.
        state: as for `run`.

    Returns:
        (B, K).

    Raises:
        MimicError: there are no (B, K) logits in what the model returns.
    """
    return logits_of(run(module, images, state), batch_size(images))


def batch_size(inputs: Inputs) -> int:
    """How many samples there are in a model's input."""
    return len(inputs[0] if isinstance(inputs, tuple) else inputs)


def pairs_of(output: Any, batch: int) -> tuple[Tensor, ...]:
    """Image features, text features, scale and perhaps bias in a two-tower model's output, a tuple or open_clip's dict.

    Raises:
        MimicError: there are no two (batch, D) floating-point tensors and a number.
    """
    if isinstance(output, Mapping):
        names = ("image_features", "text_features", "logit_scale", "logit_bias")
        output = tuple(output[name] for name in names if output.get(name) is not None)
    tensors = tuple(each for each in output if each is not None) if isinstance(output, tuple | list) else ()
    shapes = [tuple(each.shape) for each in tensors if isinstance(each, Tensor)]
    if (
        len(shapes) < 3
        or shapes[0] != shapes[1]
        or len(shapes[0]) != 2
        or shapes[0][0] != batch
        or tensors[2].numel() != 1
    ):
        raise MimicError(
            f"the model returns {type(output).__name__} {shapes or ''} for {batch} pairs: "
            f"({batch}, D) image features, ({batch}, D) text features and a scale are needed"
        )
    return tensors[:4]


def logits_of(output: Any, batch: int) -> Tensor:
    """The logits in a model's output: the tensor itself, ``output["logits"]``, `output.logits` or ``output[0]``.

    Raises:
        MimicError: none of these is a floating-point tensor (batch, K).
    """
    if isinstance(output, Mapping):
        logits = output.get("logits")
    elif isinstance(output, tuple | list):
        logits = getattr(output, "logits", output[0] if output else None)
    else:
        logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise MimicError(f"the model returns {type(output).__name__} without logits: return a (batch, classes) tensor")
    if logits.ndim != 2 or len(logits) != batch:
        raise MimicError(
            f"the model returns logits of shape {tuple(logits.shape)} for {batch} images: ({batch}, classes) is needed"
        )
    return logits


def plain_module(module: nn.Module) -> nn.Module:
    """The module behind `torch.compile` and (Distributed)DataParallel, whose names are those of its checkpoint."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return module
        module = inner
