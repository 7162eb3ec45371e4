"""Calling somebody else's model: in eval mode, with whatever weights are wanted, (B, K) logits out of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mimic.errors import MimicError


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients inside; every submodule's own mode is restored after.

    Inference mode is switched off inside: dual numbers lose their tangents in it without a word.
    """
    training = [each for each in module.modules() if each.training]
    for each in training:
        each.training = False
    try:
        with torch.inference_mode(False), torch.no_grad():
            yield
    finally:
        for each in training:
            each.training = True


def call(module: nn.Module, images: Tensor, state: Mapping[str, Tensor] | None = None) -> Tensor:
    """The model's logits, with some of its parameters and buffers replaced.

    Args:
        module: a model whose output is logits, or a tuple or mapping that holds them.
        images: (B, …), what the model takes.
        state: parameter or buffer name → tensor to use instead; a tied weight is replaced wherever it is used.

    Returns:
        (B, K).

    Raises:
        MimicError: there are no (B, K) logits in what the model returns.
    """
    output = functional_call(module, dict(state), (images,)) if state else module(images)
    return logits_of(output, len(images))


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
