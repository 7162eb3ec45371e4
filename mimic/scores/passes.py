"""The forward passes that a batch's signals need: the start's, and the start's with some of the reference's tensors.

Each set of replaced tensors is computed once a batch, and from the start's features where only the head is replaced.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimic.losses import Loss
from mimic.models.calling import Inputs
from mimic.models.direction import Direction
from mimic.scores.differentiate import Differentiator, Method, Pushed, why_not_through


class Passes:
    """Runs a start and its reference over batches.

    Args:
        start: the model at θ.
        state: the reference's tensors under the start's names.
        head: the name of the final linear layer, where there is one.
        directions: what to take changes along.
        loss: per-sample loss of (outputs, labels).
        method: how, see `Differentiator`.
        dtype: the precision to compute in; None: the start's own. A copy of the start is made for another one.
        compiled: see `Differentiator`.

    Attributes:
        replaced: names of the parameters and buffers in which the reference differs from the start.
    """

    def __init__(
        self,
        start: nn.Module,
        state: Mapping[str, Tensor],
        head: str | None,
        directions: Sequence[Direction],
        loss: Loss,
        method: Method,
        dtype: torch.dtype | None = None,
        compiled: bool = False,
    ) -> None:
        self.module = start if dtype is None else copy.deepcopy(start).to(dtype)
        own = dict(start.named_parameters()) | dict(start.named_buffers())
        working = dict(self.module.named_parameters()) | dict(self.module.named_buffers())
        self.reference = {
            name: state[name].to(working[name].device, working[name].dtype)
            for name in own
            if name in state and not torch.equal(state[name].to(own[name].device, own[name].dtype), own[name])
        }
        self.replaced = frozenset(self.reference)
        self.dtype = dtype
        self.differentiate = Differentiator(self.module, directions, loss, method, head, compiled)
        through = head is not None and not why_not_through(start, head)
        self.head = head if through else None

    def __call__(self, inputs: Inputs, labels: Tensor | None) -> BatchPasses:
        """The start's pass over a batch, with its changes; the others follow when asked for."""
        inputs = self._cast(inputs)
        return BatchPasses(self, inputs, self.differentiate.push(inputs, labels))

    def probe(self, inputs: Inputs) -> None:
        """Settles the methods, see `Differentiator.probe`."""
        self.differentiate.probe(self._cast(inputs))

    def _cast(self, inputs: Inputs) -> Inputs:
        """In the precision of the passes; words' numbers stay what they are."""
        if self.dtype is None:
            return inputs
        if isinstance(inputs, tuple):
            return tuple(each.to(self.dtype) if each.is_floating_point() else each for each in inputs)
        return inputs.to(self.dtype)


class BatchPasses:
    """One batch's passes. Outputs are (B, K) logits, or for pairs both towers' features with their scale.

    Attributes:
        start: outputs at θ.
        features: (B, D), the final linear layer's input at θ; None where there is none.
        changes: one a direction, of the outputs at θ.
    """

    def __init__(self, passes: Passes, inputs: Inputs, here: Pushed) -> None:
        self._passes, self._inputs = passes, inputs
        self.start: Any = here.outputs
        self.features = here.features
        self.changes = here.changes
        self._known: dict[frozenset[str], Any] = {frozenset(): self.start}

    @property
    def head(self) -> tuple[Tensor, Tensor | None]:
        """The final linear layer's weight (K, D) and bias (K,) at θ; there is one where there are features."""
        layer = cast(nn.Linear, self._passes.module.get_submodule(cast(str, self._passes.differentiate.head)))
        return layer.weight.detach(), None if layer.bias is None else layer.bias.detach()

    @property
    def reference(self) -> Any:
        """Outputs of the reference, its buffers included."""
        return self.with_replaced(self._passes.replaced)

    def with_replaced(self, names: frozenset[str]) -> Any:
        """Outputs of the start with the reference's tensors of these names."""
        names &= self._passes.replaced
        if names not in self._known:
            head = self._passes.head
            if self.features is not None and names <= {f"{head}.weight", f"{head}.bias"}:
                self._known[names] = self._through_head(cast(str, head), self.features, names)
            else:
                state = {name: self._passes.reference[name] for name in names}
                self._known[names] = self._passes.differentiate.forward(self._inputs, state)
        return self._known[names]

    def _through_head(self, head: str, features: Tensor, names: frozenset[str]) -> Tensor:
        layer = cast(nn.Linear, self._passes.module.get_submodule(head))
        weight, bias = (
            self._passes.reference[key] if (key := f"{head}.{name}") in names else getattr(layer, name)
            for name in ("weight", "bias")
        )
        with torch.no_grad():
            return F.linear(features, weight.to(features), None if bias is None else bias.to(features))
