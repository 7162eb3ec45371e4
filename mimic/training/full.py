"""Slopes over any scope: by one backward pass with book-keeping where that is exact, else by running the pass again.

- ``backward``: the book-keeping of `mimic.training.bookkeeping`; gives the weighted gradients too
- ``jvp``: forward mode through the last pass, exact for any model and loss
- ``difference``: central differences, for models whose operations forbid forward mode
- ``auto``: jvp on the first batch, then backward if it gives the same slopes there, else jvp as before. Coupled losses,
  batch statistics, layers without a rule and parameters used behind a layer's back all fail that trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from mimic.errors import MimicError
from mimic.training.bookkeeping import BookKeeping
from mimic.training.layers import Entry, UnknownLayer
from mimic.training.replay import Replay
from mimic.training.slope import UNUSED, LossSlope, gradients_by
from mimic.training.target import Aim, Target
from mimic.training.watch import Call, Forward, Output, Watch

FullMethod = Literal["auto", "backward", "jvp", "difference"]

# Relative differences of the slopes that rounding explains: in full precision, and in half or by differences.
TOLERANCE, ROUGH_TOLERANCE = 1e-3, 5e-2


class FullSlope:
    """dℓ_i/dε along v over any scope.

    Args:
        target: the scope.
        method: see the module's list.
        coupled: as in `LossSlope`.
        forwards: as in `Watch`.

    Attributes:
        watch: the hooks that it needs.
        method: what is in use: ``"auto"`` until the trial.
        reason: why, in a sentence.

    Raises:
        MimicError: an unknown method, or ``backward`` for a model with layers that it does not know.
    """

    def __init__(self, target: Target, method: FullMethod, coupled: bool | None, forwards: int) -> None:
        if method not in get_args(FullMethod):
            raise MimicError(f"there is no method {method!r}: one of {', '.join(get_args(FullMethod))}")
        self._target = target
        self._forwards = forwards
        self._replay = Replay(target.module)
        self._again: Literal["jvp", "difference"] = "difference" if method == "difference" else "jvp"
        self._loss_slope = LossSlope(coupled)
        self._entries: list[tuple[Call, Entry]] | None = None
        self._book: BookKeeping | None = None
        self.method: str = method
        self.reason = f"{method}, as asked for"
        if method in ("auto", "backward"):
            self._open_book(method)
        self.watch = self._make_watch()

    @property
    def by_book(self) -> bool:
        """Whether the next batch goes by the book-keeping alone."""
        return self.method == "backward" and self._book is not None and not self._book.batch_normalised

    @property
    def gives_gradients(self) -> bool:
        """Whether `gradients` will hold every gradient that the model needs after the next batch."""
        trained = (each for each in self._target.module.parameters() if each.requires_grad)
        return self.by_book and self._book is not None and self._book.covers(trained)

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
        self._entries = None
        if self.by_book:
            return self._read(losses, passes, aim, keep_graph)
        outputs = [each for passed in passes for each in passed.outputs if each is not None]
        if not outputs:
            raise MimicError(UNUSED)
        changes = [change for passed in passes for change in self._changes(passed, aim)]
        slopes = self._loss_slope(losses, outputs, changes)
        if self.method == "auto" and self._loss_slope.coupled is not None:
            self._decide(losses, passes, outputs, slopes, aim)
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
            if method == "backward":
                raise MimicError(f"there is no method 'backward' here, {error}: use method='auto'") from error
            self.method, self.reason = "jvp", f"forward mode, because {error}"

    def _make_watch(self) -> Watch:
        layers, spread = (self._book.layers, self._book.spread) if self._book else ([], [])
        return Watch(self._target.module, layers, self._forwards, spread, replay=True)

    def _settle(self, method: str, reason: str) -> None:
        """The method from now on; a book that is not used is closed, with its hooks."""
        self.method, self.reason = method, reason
        if method not in ("auto", "backward") and self._book is not None:
            self._book = None
            self.watch.close()
            self.watch = self._make_watch()

    def _read(self, losses: Tensor, passes: list[Forward], aim: Aim, keep_graph: bool) -> Tensor:
        assert self._book is not None
        calls = [call for each in passes for call in each.calls]
        if not calls:
            raise MimicError(UNUSED)
        self._entries = self._book.read(losses, calls, aim, keep_graph)
        return torch.stack([entry.slope for _, entry in self._entries]).sum(dim=0)

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
        """Tries the book-keeping on the batch whose slopes are known, and settles for it or against it."""
        against = self._trial(losses, passes, outputs, slopes, aim)
        if not against:
            self._settle("backward", "one backward pass with book-keeping, as exact as forward mode on the first batch")
        elif self._again == "jvp":
            self._settle("jvp", f"forward mode, because {against}")
        else:
            self._settle("difference", f"{self.reason}; no book-keeping, because {against}")

    def _trial(self, losses: Tensor, passes: list[Forward], outputs: list[Output], slopes: Tensor, aim: Aim) -> str:
        """What speaks against the book-keeping; empty if nothing does."""
        assert self._book is not None
        if self._loss_slope.coupled:
            return "the loss couples the samples of a batch"
        if self._book.batch_normalised:
            return "normalisation by batch statistics couples the samples of a batch"
        deltas = gradients_by(losses, outputs)
        calls, stand_in = [], torch.zeros_like(losses)
        with torch.enable_grad():
            again = [each for passed in passes for each in self._replay.run(passed, {})]
            # The losses' graph belongs to the first pass: these have the same gradient by the second one's outputs.
            for output, delta in zip(again, deltas, strict=True):
                if delta is not None:
                    stand_in = stand_in + (output * delta).reshape(len(losses), -1).sum(dim=1)
        calls = [call for each in self.watch.take() for call in each.calls]
        try:
            entries = self._book.read(stand_in, calls, aim, keep_graph=False)
        except UnknownLayer as error:
            return str(error)
        found = torch.stack([entry.slope for _, entry in entries]).sum(dim=0)
        difference = float((found - slopes).norm() / slopes.norm().clamp_min(1e-30))
        rough = self._again == "difference" or any(passed.autocast[1] for passed in passes)
        if difference <= (ROUGH_TOLERANCE if rough else TOLERANCE):
            return ""
        return f"book-keeping differs from it by {difference:.1%} on the first batch"
