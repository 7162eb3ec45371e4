"""Forward-mode rules for the layers that cost the most: value and change of the output from those of the input.

Torch's own rules take these layers apart into many passes over memory, or there is none (fused attention). The rules
here take the fewest matrix products there can be, three for each of the layer's own, and the layer's own kernels for
the rest: the Jacobians of softmax and of normalisation are symmetric, so their backward kernels also push forward.

A rule takes the layer's arguments, some of them with changes (`mimic.scores.duals`), and returns the value, computed
once, with its change along every direction, None where no argument changes; or None if it does not cover these
arguments, for torch's own rule to be used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mimic.scores.duals import Changes, Dual, along, moves, parts

# Numbers in the attention matrices held at a time: the half a dozen of them then stay in the cache.
ATTENTION_PIECE = 2**19

_onednn_linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch._C._has_mkldnn else None


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Dual | None:
    """W x + b, whose change is W ẋ + V x + ḃ."""
    (x, dx), (w, dw), (b, db) = parts(input), parts(weight), parts(bias)
    if db and not dx and not dw:
        return None
    value = _product(x, w, b)
    return value, [_linear_change(value, x, w, *each) for each in along(dx, dw, db)]


def _linear_change(
    value: Tensor, x: Tensor, w: Tensor, dx: Tensor | None, dw: Tensor | None, db: Tensor | None
) -> Tensor | None:
    if dx is None and dw is None:
        return None if db is None else db.expand_as(value)
    of_weight = None if dw is None else _product(x, dw, db)
    of_input = None if dx is None else _product(dx, w, db if dw is None else None)
    return _sum(of_input, of_weight)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear`; in float32 on the CPU by oneDNN, as in compiled torch: 5–10 % faster than the MKL of eager torch."""
    plain = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and x.ndim > 1 and x.numel() > 0
    if _onednn_linear is not None and plain and x.shape[-1:] == weight.shape[1:]:
        product: Tensor = _onednn_linear(x, weight, bias, "none", [], "")
        return product
    return F.linear(x, weight, bias)


def convolution(
    function: Callable[..., Tensor],
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *how: Any,
    channels_last: bool = True,
) -> Dual:
    """W ∗ x + b, whose change is W ∗ ẋ + V ∗ x + ḃ.

    Args:
        function: the convolution, in one to three dimensions.
        input: (B, C, …).
        weight: W.
        bias: b.
        how: stride, padding and so on.
        channels_last: whether the output may lie in memory with the channels last. On the CPU that makes it up to 1.5
            times as fast, and later layers keep the layout.
    """
    (x, dx), (w, dw), (b, db) = parts(input), parts(weight), parts(bias)
    last = channels_last and x.ndim == 4 and x.device.type == "cpu"
    x, w, *moved = (_channels_last(each) if last else each for each in (x, w, *dx, *dw))
    value = function(x, w, b, *how)
    changes = along(moved[: len(dx)], moved[len(dx) :], db)
    return value, [_convolution_change(function, how, value, x, w, *each) for each in changes]


def _convolution_change(
    function: Callable[..., Tensor],
    how: Sequence[Any],
    value: Tensor,
    x: Tensor,
    w: Tensor,
    dx: Tensor | None,
    dw: Tensor | None,
    db: Tensor | None,
) -> Tensor | None:
    if dx is None and dw is None:
        return None if db is None else db.view(-1, *[1] * (w.ndim - 2)).expand_as(value)
    of_weight = None if dw is None else function(x, dw, db, *how)
    of_input = None if dx is None else function(dx, w, db if dw is None else None, *how)
    return _sum(of_input, of_weight)


def _channels_last(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.contiguous(memory_format=torch.channels_last)


def batch_norm(
    input: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Dual:
    """s x + t by running statistics, s = γ / √(σ² + ε) and t = β − s μ, whose change is s ẋ + ṡ x + ṫ."""
    (x, dx), (w, dw), (b, db) = parts(input), parts(weight), parts(bias)
    inverse = torch.rsqrt(variance + eps)
    scale = inverse if w is None else inverse * w
    shape = (-1, *[1] * (x.ndim - 2))

    def change_along(dx: Tensor | None, dw: Tensor | None, db: Tensor | None) -> Tensor | None:
        change = None if dx is None else dx * scale.view(shape)
        if dw is not None:
            change = _add_product(change, x, (inverse * dw).view(shape))
            db = -mean * inverse * dw if db is None else db - mean * inverse * dw
        return change if db is None else _add(change, db.view(shape), x)

    changes = [change_along(*each) for each in along(dx, dw, db)]
    return F.batch_norm(x, mean, variance, w, b, False, 0.0, eps), changes


def layer_norm(
    input: Tensor, shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Dual | None:
    """γ x̂ + β with x̂ = (x − mean) / deviation over the last dimensions, whose change is γ J ẋ + γ̇ x̂ + β̇."""
    if not moves(input, weight, bias):
        return None
    x, dx = parts(input)
    shape = [shape] if isinstance(shape, int) else list(shape)
    normal, mean, rstd = torch.native_layer_norm(x, shape, None, None, eps)

    def jacobian(change: Tensor) -> Tensor:
        given = (change, x, shape, mean, rstd, None, None, [True, False, False])
        pushed: Tensor = torch.ops.aten.native_layer_norm_backward(*given)[0]
        return pushed

    return _affine(normal, [each if each is None else jacobian(each) for each in dx], weight, bias, shape)


def group_norm(
    input: Tensor, groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Dual | None:
    """As `layer_norm`, over groups of channels of one sample."""
    if not moves(input, weight, bias):
        return None
    x, dx = parts(input)
    sizes = (x.shape[0], x.shape[1], prod(x.shape[2:]), groups)
    last = x.ndim == 4 and x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    x = x.contiguous(memory_format=layout)
    normal, mean, rstd = torch.native_group_norm(x, None, None, *sizes, eps)

    def jacobian(change: Tensor) -> Tensor:
        given = (change.contiguous(memory_format=layout), x, mean, rstd, None, *sizes, [True, False, False])
        pushed: Tensor = torch.ops.aten.native_group_norm_backward(*given)[0]
        return pushed

    changes = [each if each is None else jacobian(each) for each in dx]
    return _affine(normal, changes, weight, bias, [-1, *[1] * (x.ndim - 2)])


def _affine(normal: Tensor, changes: Changes, weight: Tensor | None, bias: Tensor | None, shape: Sequence[int]) -> Dual:
    """γ x̂ + β and its changes, for changes of x̂ that may be overwritten; `shape` is γ's and β's against x̂."""
    (w, dw), (b, db) = parts(weight), parts(bias)
    w, b = (each if each is None else each.view(shape) for each in (w, b))

    def change_along(change: Tensor | None, dw: Tensor | None, db: Tensor | None) -> Tensor | None:
        if w is not None and change is not None:
            change.mul_(w)
        if dw is not None:
            change = _add_product(change, normal, dw.view(shape))
        return change if db is None else _add(change, db.view(shape), normal)

    value = normal if w is None else normal * w if b is None else torch.addcmul(b, normal, w)
    return value, [change_along(*each) for each in along(changes, dw, db)]


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Dual | None:
    """softmax(s q kᵀ + mask) v with its changes, some samples at a time, so that their matrices stay small."""
    (q, dq), (k, dk), (v, dv) = parts(query), parts(key), parts(value)
    if query.ndim != 4 or dropout_p or enable_gqa:
        return None
    mask, dmask = _additive(attn_mask, is_causal, q, k)
    directions = list(along(dq, dk, dv, dmask))
    moving = [i for i, each in enumerate(directions) if any(one is not None for one in each)]
    if not moving or any(one is None for i in moving for one in directions[i][:3]):
        return None
    batch, heads, length, width = q.shape
    samples = max(1, ATTENTION_PIECE // (heads * length * k.shape[2]))
    out = q.new_empty(batch, heads, length, v.shape[3])
    changes = {i: torch.empty_like(out) for i in moving}
    rows: list[Sequence[Any]] = [(q, k, v, mask), *(directions[i] for i in moving)]
    for first in range(0, batch, samples):
        some = slice(first, first + samples)
        here, *changing = (_of_samples(each, some) for each in rows)
        attended = _attend(here, changing, scale or width**-0.5, heads)
        for whole, piece in zip((out, *changes.values()), attended, strict=True):
            whole[some] = piece.view(-1, heads, *piece.shape[1:])
    return out, [changes.get(i) for i in range(len(directions))]


def _of_samples(tensors: Sequence[Any], some: slice) -> list[Any]:
    """q, k and v of some samples, (samples · heads, tokens, width), and their mask if each has its own."""
    *three, mask = tensors
    own = mask is not None and mask.ndim == 4 and len(mask) > 1
    return [*(each[some].flatten(0, 1) for each in three), mask[some] if own else mask]


def _attend(here: Sequence[Any], changes: Sequence[Sequence[Any]], scale: float, heads: int) -> list[Tensor]:
    """Attention and its changes, of q, k, v (samples · heads, tokens, width) and the mask, and of their changes."""
    q, k, v, mask = here
    q, k = q * scale, k.transpose(1, 2)
    weights = torch.softmax(_masked(torch.bmm(q, k), mask, heads), dim=-1)
    attended = [torch.bmm(weights, v)]
    for dq, dk, dv, dmask in changes:
        change = _masked(torch.bmm(dq * scale, k).baddbmm_(q, dk.transpose(1, 2)), dmask, heads)
        change = torch._softmax_backward_data(change, weights, -1, weights.dtype)
        attended.append(torch.bmm(weights, dv).baddbmm_(change, v))
    return attended


def _masked(logits: Tensor, mask: Tensor | None, heads: int) -> Tensor:
    if mask is not None:
        logits.view(-1, heads, *logits.shape[1:]).add_(mask)
    return logits


def _additive(mask: Tensor | None, causal: bool, q: Tensor, k: Tensor) -> tuple[Tensor | None, Changes]:
    """What is added to the attention's logits, (…, Tq, Tk): 0 or −∞, or numbers that may move, as learnt biases."""
    if causal:
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=q.dtype).masked_fill_(~mask, -torch.inf)
    return parts(mask)


def _sum(change: Tensor | None, further: Tensor | None) -> Tensor | None:
    """Their sum, in the first one's memory."""
    if change is None or further is None:
        return further if change is None else change
    return change.add_(further)


def _add_product(change: Tensor | None, x: Tensor, scale: Tensor) -> Tensor:
    """The change plus x · scale, in the change's memory where there is one."""
    return x * scale if change is None else change.addcmul_(x, scale)


def _add(change: Tensor | None, shift: Tensor, like: Tensor) -> Tensor:
    """The change plus what is added everywhere, in the change's memory where there is one."""
    return shift.expand_as(like) if change is None else change.add_(shift)


def multi_head(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    width: int,
    heads: int,
    in_weight: Tensor | None,
    in_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero: bool,
    dropout: float,
    out_weight: Tensor,
    out_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    **others: Any,
) -> tuple[Tensor, None] | None:
    """Self-attention as in `F.multi_head_attention_forward`, in calls that have rules; None for what is less plain."""
    own = query is key and key is value and query.ndim == 3 and not use_separate_proj_weight
    extras = (bias_k, bias_v, key_padding_mask, others.get("static_k"), others.get("static_v"))
    more = need_weights or add_zero or (training and dropout) or any(each is not None for each in extras)
    if not own or more or in_weight is None:
        return None
    tokens, batch, _ = query.shape
    qkv = F.linear(query, in_weight, in_bias).view(tokens, batch, 3, heads, -1)
    q, k, v = qkv.permute(2, 1, 3, 0, 4)  # each (B, heads, tokens, width / heads)
    if attn_mask is not None and attn_mask.ndim == 3:
        attn_mask = attn_mask.view(batch, heads, tokens, tokens)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = ~attn_mask  # true means hidden there and seen here
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask)
    return F.linear(attended.permute(2, 0, 1, 3).reshape(tokens, batch, width), out_weight, out_bias), None
