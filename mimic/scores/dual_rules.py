"""Forward-mode rules for the layers that cost the most: value and change of the output from those of the input.

Torch's own rules take these layers apart into many passes over memory, or there is none (fused attention). The rules
here take the fewest matrix products there can be, three for each of the layer's own, and the layer's own kernels for
the rest: the Jacobians of softmax and of normalisation are symmetric, so their backward kernels also push forward.

A rule takes the layer's arguments, some of them dual tensors, and returns (value, change), the change None where no
argument changes; or None if it does not cover these arguments, for torch's own rule to be used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeAlias

import torch
import torch.autograd.forward_ad as fwad
import torch.nn.functional as F
from torch import Tensor

Dual: TypeAlias = tuple[Tensor, Tensor | None]

# Numbers in the attention matrices held at a time: the half a dozen of them then stay in the cache.
ATTENTION_PIECE = 2**19

_onednn_linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch._C._has_mkldnn else None


def parts(tensor: Tensor | None) -> tuple[Any, Tensor | None]:
    """Value and change of a tensor, dual or plain; (None, None) of nothing."""
    return (None, None) if tensor is None else tuple(fwad.unpack_dual(tensor))  # type: ignore[no-untyped-call]


def join(dual: Dual) -> Tensor:
    """The dual tensor of a value and its change."""
    value, change = dual
    joined: Tensor = value if change is None else fwad.make_dual(value, change)  # type: ignore[no-untyped-call]
    return joined


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Dual | None:
    """W x + b, whose change is W ẋ + V x + ḃ."""
    (x, dx), (w, dw), (b, db) = parts(input), parts(weight), parts(bias)
    if dx is None and dw is None:
        return None if db is not None else (_product(x, w, b), None)
    of_weight = None if dw is None else _product(x, dw, db)
    of_input = None if dx is None else _product(dx, w, db if dw is None else None)
    return _product(x, w, b), _sum(of_input, of_weight)


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
    if channels_last and x.ndim == 4 and x.device.type == "cpu":
        last = torch.channels_last
        x, dx, w, dw = (each if each is None else each.contiguous(memory_format=last) for each in (x, dx, w, dw))
    of_weight = None if dw is None else function(x, dw, db, *how)
    of_input = None if dx is None else function(dx, w, db if dw is None else None, *how)
    value = function(x, w, b, *how)
    if of_weight is None and of_input is None and db is not None:
        return value, db.view(-1, *[1] * (w.ndim - 2)).expand_as(value)
    return value, _sum(of_input, of_weight)


def batch_norm(
    input: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Dual:
    """s x + t by running statistics, s = γ / √(σ² + ε) and t = β − s μ, whose change is s ẋ + ṡ x + ṫ."""
    (x, dx), (w, dw), (b, db) = parts(input), parts(weight), parts(bias)
    inverse = torch.rsqrt(variance + eps)
    shape = (-1, *[1] * (x.ndim - 2))
    change = None if dx is None else dx * (inverse if w is None else inverse * w).view(shape)
    if dw is not None:
        scale = (inverse * dw).view(shape)
        change = x * scale if change is None else change.addcmul_(x, scale)
        db = -mean * inverse * dw if db is None else db - mean * inverse * dw
    if db is not None:
        shift = db.view(shape)
        change = shift.expand_as(x) if change is None else change.add_(shift)
    return F.batch_norm(x, mean, variance, w, b, False, 0.0, eps), change


def layer_norm(
    input: Tensor, shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Dual | None:
    """γ x̂ + β with x̂ = (x − mean) / deviation over the last dimensions, whose change is γ J ẋ + γ̇ x̂ + β̇."""
    x, dx = parts(input)
    if dx is None and not moves(weight, bias):
        return None
    shape = [shape] if isinstance(shape, int) else list(shape)
    normal, mean, rstd = torch.native_layer_norm(x, shape, None, None, eps)
    change: Tensor | None = None
    if dx is not None:
        backward = torch.ops.aten.native_layer_norm_backward
        change = backward(dx, x, shape, mean, rstd, None, None, [True, False, False])[0]
    return _affine(normal, change, weight, bias, shape)


def group_norm(
    input: Tensor, groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Dual | None:
    """As `layer_norm`, over groups of channels of one sample."""
    x, dx = parts(input)
    if dx is None and not moves(weight, bias):
        return None
    batch, channels, pixels = x.shape[0], x.shape[1], prod(x.shape[2:])
    last = x.ndim == 4 and x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    x = x.contiguous(memory_format=layout)
    normal, mean, rstd = torch.native_group_norm(x, None, None, batch, channels, pixels, groups, eps)
    change: Tensor | None = None
    if dx is not None:
        backward = torch.ops.aten.native_group_norm_backward
        sizes = (batch, channels, pixels, groups)
        change = backward(dx.contiguous(memory_format=layout), x, mean, rstd, None, *sizes, [True, False, False])[0]
    return _affine(normal, change, weight, bias, [-1, *[1] * (x.ndim - 2)])


def moves(*arguments: Any) -> bool:
    """Whether any of a call's arguments is a tensor that changes."""
    return any(parts(each)[1] is not None for each in arguments if isinstance(each, Tensor))


def _affine(
    normal: Tensor, change: Tensor | None, weight: Tensor | None, bias: Tensor | None, shape: Sequence[int]
) -> Dual:
    """γ x̂ + β and its change, for a change of x̂ that may be overwritten; `shape` is γ's and β's against x̂."""
    (w, dw), (b, db) = (
        tuple(None if each is None else each.view(shape) for each in parts(tensor)) for tensor in (weight, bias)
    )
    if w is not None and change is not None:
        change.mul_(w)
    if dw is not None:
        change = normal * dw if change is None else change.addcmul_(normal, dw)
    if db is not None:
        change = db.expand_as(normal) if change is None else change.add_(db)
    value = normal if w is None else normal * w if b is None else torch.addcmul(b, normal, w)
    return value, change


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
    """softmax(s q kᵀ + mask) v with its change, some samples at a time, so that their matrices stay small."""
    (q, dq), (k, dk), (v, dv) = parts(query), parts(key), parts(value)
    if query.ndim != 4 or dropout_p or enable_gqa or dq is None or dk is None or dv is None:
        return None
    batch, heads, length, width = q.shape
    mask, dmask = _additive(attn_mask, is_causal, q, k)
    samples = max(1, ATTENTION_PIECE // (heads * length * k.shape[2]))
    out = q.new_empty(batch, heads, length, v.shape[3])
    change = torch.empty_like(out)
    for first in range(0, batch, samples):
        some = slice(first, first + samples)
        pieces = [each[some].flatten(0, 1) for each in (q, dq, k, dk, v, dv)]
        masks = [
            each[some] if each is not None and each.ndim == 4 and len(each) > 1 else each for each in (mask, dmask)
        ]
        attended = _attend(pieces, scale or width**-0.5, masks, heads)
        out[some], change[some] = (each.view(-1, heads, *each.shape[1:]) for each in attended)
    return out, change


def _attend(
    pieces: Sequence[Tensor], scale: float, masks: Sequence[Tensor | None], heads: int
) -> tuple[Tensor, Tensor]:
    """Attention and its change, of q, q̇, k, k̇, v, v̇ (samples · heads, tokens, width), the mask and its change."""
    q, dq, k, dk, v, dv = pieces
    q, dq, k, dk = q * scale, dq * scale, k.transpose(1, 2), dk.transpose(1, 2)
    logits, change = torch.bmm(q, k), torch.bmm(dq, k).baddbmm_(q, dk)
    for sums, mask in zip((logits, change), masks, strict=True):
        if mask is not None:
            sums.view(-1, heads, *sums.shape[1:]).add_(mask)
    weights = torch.softmax(logits, dim=-1)
    change = torch._softmax_backward_data(change, weights, -1, weights.dtype)
    return torch.bmm(weights, v), torch.bmm(weights, dv).baddbmm_(change, v)


def _additive(mask: Tensor | None, causal: bool, q: Tensor, k: Tensor) -> tuple[Tensor | None, Tensor | None]:
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
