"""Per-sample gradients that are never made: what a layer's input and its output's gradient say about them.

For a layer whose output is linear in its parameters, ⟨g_i, v⟩ is the inner product of the output's gradient with the
output that v would give (a ghost inner product), and Σ w_i g_i is the ordinary parameter gradient of the output's
gradient scaled by w. So one backward pass serves both: first every layer's slope, then, once the weights are known,
every layer's weighted gradient. Where a sample's own gradient is small it is made instead, and serves for both.

The rows of an input are samples, or a whole number of rows a sample, one sample after the other (windows, patches).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimic.errors import MimicError

# Making per-sample gradients of a weight costs memory traffic, not making them one more product: above this many
# positions a sample the traffic is the cheaper.
POSITIONS = 32
# The same for convolutions: at least so many positions and input channels.
CONVOLVED, CHANNELS = 128, 8


class UnknownLayer(MimicError):
    """A layer that the book-keeping does not know, with the reason; other methods take over."""


@dataclass
class Budget:
    """Bytes that per-sample gradients may still take."""

    left: int

    def grants(self, tensor_bytes: int) -> bool:
        """Takes so many, if there are."""
        if tensor_bytes > self.left:
            return False
        self.left -= tensor_bytes
        return True


@dataclass(frozen=True)
class Entry:
    """What one call of a layer adds.

    Attributes:
        slope: (B,), ⟨g_i, v⟩ over the layer's parameters.
        gradient: weights (B,) → Σ w_i g_i by the parameter's name in the layer.
        squares: gives (B,), ‖g_i‖² over the layer's parameters.
    """

    slope: Tensor
    gradient: Callable[[Tensor], dict[str, Tensor]]
    squares: Callable[[], Tensor]


# (layer, its input, its output's gradient, v by the layer's own names, B, budget) → entry
Rule: TypeAlias = Callable[[Any, Tensor, Tensor, dict[str, Tensor], int, Budget], Entry]


def rule_for(layer: nn.Module) -> Rule:
    """The rule of a layer with parameters of its own.

    Raises:
        UnknownLayer: there is none; the sentence says for what.
    """
    for kinds, fits, rule in RULES:
        if isinstance(layer, kinds):
            if fits(layer):
                return rule
            break
    if type(layer).__name__ in _SCALES and len(list(layer.parameters())) == 1:
        return scaling
    raise UnknownLayer(f"the book-keeping does not know {type(layer).__name__} in this form")


def result_of(layer: nn.Module) -> str:
    """The layer's own submodule that is given what the rule speaks of; empty where that is the layer's output.

    timm's normalisations drop and activate in the same layer (BatchNormAct2d and its kin).
    """
    children = dict(layer.named_children())
    return "drop" if isinstance(layer, _NORMALISATIONS) and {"drop", "act"} <= children.keys() else ""


def combine(entries: Sequence[Entry]) -> Entry:
    """One entry of several parts of a layer."""

    def gradient(weights: Tensor) -> dict[str, Tensor]:
        return {name: each for entry in entries for name, each in entry.gradient(weights).items()}

    def squares() -> Tensor:
        return torch.stack([entry.squares() for entry in entries]).sum(dim=0)

    return Entry(torch.stack([entry.slope for entry in entries]).sum(dim=0), gradient, squares)


def made(name: str, gradients: Tensor, v: Tensor) -> Entry:
    """The entry of per-sample gradients (B, …) that have been made."""
    flat = gradients.flatten(1)
    return Entry(
        flat @ v.flatten().to(flat),
        lambda weights: {name: (weights.to(flat) @ flat).view(v.shape)},
        lambda: flat.square().sum(dim=1),
    )


def squares_of_products(d: Tensor, x: Tensor) -> Tensor:
    """‖Σ_t d_t x_tᵀ‖² by sample, (B,), without making the product: d (B, T, O), x (B, T, I)."""
    if d.shape[1] == 1:
        return d.square().sum(dim=(1, 2)) * x.square().sum(dim=(1, 2))
    return (d @ d.transpose(1, 2) * (x @ x.transpose(1, 2))).sum(dim=(1, 2))


def change(layer: Any, given: Tensor, v: dict[str, Tensor]) -> Tensor:
    """The output that v would give in place of the layer's parameters: how the output changes along v.

    Args:
        layer: one that has a rule.
        given: its input.
        v: by the layer's own names; what is missing does not move.
    """
    if type(layer).__name__ in _SCALES:
        return given * _along(layer, next(iter(v.values())))
    weight, bias = v.get("weight"), v.get("bias")
    if isinstance(layer, nn.Embedding):
        assert weight is not None
        return F.embedding(given, weight)
    x = given.to(torch.promote_types(given.dtype, torch.float32))
    if isinstance(layer, nn.Linear):
        return F.linear(x, torch.zeros_like(layer.weight, dtype=x.dtype) if weight is None else weight, bias)
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        kernel = torch.zeros_like(layer.weight, dtype=x.dtype) if weight is None else weight
        convolved: Tensor = layer._conv_forward(x, kernel, bias)
        return convolved
    shape = layer.weight.shape if ends_with_shape(layer) else (-1, *[1] * (x.ndim - 2))
    moved = torch.zeros_like(x) if weight is None else normalised(layer, x) * weight.view(shape)
    return moved if bias is None else moved + bias.view(shape)


def linear(layer: nn.Linear, given: Tensor, delta: Tensor, v: dict[str, Tensor], samples: int, budget: Budget) -> Entry:
    """y = W x + b at any number of positions."""
    d = delta.reshape(samples, -1, layer.out_features)  # (B, T, O)
    x = given.to(d.dtype).reshape(samples, -1, layer.in_features)  # (B, T, I)
    entries = []
    if "bias" in v:
        entries.append(made("bias", d.sum(dim=1), v["bias"]))
    if "weight" in v:
        size = samples * layer.weight.numel() * d.element_size()
        if d.shape[1] >= POSITIONS and budget.grants(size):
            entries.append(made("weight", d.transpose(1, 2) @ x, v["weight"]))
        else:
            slope = _dot(F.linear(x, v["weight"].to(d)), d, samples)
            entries.append(
                Entry(
                    slope,
                    lambda w: {"weight": _scaled(d, w).flatten(0, 1).T @ x.flatten(0, 1)},
                    lambda: squares_of_products(d, x),
                )
            )
    return combine(entries)


def convolution(
    layer: nn.Conv1d | nn.Conv2d | nn.Conv3d,
    given: Tensor,
    delta: Tensor,
    v: dict[str, Tensor],
    samples: int,
    budget: Budget,
) -> Entry:
    """Convolutions of one to three dimensions, in groups or not, padded with zeros."""
    x = given.to(delta.dtype)
    entries = []
    if layer.bias is not None and "bias" in v:
        per_row = delta.flatten(2).sum(dim=2)  # (rows, O)
        entries.append(made("bias", per_row.reshape(samples, -1, per_row.shape[1]).sum(dim=1), v["bias"]))
    if "weight" in v:
        if _apart(layer, delta) and budget.grants(len(delta) * layer.weight.numel() * delta.element_size()):
            entries.append(made("weight", _kernels(layer, x, delta, samples), v["weight"]))
        else:
            slope = _dot(layer._conv_forward(x, v["weight"].to(delta), None), delta, samples)
            entries.append(
                Entry(
                    slope,
                    lambda w: {"weight": _kernel_gradient(layer, x, _scaled(delta, w), 1)},
                    lambda: _kernels(layer, x, delta, samples).flatten(1).square().sum(dim=1),
                )
            )
    return combine(entries)


def _kernels(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: Tensor, delta: Tensor, samples: int) -> Tensor:
    """Every sample's gradient of the kernel, (B, …): every row is a group of its own in one row's convolution."""
    rows = _kernel_gradient(layer, x.flatten(0, 1)[None], delta.flatten(0, 1)[None], len(delta))
    by_sample = rows.view(samples, -1, *layer.weight.shape)
    return by_sample.squeeze(1) if len(delta) == samples else by_sample.sum(dim=1)


def _apart(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, delta: Tensor) -> bool:
    """Whether making every row's kernel gradient is cheaper than a convolution with v: so measured on CPUs."""
    positions = delta[0, 0].numel()
    return delta.device.type == "cpu" and layer.groups == 1 and layer.in_channels >= CHANNELS and positions >= CONVOLVED


def _kernel_gradient(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: Tensor, delta: Tensor, times: int) -> Tensor:
    """The kernel's gradient, for so many kernels in groups side by side."""
    kernel = layer.weight.detach().to(x).repeat(times, *[1] * (layer.weight.ndim - 1))
    gradient: Tensor = torch.ops.aten.convolution_backward(  # the one way to ask for the weight's gradient alone
        delta, x, kernel, None, list(layer.stride), list(layer.padding), list(layer.dilation),
        False, [0] * len(layer.stride), times * layer.groups, [False, True, False],
    )[1]  # fmt: skip
    return gradient


def normalisation(
    layer: Any, given: Tensor, delta: Tensor, v: dict[str, Tensor], samples: int, budget: Budget
) -> Entry:
    """y = γ x̂ + β, where x̂ depends on the sample alone: LayerNorm, RMSNorm, GroupNorm."""
    shape, last_axes = layer.weight.shape, ends_with_shape(layer)
    entries = []
    if "weight" in v:
        x = given.to(torch.promote_types(given.dtype, torch.float32))
        entries.append(made("weight", _reduced(delta * normalised(layer, x), shape, samples, last_axes), v["weight"]))
    if "bias" in v:
        entries.append(made("bias", _reduced(delta, shape, samples, last_axes), v["bias"]))
    return combine(entries)


def frozen_statistics(
    layer: Any, given: Tensor, delta: Tensor, v: dict[str, Tensor], samples: int, budget: Budget
) -> Entry:
    """BatchNorm in eval mode."""
    rows, channels = delta.shape[:2]
    x = given.to(torch.promote_types(given.dtype, torch.float32))
    # Every row's channel counts as a channel of its own, so that one pass over both tensors sums up all of them.
    _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
        delta.to(x).reshape(1, rows * channels, -1),
        x.reshape(1, rows * channels, -1),
        None,
        layer.running_mean.to(x).repeat(rows),
        layer.running_var.to(x).repeat(rows),
        None,
        None,
        False,
        layer.eps,
        [False, True, True],
    )
    sums = {"weight": of_weight, "bias": of_bias}
    return combine(
        [made(name, sums[name].view(samples, -1, channels).sum(dim=1), v[name]) for name in sums if name in v]
    )


def scaling(layer: Any, given: Tensor, delta: Tensor, v: dict[str, Tensor], samples: int, budget: Budget) -> Entry:
    """y = γ x: the layer scale of timm and transformers."""
    ((name, tensor),) = v.items()
    return made(name, _reduced(delta * given, tensor.shape, samples, not _SCALES[type(layer).__name__]), tensor)


def normalised(layer: Any, x: Tensor) -> Tensor:
    """x̂: what a normalisation multiplies by its weight."""
    if isinstance(layer, nn.LayerNorm):
        ones = x.new_ones(layer.normalized_shape)  # twice as fast as without a weight
        return F.layer_norm(x, layer.normalized_shape, ones, None, layer.eps)
    if isinstance(layer, nn.RMSNorm):
        return F.rms_norm(x, layer.normalized_shape, None, layer.eps)
    if isinstance(layer, nn.GroupNorm):
        return F.group_norm(x, layer.num_groups, None, None, layer.eps)
    return F.batch_norm(x, layer.running_mean, layer.running_var, None, None, False, 0.0, layer.eps)


def ends_with_shape(layer: nn.Module) -> bool:
    """Whether a normalisation's parameters run along its input's last axes; else along the second, the channels."""
    return isinstance(layer, nn.LayerNorm | nn.RMSNorm)


def embedding(
    layer: nn.Embedding, given: Tensor, delta: Tensor, v: dict[str, Tensor], samples: int, budget: Budget
) -> Entry:
    """Rows of a table, by index."""
    d = delta
    if layer.padding_idx is not None:
        d = d * (given != layer.padding_idx).unsqueeze(-1)

    def gradient(weights: Tensor) -> dict[str, Tensor]:
        table = torch.zeros_like(layer.weight, dtype=d.dtype)
        return {"weight": table.index_add_(0, given.flatten(), _scaled(d, weights).flatten(0, -2))}

    def squares() -> Tensor:
        rows, at = d.reshape(samples, -1, d.shape[-1]), given.reshape(samples, -1)
        same = at.unsqueeze(1) == at.unsqueeze(2)  # (B, T, T): positions that read the same row of the table
        return (rows @ rows.transpose(1, 2) * same).sum(dim=(1, 2))

    return Entry(_dot(F.embedding(given, v["weight"].to(d)), d, samples), gradient, squares)


def _dot(a: Tensor, b: Tensor, samples: int) -> Tensor:
    """Σ a b by sample, (B,)."""
    return (a * b).reshape(samples, -1).sum(dim=1, dtype=torch.promote_types(b.dtype, torch.float32))


def _scaled(delta: Tensor, weights: Tensor) -> Tensor:
    """Each sample's rows times its weight."""
    by_row = weights.to(delta).repeat_interleave(len(delta) // len(weights))
    return delta * by_row.view(-1, *[1] * (delta.ndim - 1))


def _reduced(values: Tensor, shape: torch.Size, samples: int, last_axes: bool) -> Tensor:
    """Σ by sample over every position, (B, *shape): the parameter runs along the last axes, or along the channels."""
    if last_axes:
        return values.reshape(samples, -1, math.prod(shape)).sum(dim=1)
    per_row = values.sum(dim=tuple(range(2, values.ndim))) if values.ndim > 2 else values
    return per_row.reshape(samples, -1, *shape).sum(dim=1)


def _along(layer: nn.Module, parameter: Tensor) -> Tensor:
    """A layer scale's parameter in the shape that multiplies its input."""
    return parameter.view(1, -1, 1, 1) if _SCALES[type(layer).__name__] else parameter


def _always(layer: nn.Module) -> bool:
    return True


def _zero_padded(layer: Any) -> bool:
    return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _plain_table(layer: nn.Embedding) -> bool:
    return layer.max_norm is None and not layer.scale_grad_by_freq and not layer.sparse


_NORMALISATIONS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
# Layer scales by name, so that neither timm nor transformers is needed: whether the parameter runs along the channels.
_SCALES = {"LayerScale": False, "LayerScale2d": True, "Dinov2LayerScale": False}

# kinds of layer, what such a layer must be like, and the rule: the first that fits
RULES: tuple[tuple[tuple[type[nn.Module], ...], Callable[[Any], bool], Rule], ...] = (
    ((nn.Linear,), _always, linear),
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), _zero_padded, convolution),
    ((nn.LayerNorm, nn.RMSNorm, nn.GroupNorm), _always, normalisation),
    ((nn.modules.batchnorm._BatchNorm,), lambda layer: layer.running_mean is not None, frozen_statistics),
    ((nn.Embedding,), _plain_table, embedding),
)
