"""The whole model's scores and its weighted gradients out of ONE backward pass.

Stages: the watch kept every layer's input and its output's place in the graph; one gradient of Σ ℓ_i by all of these
outputs; every layer's slope (see `mimic.training.layers`); and, once the weights are known, every layer's weighted
gradient. It is exact where a sample's loss depends on that sample alone; batch statistics and coupled losses break
that, so whoever uses it tries it once against another method.

A parameter that no known layer owns can take part if its first dimension is 1 (a table of positions, a class token): it
is spread over the batch during the forward pass, as a view, so that its gradient comes sample by sample.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from mimic.training.layers import Budget, Entry, UnknownLayer, change, made, result_of, rule_for
from mimic.training.slope import gradients_by
from mimic.training.target import Aim
from mimic.training.watch import Call

# Bytes of per-sample gradients that one step may keep; above it layers take the ghost product, which needs none.
MEMORY = 512 * 2**20


class BookKeeping:
    """Which layers and parameters to watch for a scope, and what to make of what was seen.

    Args:
        module: the model.
        parameters: the scope's, by name.

    Attributes:
        layers: names of the layers to watch, each with the submodule that is given its result (see `result_of`) or "".
        spread: names of the parameters to spread over the batch.

    Raises:
        UnknownLayer: a parameter of the scope belongs to a layer without a rule.
    """

    def __init__(self, module: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
        self._module = module
        self._names = {id(each): name for name, each in parameters.items()}
        self._local: dict[str, dict[str, str]] = defaultdict(dict)  # layer → its own name of a parameter → full name
        self._spread: dict[str, str] = {}  # path of a parameter to spread → full name
        for path, each in module.named_parameters(remove_duplicate=False):
            if id(each) in self._names:
                owner, _, local = path.rpartition(".")
                self._add(owner, local, path, each)
        self.layers = {name: result_of(module.get_submodule(name)) for name in self._local}
        self.spread = list(self._spread)

    @property
    def batch_normalised(self) -> bool:
        """Whether batch statistics couple the samples now: any normalisation over the batch in train mode."""
        kinds = nn.modules.batchnorm._BatchNorm
        return any(
            isinstance(each, kinds) and (each.training or each.running_mean is None) for each in self._module.modules()
        )

    def covers(self, parameters: Iterable[nn.Parameter]) -> bool:
        """Whether the scope holds all of these parameters."""
        return all(id(each) in self._names for each in parameters)

    def read(self, losses: Tensor, calls: list[Call], aim: Aim, keep_graph: bool) -> list[tuple[Call, Entry]]:
        """One backward pass, and every layer's entry.

        Args:
            losses: (B,), or what stands for them, see `gradients_by`.
            calls: of the watched layers and the spread parameters.
            aim: v now.
            keep_graph: whether somebody will go backward again.

        Raises:
            UnknownLayer: a layer's rows are no whole number a sample.
        """
        deltas = gradients_by(losses, [call.output for call in calls], keep_graph=keep_graph)
        budget = Budget(MEMORY)
        entries = []
        with torch.no_grad():
            for call, delta in zip(calls, deltas, strict=True):
                if delta is not None:
                    entries.append((call, self._entry(call, delta, aim, len(losses), budget)))
        return entries

    def changes(self, calls: list[Call], aim: Aim) -> list[Tensor]:
        """How the output of each call changes along v while its input stays: what `LossSlope` takes, for any loss."""
        return [self._change(call, aim) for call in calls]

    def gradients(self, entries: list[tuple[Call, Entry]], weights: Tensor) -> dict[str, Tensor]:
        """Σ w_i g_i by parameter name, summed over every use of a parameter."""
        total: dict[str, Tensor] = {}
        with torch.no_grad():
            for call, entry in entries:
                for local, gradient in entry.gradient(weights).items():
                    name = self._spread.get(call.layer) or self._local[call.layer][local]
                    total[name] = total[name] + gradient if name in total else gradient
        return total

    def lengths(self, entries: list[tuple[Call, Entry]]) -> Tensor:
        """Every sample's ‖g_i‖ over the scope, (B,).

        Raises:
            UnknownLayer: a parameter is used more than once, so its gradient's parts do not add up by their squares.
        """
        used = [call.layer for call, _ in entries]
        if len(set(used)) < len(used):
            raise UnknownLayer(f"{next(name for name in used if used.count(name) > 1)} is used more than once a pass")
        with torch.no_grad():
            return torch.stack([entry.squares() for _, entry in entries]).sum(dim=0).sqrt()

    def _add(self, owner: str, local: str, path: str, parameter: nn.Parameter) -> None:
        layer = self._module.get_submodule(owner)
        try:
            rule_for(layer)
        except UnknownLayer:
            if parameter.ndim < 2 or parameter.shape[0] != 1:
                raise UnknownLayer(
                    f"the book-keeping does not know {type(layer).__name__}, which owns {path}"
                ) from None
            self._spread[path] = self._names[id(parameter)]
        else:
            self._local[owner][local] = self._names[id(parameter)]

    def _change(self, call: Call, aim: Aim) -> Tensor:
        if call.layer in self._spread:
            return aim.tensors[self._spread[call.layer]].expand(call.output.value.shape)
        return change(self._module.get_submodule(call.layer), call.given, self._aim_of(call.layer, aim))

    def _aim_of(self, layer: str, aim: Aim) -> dict[str, Tensor]:
        """v by the layer's own names."""
        return {local: aim.tensors[name] for local, name in self._local[layer].items()}

    def _entry(self, call: Call, delta: Tensor, aim: Aim, samples: int, budget: Budget) -> Entry:
        if call.layer in self._spread:
            return made(call.layer, delta, aim.tensors[self._spread[call.layer]])
        if len(delta) % samples:
            raise UnknownLayer(f"{call.layer} works on {len(delta)} rows for {samples} samples")
        layer = self._module.get_submodule(call.layer)
        return rule_for(layer)(layer, call.given, delta, self._aim_of(call.layer, aim), samples, budget)
