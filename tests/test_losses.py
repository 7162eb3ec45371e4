"""Per-sample losses against their definitions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mimic.errors import MimicError
from mimic.losses import LOSSES, CrossEntropy, MultiLabel, cross_entropy, get_loss


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


def test_smoothing_and_class_weights():
    logits, labels = torch.randn(3, 4, dtype=torch.float64), torch.tensor([0, 3, 3])
    weights = (1.0, 2.0, 3.0, 0.5)
    log_p, w = logits.log_softmax(dim=1), torch.tensor(weights, dtype=torch.float64)
    given = -(w * log_p)[torch.arange(3), labels]
    spread = -(w * log_p).mean(dim=1)
    got = CrossEntropy(label_smoothing=0.1, class_weights=weights)(logits, labels)
    torch.testing.assert_close(got, 0.9 * given + 0.1 * spread)
    with pytest.raises(MimicError, match="2 class weights for 4 classes"):
        CrossEntropy(class_weights=(1.0, 2.0))(logits, labels)


def test_multi_label_is_one_binary_question_an_output():
    logits = torch.randn(3, 4, dtype=torch.float64)
    target = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    p = logits.sigmoid()
    expected = -torch.where(target == 1, p, 1 - p).log().mean(dim=1)
    torch.testing.assert_close(MultiLabel()(logits, target), expected)
    with pytest.raises(MimicError, match=r"targets are \(3,\): \(3, 4\) is needed"):
        MultiLabel()(logits, target[:, 0])
    with pytest.raises(MimicError, match=r"leave 0 … 1"):
        MultiLabel()(logits, 2 * target)


def pairs(bias):
    images, texts = (F.normalize(torch.randn(5, 3, dtype=torch.float64), dim=1) for _ in range(2))
    return images, texts, torch.tensor(7.0, dtype=torch.float64), *([torch.tensor(-3.0)] if bias else [])


def test_clip_is_the_mean_of_both_ways():
    torch.manual_seed(0)
    images, texts, scale = pairs(bias=False)
    similarity = scale * images @ texts.T
    here = torch.arange(5)
    rows, columns = (F.cross_entropy(each, here, reduction="none") for each in (similarity, similarity.T))
    torch.testing.assert_close(LOSSES["clip"]((images, texts, scale), None), (rows + columns) / 2)


@pytest.mark.parametrize("bias", [False, True])
def test_siglip_judges_every_cell(bias):
    torch.manual_seed(0)
    outputs = pairs(bias)
    cells = torch.empty(5, 5, dtype=torch.float64)
    for i in range(5):
        for j in range(5):
            logit = outputs[2] * outputs[0][i] @ outputs[1][j] + (outputs[3] if bias else 0)
            cells[i, j] = -F.logsigmoid(logit if i == j else -logit)
    expected = torch.stack([(cells[i].sum() + cells[:, i].sum()) / 2 for i in range(5)])
    torch.testing.assert_close(LOSSES["siglip"](outputs, None), expected)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_the_mean_is_open_clips_training_loss(name):
    open_clip = pytest.importorskip("open_clip")
    torch.manual_seed(0)
    outputs = tuple(each.float() for each in pairs(bias=name == "siglip"))
    theirs = {"clip": open_clip.loss.ClipLoss, "siglip": open_clip.loss.SigLipLoss}[name]()
    torch.testing.assert_close(LOSSES[name](outputs, None).mean(), theirs(*outputs))


def test_losses_are_found_by_name():
    assert get_loss("cross_entropy") is LOSSES["cross_entropy"]
    assert get_loss(torch.mul) is torch.mul
    with pytest.raises(MimicError, match="no loss 'hinge': one of cross_entropy"):
        get_loss("hinge")
