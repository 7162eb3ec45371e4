"""Do two sets of weights share a coordinate system? Their cosine outside the head, which fine-tuning hardly changes.

A direction θ_ref − θ means something only where both were trained from common weights: of two initialisations the same
unit computes different things, and nothing about the norm of v or the sign of the scores need show it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.models.calling import plain_module
from mimic.models.head import guess_head


def weights_cosine(model: nn.Module, reference_state: Mapping[str, Tensor], has_head: bool = True) -> float | None:
    """Cosine of a model's weights and a reference's, over all floating-point parameters of two and more dimensions.

    Vectors, which are biases and scales, are left out: scales are alike in any two networks.

    Args:
        model: the start.
        reference_state: the reference's tensors by the model's names.
        has_head: whether the last linear layer is a classifier, which is left out: it may be new in either.

    Returns:
        −1 … 1; None where there is nothing to compare: no such parameter, or all are equal (a head was trained alone),
        or one side is 0.
    """
    model = plain_module(model)
    head = _head(model) if has_head else None
    product = mine = theirs = 0.0
    equal = True
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2 or not parameter.is_floating_point() or name == head:
            continue
        a, b = (tensor.detach().cpu().double().flatten() for tensor in (parameter, reference_state[name]))
        equal = equal and bool((a == b).all())
        product, mine, theirs = product + float(a @ b), mine + float(a @ a), theirs + float(b @ b)
    if equal or mine == 0 or theirs == 0:
        return None
    return product / math.sqrt(mine * theirs)


def _head(model: nn.Module) -> str | None:
    try:
        return f"{guess_head(model)[0]}.weight"
    except MimicError:
        return None
