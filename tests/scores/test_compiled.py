"""A compiled pass gives what the pass gives, and says so where it cannot be had."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mimic.losses import cross_entropy, get_loss
from mimic.models.direction import Direction
from mimic.models.small import SMALL
from mimic.scores.differentiate import Differentiator
from mimic.scores.scorer import SignalScorer


class Unknown(nn.Module):
    """What a compiler cannot take whole: a decision by the numbers."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        y = self.body(x)
        return self.head(y.tanh() if float(y.sum()) > 1e9 else y.sin())


def build(kind):
    torch.manual_seed(0)
    module = kind().eval()
    reference = {name: each + 0.1 * torch.randn_like(each) for name, each in module.state_dict().items()}
    return module, reference, torch.randn(8, 6), torch.randint(3, (8,))


def small():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


@pytest.mark.slow
def test_equals_the_pass_as_it_is_and_leaves_other_sizes_alone():
    module, reference, images, labels = build(small)
    direction = Direction.between(module, reference, "full")
    plain = Differentiator(module, [direction], cross_entropy)
    compiled = Differentiator(module, [direction], cross_entropy, compiled=True)
    assert compiled.compile_note == "not compiled yet"
    compiled.probe(images[:1])
    for some in (images, images.flip(0), images[:5]):
        ours, theirs = compiled(some, labels[: len(some)]), plain(some, labels[: len(some)])
        torch.testing.assert_close(ours.slopes, theirs.slopes, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours.features, theirs.features)
    if compiled.compile_note.startswith("not compiled, because torch.compile failed"):
        pytest.skip(compiled.compile_note)
    assert compiled.compile_note.startswith("compiled by torch.compile for batches of 8, others as they are")


def towers():
    open_clip = pytest.importorskip("open_clip")
    vision = {"image_size": 16, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 2}
    return open_clip.CLIP(16, vision, text)


def vit():
    return pytest.importorskip("timm").create_model("test_vit", num_classes=5, img_size=32)


# dtype: a ReLU's input may round across 0 in float32, not in float64
@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "scopes", "loss", "dtype"),
    [
        (lambda: SMALL["resnet20"](5), ("full", "re:head|8"), "cross_entropy", torch.float64),
        (vit, ("full", "last:1"), "cross_entropy", torch.float32),
        # not image-last: torch 2.14 cannot trace a layer norm whose input moves and whose weights do not
        (towers, ("full",), "clip", torch.float32),
    ],
    ids=["resnet20", "vit", "two towers"],
)
def test_the_benchmarks_architectures_compile_whole_and_with_several_scopes(make, scopes, loss, dtype):
    torch.manual_seed(0)
    module = make().eval()
    reference = {
        name: each + 0.1 * each.std(correction=0) * torch.randn_like(each) if each.is_floating_point() else each
        for name, each in module.state_dict().items()
    }
    module = module.to(dtype)
    directions = [Direction.between(module, reference, scope) for scope in scopes]
    if loss == "clip":
        inputs, labels = (torch.randn(16, 3, 16, 16), torch.randint(1, 50, (16, 8))), None
    else:
        inputs, labels = torch.randn(16, 3, 32, 32).to(dtype), torch.randint(5, (16,))
    plain, compiled = (
        Differentiator(module, directions, get_loss(loss), compiled=compiled) for compiled in (False, True)
    )
    for _ in range(2):
        ours, theirs = compiled(inputs, labels), plain(inputs, labels)
        for a, b in zip(ours.slopes, theirs.slopes, strict=True):
            assert float((a - b).norm() / b.norm()) < 1e-5
        assert (ours.features is None) == (theirs.features is None)
    assert compiled.compile_note.startswith("compiled by torch.compile for batches of 16"), compiled.compile_note


def test_what_cannot_be_compiled_is_said_and_scored_all_the_same():
    module, reference, images, labels = build(Unknown)
    scorer, plain = (
        SignalScorer(module, reference, "full", example=images, compiled=compiled) for compiled in (True, False)
    )
    for _ in range(2):
        ours, theirs = scorer(images, labels).signals, plain(images, labels).signals
        torch.testing.assert_close(ours, theirs)
    assert scorer.compile_note is not None
    assert scorer.compile_note.startswith("not compiled, because torch.compile failed (")
    assert plain.compile_note is None


def test_a_closed_form_has_nothing_to_compile():
    module, reference, images, labels = build(small)
    scorer = SignalScorer(module, reference, "last", compiled=True)
    scorer(images, labels)
    assert scorer.compile_note == "not compiled, because no scope is scored by forward mode"
