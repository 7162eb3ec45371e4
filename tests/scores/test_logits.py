"""Signals of logits, on numbers worked out by hand."""

from __future__ import annotations

import math

import torch

from mimic.scores.logits import logprob, margin

LOGITS = torch.tensor([[0.0, math.log(3.0)], [5.0, 5.0]])


def test_logprob():
    got = logprob(LOGITS, torch.tensor([1, 0]))
    torch.testing.assert_close(got, torch.tensor([0.75, 0.5]).log())


def test_margin_is_positive_exactly_where_the_model_agrees():
    logits = torch.tensor([[1.0, 4.0, 2.0], [1.0, 4.0, 2.0]])
    torch.testing.assert_close(margin(logits, torch.tensor([1, 2])), torch.tensor([2.0, -2.0]))
    assert margin(LOGITS[1:], torch.tensor([0])).item() == 0
