"""Per-sample losses against their definitions."""

from __future__ import annotations

import pytest
import torch

from mimic.errors import MimicError
from mimic.losses import LOSSES, cross_entropy, get_loss


def test_cross_entropy_is_minus_the_log_probability():
    logits = torch.randn(6, 4, dtype=torch.float64)
    labels = torch.tensor([0, 3, 1, 2, 2, -1])
    expected = -logits.softmax(dim=1)[torch.arange(5), labels[:5]].log()
    got = cross_entropy(logits, labels)
    torch.testing.assert_close(got[:5], expected)
    assert got[5] == 0
    assert torch.equal(cross_entropy(logits, labels.to(torch.int16)), got)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([4]), "label 4 has no output: the model has 4, for labels 0 to 3"),
        (torch.tensor([-2]), "label -2 has no output"),
        (torch.tensor([2**40]), f"label {2**40} has no output"),
        (torch.tensor([1.0]), r"labels are torch.float32 \(1,\)"),
        (torch.tensor([[1]]), r"\(1, 1\): \(batch,\) integers are needed"),
        (torch.tensor([True]), "labels are torch.bool"),
    ],
)
def test_labels_without_an_output(labels, message):
    with pytest.raises(MimicError, match=message):
        cross_entropy(torch.zeros(1, 4), labels)


def test_losses_are_found_by_name():
    assert get_loss("cross_entropy") is LOSSES["cross_entropy"]
    assert get_loss(torch.mul) is torch.mul
    with pytest.raises(MimicError, match="no loss 'hinge': one of cross_entropy"):
        get_loss("hinge")
