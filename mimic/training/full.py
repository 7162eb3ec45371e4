"""Slopes over any scope: by one backward pass with book-keeping where that is exact, else by running the pass again.

- ``backward``: the book-keeping of `mimic.training.bookkeeping`; gives the weighted gradients too
- ``double``: for losses that couple the batch, and a scope near the model's end: the change of the scope's layers
  through what lies above them, by differentiating the backward pass again
- ``jvp``: forward mode through the last pass once more, exact for any model and loss
- ``difference``: central differences, for models whose operations forbid forward mode
- ``auto``: jvp on the first batch; then the first two of these are tried on the same batch, and what gives the same
  slopes is kept. Layers without a rule and parameters used behind a layer's back fail the trial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from mimic.errors import MimicError
from mimic.training.bookkeeping import BookKeeping
from mimic.training.layers import Entry, UnknownLayer
from mimic.training.replay import Replay
from mimic.training.slope import UNUSED, LossSlope, gradients_by
from mimic.training.target import Aim, Target
from mimic.training.watch import Call, Forward, Output, Watch

FullMethod = Literal["auto", "backward", "double", "jvp", "difference"]

# Relative differences of the slopes that rounding explains: in full precision, and in half or by differences.
TOLERANCE, ROUGH_TOLERANCE = 1e-3, 5e-2


class FullSlope:
    """dℓ_i/dε along v over any scope.

    Args:
        target: the scope.
        method: see the module's list.
        coupled: as in `LossSlope`.
        forwards: as in `Watch`.
        lengths: whether `lengths` is wanted, which the book-keeping alone gives.

    Attributes:
        watch: the hooks that it needs.
        lengths: (B,), the length of each sample's own gradient over the scope, in the last batch.
        method: what is in use: ``"auto"`` until the trial.
        reason: why, in a sentence.

    Raises:
        MimicError: an unknown method, or a layer without a rule where the method needs one.
    """

    def __init__(
        self, target: Target, method: FullMethod, coupled: bool | None, forwards: int, lengths: bool = False
    ) -> None:
        if method not in get_args(FullMethod):
            raise MimicError(f"there is no method {method!r}: one of {', '.join(get_args(FullMethod))}")
        self._target = target
        self._forwards = forwards
        self._replay = Replay(target.module)
        self._again: Literal["jvp", "difference"] = "difference" if method == "difference" else "jvp"
        self._loss_slope = LossSlope(coupled)
        self._entries: list[tuple[Call, Entry]] | None = None
        self._book: BookKeeping | None = None
        self.lengths: Tensor | None = None
        self._wanted = lengths
        self.method: str = method
        self.reason = f"{method}, as asked for"
        if method in ("auto", "backward", "double"):
            self._open_book(method)
        self.watch = self._make_watch(spread=method != "auto")

    @property
    def by_book(self) -> bool:
        """Whether the next batch goes by one backward pass."""
        return self.method == "backward" and self._book is not None and not self._book.batch_normalised

    @property
    def gives_gradients(self) -> bool:
        """Whether `gradients` will hold every gradient that the model needs after the next batch."""
        return self.by_book and self._book is not None and self._book.covers(self._trained())

    def __call__(self, losses: Tensor, passes: list[Forward], aim: Aim, keep_graph: bool = True) -> Tensor:
        """The slopes of a batch, times ‖v‖, (B,).

        Args:
            losses: (B,), computed from what the passes gave.
            passes: since the last batch.
            aim: v now.
            keep_graph: whether somebody will go backward through the losses again.

        Raises:
            MimicError: the losses do not come from the passes.
        """
        self._entries = self.lengths = None
        if self.by_book:
            return self._read(losses, passes, aim, keep_graph)
        if self.method == "double":
            return self._twice(losses, passes, aim)
        outputs = [each for passed in passes for each in passed.outputs if each is not None]
        if not outputs:
            raise MimicError(UNUSED)
        changes = [change for passed in passes for change in self._changes(passed, aim)]
        slopes = self._loss_slope(losses, outputs, changes)
        if self.method == "auto" and self._loss_slope.coupled is not None:
            self._decide(losses, passes, outputs, slopes, aim)
        if self._wanted and self.lengths is None:
            raise MimicError(
                "the cosine variant needs every sample's own gradient, as one backward pass by layers gives it; "
                f"here it is {self.method} ({self.reason}): use scope last, or variant='mimic'"
            )
        return slopes

    def gradients(self, weights: Tensor) -> dict[str, Tensor]:
        """Σ w_i g_i of the last batch, by parameter name; only after a batch that went by the book-keeping."""
        assert self._book is not None
        assert self._entries is not None
        entries, self._entries = self._entries, None
        return self._book.gradients(entries, weights)

    def state_dict(self) -> dict[str, Any]:
        """What was found out on the first batches."""
        return {
            "coupled": self._loss_slope.coupled,
            "method": self.method,
            "reason": self.reason,
            "again": self._again,
            "step": self._replay.step,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self._loss_slope.coupled = state["coupled"]
        self._again, self._replay.step = state["again"], state["step"]
        self._settle(state["method"], state["reason"])

    def _open_book(self, method: str) -> None:
        try:
            self._book = BookKeeping(self._target.module, self._target.parameters)
        except UnknownLayer as error:
            if method != "auto":
                raise MimicError(f"there is no method {method!r} here, {error}: use method='auto'") from error
            self.method, self.reason = "jvp", f"forward mode, because {error}"

    def _make_watch(self, spread: bool) -> Watch:
        """Spreading a parameter may not agree with a model, so nothing is spread in the user's own first pass."""
        layers, names = (self._book.layers, self._book.spread) if self._book else ({}, [])
        return Watch(self._target.module, layers, self._forwards, names if spread else [], replay=True)

    def _settle(self, method: str, reason: str) -> None:
        """The method from now on, with the hooks that it needs."""
        self.method, self.reason = method, reason
        if method in ("jvp", "difference"):
            self._book = None
        self.watch.close()
        self.watch = self._make_watch(spread=method != "auto")

    def _read(self, losses: Tensor, passes: list[Forward], aim: Aim, keep_graph: bool) -> Tensor:
        assert self._book is not None
        self._entries = self._book.read(losses, _calls(passes), aim, keep_graph)
        if self._wanted:
            self.lengths = self._book.lengths(self._entries)
        return torch.stack([entry.slope for _, entry in self._entries]).sum(dim=0)

    def _twice(self, losses: Tensor, passes: list[Forward], aim: Aim) -> Tensor:
        assert self._book is not None
        calls = _calls(passes)
        return LossSlope(coupled=True)(losses, [call.output for call in calls], self._book.changes(calls, aim))

    def _changes(self, passed: Forward, aim: Aim) -> list[Tensor]:
        if not passed.args and not passed.kwargs:
            raise MimicError("only a part of the model was called: call the model itself, or use scope last")
        if self._again == "jvp":
            try:
                return self._replay.forward_mode(passed, aim)
            except (RuntimeError, NotImplementedError) as error:
                if self.method == "jvp" and self.reason.endswith("as asked for"):
                    raise
                self._again = "difference"
                self.reason = f"central difference, because the model forbids forward mode ({str(error)[:120]})"
        return self._replay.difference(passed, aim)

    def _decide(self, losses: Tensor, passes: list[Forward], outputs: list[Output], slopes: Tensor, aim: Aim) -> None:
        """Tries faster methods on the batch whose slopes are known, and settles for the first that gives the same."""
        assert self._book is not None
        coupled = (
            "the loss couples the samples of a batch"
            if self._loss_slope.coupled
            else "batch statistics couple the samples of a batch"
            if self._book.batch_normalised
            else ""
        )
        if not coupled:
            against = self._against(lambda: self._try_book(losses, passes, outputs, aim), passes, slopes)
            if not against:
                self._settle("backward", "one backward pass with book-keeping, as exact as the first batch's method")
                return
        elif self._book.covers(self._trained()) or self._book.spread:
            against = coupled
        else:
            against = self._against(lambda: self._twice(losses, passes, aim), passes, slopes)
            if not against:
                self._settle("double", f"double backward through what lies above the scope, because {coupled}")
                return
        if self._again == "jvp":
            self._settle("jvp", f"forward mode, because {against}")
        else:
            self._settle("difference", f"{self.reason}; nothing faster, because {against}")

    def _against(self, attempt: Callable[[], Tensor], passes: list[Forward], slopes: Tensor) -> str:
        """What speaks against a faster method: its own failure, or other slopes; empty if nothing does."""
        try:
            found = attempt()
        except (MimicError, RuntimeError) as error:
            return str(error).partition("\n")[0][:160]
        difference = float((found - slopes).norm() / slopes.norm().clamp_min(1e-30))
        rough = self._again == "difference" or any(passed.autocast[1] for passed in passes)
        if difference <= (ROUGH_TOLERANCE if rough else TOLERANCE):
            return ""
        return f"a faster one differs from it by {difference:.1%} on the first batch"

    def _try_book(self, losses: Tensor, passes: list[Forward], outputs: list[Output], aim: Aim) -> Tensor:
        """The book-keeping's slopes, on passes run again with its parameters spread."""
        assert self._book is not None
        deltas = gradients_by(losses, outputs)
        watch = Watch(self._target.module, self._book.layers, self._forwards, self._book.spread)
        stand_in = torch.zeros_like(losses)
        try:
            with torch.enable_grad():
                again = [each for passed in passes for each in self._replay.run(passed, {})]
                # The losses' graph belongs to the first passes: these have the same gradient by the outputs.
                for output, delta in zip(again, deltas, strict=True):
                    if delta is not None:
                        stand_in = stand_in + (output * delta).reshape(len(losses), -1).sum(dim=1)
            entries = self._book.read(stand_in, _calls(watch.take()), aim, keep_graph=False)
        finally:
            watch.close()
        if self._wanted:
            self.lengths = self._book.lengths(entries)
        return torch.stack([entry.slope for _, entry in entries]).sum(dim=0)

    def _trained(self) -> Iterable[nn.Parameter]:
        return (each for each in self._target.module.parameters() if each.requires_grad)


def _calls(passes: list[Forward]) -> list[Call]:
    calls = [call for each in passes for call in each.calls]
    if not calls:
        raise MimicError(UNUSED)
    return calls
