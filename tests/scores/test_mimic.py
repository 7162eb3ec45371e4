"""The laws of the score: its sign, its path integral, and what happens to samples that cannot be scored."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from mimic import Direction, iter_scores, mimic_scores
from mimic.errors import MimicError
from mimic.scores.scorer import SignalScorer

seeds = given(seed=st.integers(0, 2**31))
lean = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize(("name", "scope"), [("mlp", "last"), ("convnet", "last-weight"), ("attention", "full")])
@seeds
@lean
def test_path_integral_is_the_loss_difference(make_case, name, scope, seed):
    """∫₀¹ m(θ + s v) ds = mimic_path, by Gauss-Legendre: the score averaged along the way is the reducible loss."""
    case = make_case(name, seed)
    start = case.start.double()
    images = case.images.double()
    direction = Direction.between(start, case.reference.state_dict(), scope)
    signals = SignalScorer(start, case.reference.state_dict(), scope, ["mimic_path"])(images, case.labels).signals
    moved = copy.deepcopy(start)
    nodes, weights = np.polynomial.legendre.leggauss(24)
    integral = torch.zeros(len(images), dtype=torch.float64)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        with torch.no_grad():
            for tensor_name, v in direction.tensors.items():
                moved.get_parameter(tensor_name).copy_(start.get_parameter(tensor_name) + node * v)
        integral += weight * mimic_scores(moved, images, case.labels, direction).double()
    torch.testing.assert_close(signals["mimic_path"].double(), integral, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scope", ["last", "full"])
@seeds
@lean
def test_sign_law(make_case, scope, seed):
    """A small descent step on a sample shortens the distance to the reference iff its score is positive."""
    case = make_case("attention", seed)
    start = case.start.double()
    direction = Direction.between(start, case.reference.state_dict(), scope)
    scores = mimic_scores(start, case.images.double(), case.labels, direction)
    for image, label, score in zip(case.images.double(), case.labels, scores, strict=True):
        start.zero_grad()
        F.cross_entropy(start(image[None]), label[None]).backward()
        gradient = {name: start.get_parameter(name).grad for name in direction.tensors}
        step = 0.1 * abs(float(score)) * direction.norm / float(sum(g.square().sum() for g in gradient.values()))
        left = sum((v + step * gradient[name]).square().sum() for name, v in direction.tensors.items())
        assert (float(left) < direction.norm**2) == (float(score) > 0)


def test_from_a_zero_head_the_score_is_the_references_centred_logit(make_case):
    """METHOD: (logit of the given label − mean logit) of the reference's head on the start's features, over ‖v‖."""
    case = make_case("mlp", seed=2)
    nn.init.zeros_(case.start.head.weight)
    nn.init.zeros_(case.start.head.bias)
    direction = Direction.between(case.start, case.reference.state_dict())
    logits = case.reference.head(case.start.body(case.images))
    expected = (logits.gather(1, case.labels[:, None])[:, 0] - logits.mean(dim=1)) / direction.norm
    torch.testing.assert_close(mimic_scores(case.start, case.images, case.labels, direction), expected.detach())


def test_batches_do_not_change_the_scores(make_case):
    """Batch size changes the order of sums in a matrix product, so equality holds to rounding, not to the bit."""
    case = make_case("attention", seed=6, batch=12)
    direction = Direction.between(case.start, case.reference.state_dict(), "full")
    whole = mimic_scores(case.start, case.images, case.labels, direction)
    for size in (1, 5):
        loader = zip(case.images.split(size), case.labels.split(size), strict=True)
        parts = torch.cat(list(iter_scores(case.start, loader, direction)))
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)
    assert torch.equal(whole, mimic_scores(case.start, case.images, case.labels, direction))


def test_labels(make_case):
    case = make_case("mlp", seed=7)
    direction = Direction.between(case.start, case.reference.state_dict())
    scores = mimic_scores(case.start, case.images, case.labels, direction)
    without = case.labels.clone()
    without[1] = -1
    partly = mimic_scores(case.start, case.images, without, direction)
    assert partly.isnan().tolist() == [False, True, False, False, False]
    assert torch.equal(partly[2:], scores[2:])
    assert torch.equal(mimic_scores(case.start, case.images, case.labels.to(torch.uint8), direction), scores)
    for wrong in (7, -2, 2**40):
        with pytest.raises(MimicError, match=f"label {wrong} has no output: the model has 7, for labels 0 to 6"):
            mimic_scores(case.start, case.images, torch.full((5,), wrong), direction)
    with pytest.raises(MimicError, match="integers are needed"):
        mimic_scores(case.start, case.images, case.labels.float(), direction)


@pytest.mark.parametrize("scope", ["last", "full"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_pixels_that_are_not_finite_give_nan_for_that_sample_alone(make_case, scope, bad):
    case = make_case("mlp", seed=8)
    direction = Direction.between(case.start, case.reference.state_dict(), scope)
    scores = mimic_scores(case.start, case.images, case.labels, direction)
    case.images[3, 0, 0, 0] = bad
    broken = mimic_scores(case.start, case.images, case.labels, direction)
    assert broken.isnan().tolist() == [False, False, False, True, False]
    torch.testing.assert_close(broken[:3], scores[:3])


@pytest.mark.parametrize("method", ["auto", "jvp", "difference"])
@pytest.mark.parametrize("scope", ["last", "full"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_gives_nan_for_that_sample_alone(make_case, bad, scope, method):
    case = make_case("attention", seed=8)
    direction = Direction.between(case.start, case.reference.state_dict(), scope)

    def broken(logits, label):
        loss = F.cross_entropy(logits, label, reduction="none")
        return loss * torch.where(torch.arange(len(loss)) == 3, bad, 1.0)

    scores = mimic_scores(case.start, case.images, case.labels, direction, broken, method)
    assert scores.isnan().tolist() == [False, False, False, True, False]
    kept = torch.tensor([0, 1, 2, 4])
    whole = mimic_scores(case.start, case.images, case.labels, direction)
    torch.testing.assert_close(scores[kept], whole[kept], rtol=1e-2, atol=1e-3)


def test_half_precision_reference_counts_what_it_holds(make_case):
    case = make_case("mlp", seed=9)
    half = {name: each.half() for name, each in case.reference.state_dict().items()}
    widened = {name: each.float() for name, each in half.items()}
    for scope in ("last", "full"):
        a, b = (Direction.between(case.start, state, scope) for state in (half, widened))
        assert a.norm == b.norm
        assert torch.equal(*(mimic_scores(case.start, case.images, case.labels, each) for each in (a, b)))


class Wrapped(nn.Module):
    """Returns its logits in one of the shapes that other people's models use."""

    def __init__(self, inner, how):
        super().__init__()
        self.inner, self.how = inner, how

    def forward(self, images):
        return self.how(self.inner(images))


@dataclasses.dataclass
class ModelOutput:
    logits: torch.Tensor


@pytest.mark.parametrize("scope", ["last", "full"])
@pytest.mark.parametrize(
    "how", [lambda z: (z, None), lambda z: {"logits": z, "hidden": z[:, :1]}, ModelOutput, lambda z: [z]]
)
def test_models_that_wrap_their_logits(make_case, scope, how):
    case = make_case("mlp", seed=10)
    start, reference = Wrapped(case.start, how), Wrapped(case.reference, how)
    got = mimic_scores(start, case.images, case.labels, Direction.between(start, reference.state_dict(), scope))
    direction = Direction.between(case.start, case.reference.state_dict(), scope)
    assert torch.equal(got, mimic_scores(case.start, case.images, case.labels, direction))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda z: z[:, :, None], r"logits of shape \(5, 7, 1\) for 5 images"),
        (lambda z: z[:3], r"logits of shape \(3, 7\) for 5 images"),
        (lambda z: {"hidden": z}, "returns dict without logits"),
        (lambda z: z.argmax(dim=1), "without logits"),
        (lambda z: None, "returns NoneType without logits"),
    ],
)
def test_models_without_logits_are_refused(make_case, how, message):
    case = make_case("mlp", seed=11)
    start = Wrapped(case.start, how)
    direction = Direction.between(start, Wrapped(case.reference, how).state_dict(), "full")
    with pytest.raises(MimicError, match=message):
        mimic_scores(start, case.images, case.labels, direction)


def test_a_loss_of_ones_own(make_case, backward_scores):
    case = make_case("mlp", seed=12)
    direction = Direction.between(case.start, case.reference.state_dict())

    def squared(logits, label):
        return (logits.softmax(dim=1) - F.one_hot(label, logits.shape[1])).square().sum(dim=1)

    expected = backward_scores(
        case.start, case.reference, case.images, case.labels, ["head.weight", "head.bias"], squared
    )
    got = mimic_scores(case.start, case.images, case.labels, direction, loss=squared)
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-5)
