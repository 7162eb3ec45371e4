"""The step of a central difference, on functions whose derivative is known."""

from __future__ import annotations

import pytest
import torch

from mimic.scores.difference import central_difference, choose_step


def test_exact_on_a_parabola():
    def losses_at(s):
        return torch.tensor([3 * s + s * s, -2 * s], dtype=torch.float64)

    torch.testing.assert_close(central_difference(losses_at, 0.5), torch.tensor([3.0, -2.0], dtype=torch.float64))


@pytest.mark.parametrize("frequency", [1.0, 30.0])
def test_the_step_follows_the_curve_and_the_error_is_honest(frequency):
    phases = torch.linspace(0, 1, 20)

    def losses_at(s):
        return 5 + torch.sin(frequency * (phases + s))

    step = choose_step(losses_at, scale=1.0)
    exact = frequency * torch.cos(frequency * phases)
    error = float((central_difference(losses_at, step.length) - exact).norm() / exact.norm())
    assert error < 5e-3
    assert error < 2 * step.error


def test_a_sample_that_is_not_finite_does_not_spoil_the_choice():
    def losses_at(s):
        return torch.stack([torch.sin(torch.tensor(1.0 + s)), torch.tensor(torch.nan)])

    assert choose_step(losses_at, scale=1.0).error < 1e-2


def test_losses_that_are_never_finite_promise_nothing():
    assert choose_step(lambda s: torch.full((3,), torch.nan), scale=1.0).error == float("inf")
