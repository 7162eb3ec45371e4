"""A Grad-Mimic step against one backward() a sample, in float64; and what a loop may do to it."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mimic import Direction, GradMimic, mimic_scores
from mimic.errors import MimicError
from mimic.models.scope import scope_parameters
from mimic.training.exhaustion import ReferenceExhausted

from .conftest import Case, brute_force, gradients_of, make_case

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": lambda z, y: F.cross_entropy(z, y, reduction="none"),
    "smoothed and weighted": lambda z, y: F.cross_entropy(
        z, y, torch.linspace(1, 2, z.shape[1]).to(z), reduction="none", label_smoothing=0.1
    ),
    "multi-label": lambda z, y: F.binary_cross_entropy_with_logits(
        z, F.one_hot(y, z.shape[1]).to(z), reduction="none"
    ).mean(dim=1),
    "scaled in place": lambda z, y: F.cross_entropy(z.mul_(3.0), y, reduction="none"),
    "focal": lambda z, y: (1 - z.softmax(1).gather(1, y[:, None])[:, 0]) ** 2 * F.cross_entropy(z, y, reduction="none"),
}


def head_names(model: nn.Module, scope: str) -> list[str]:
    return scope_parameters(model, scope, "head")


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**31))
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("name", "scope"), [("mlp", "last"), ("convnet", "last-weight"), ("attention", "last")])
def test_scores_and_gradients_equal_the_loop_of_backward(name: str, scope: str, loss: str, seed: int) -> None:
    case = make_case(name, seed)
    reweight = GradMimic(case.model, case.state, 0.5, scope)
    reweight(LOSSES[loss](case.model(case.images), case.labels)).backward()
    found = gradients_of(case.model)
    step = brute_force(
        case.model, case.reference, head_names(case.model, scope), lambda m: LOSSES[loss](m(case.images), case.labels)
    )
    torch.testing.assert_close(reweight.scores, step.scores, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(reweight.weights, torch.softmax(step.scores / 0.5, 0), rtol=1e-9, atol=1e-10)
    expected = step.weighted(reweight.weights)
    for parameter, gradient in expected.items():
        torch.testing.assert_close(found[parameter], gradient, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["mlp", "convnet", "convnet-group", "attention"])
def test_scores_are_those_of_mimic_scores(name: str) -> None:
    case = make_case(name, seed=3)
    model = case.model.float()
    images = case.images.float()
    reweight = GradMimic(model, case.state)
    reweight(F.cross_entropy(model(images), case.labels, reduction="none"))
    direction = Direction.between(model, case.state)
    torch.testing.assert_close(reweight.scores, mimic_scores(model, images, case.labels, direction))


def contrastive(a: Tensor, b: Tensor) -> Tensor:
    """Each sample's mean of its row's and its column's term."""
    similarity = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / 0.2
    target = torch.arange(len(a))
    return (
        F.cross_entropy(similarity, target, reduction="none") + F.cross_entropy(similarity.T, target, reduction="none")
    ) / 2


def test_a_loss_that_couples_the_batch_is_exact_too() -> None:
    case = make_case("mlp", seed=5)
    other = torch.randn(6, 5, dtype=torch.double)
    reweight = GradMimic(case.model, case.state)
    reweight(contrastive(case.model(case.images), other)).backward()
    found = gradients_of(case.model)
    step = brute_force(
        case.model, case.reference, head_names(case.model, "last"), lambda m: contrastive(m(case.images), other)
    )
    torch.testing.assert_close(reweight.scores, step.scores, rtol=1e-9, atol=1e-10)
    for parameter, gradient in step.weighted(reweight.weights).items():
        torch.testing.assert_close(found[parameter], gradient, rtol=1e-8, atol=1e-10)


def test_two_views_of_a_batch() -> None:
    case = make_case("mlp", seed=6)
    views = case.images, case.images.flip(-1)
    reweight = GradMimic(case.model, case.state, forwards=2)
    reweight(contrastive(case.model(views[0]), case.model(views[1])))
    step = brute_force(
        case.model, case.reference, head_names(case.model, "last"), lambda m: contrastive(m(views[0]), m(views[1]))
    )
    torch.testing.assert_close(reweight.scores, step.scores, rtol=1e-9, atol=1e-10)


class Once(torch.autograd.Function):
    """Σ z² by row, with a backward that cannot be differentiated again."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z.square().sum(dim=1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        (z,) = ctx.saved_tensors
        return 2 * z * gradient[:, None]


def test_a_loss_without_second_derivative() -> None:
    case = make_case("mlp", seed=7)
    reweight = GradMimic(case.model, case.state)
    reweight(Once.apply(case.model(case.images)))  # uncoupled: one gradient is enough
    step = brute_force(case.model, case.reference, head_names(case.model, "last"), lambda m: Once.apply(m(case.images)))
    torch.testing.assert_close(reweight.scores, step.scores, rtol=1e-9, atol=1e-10)
    coupled = GradMimic(case.model, case.state)
    losses = Once.apply(case.model(case.images))
    with pytest.raises(MimicError, match="couples the samples"):
        coupled(losses * losses.sum())


def test_the_direction_follows_the_weights() -> None:
    case = make_case("mlp", seed=8)
    reweight = GradMimic(case.model, case.state)
    optimiser = torch.optim.SGD(case.model.parameters(), lr=0.5)
    for _ in range(3):
        expected = mimic_scores(case.model, case.images, case.labels, Direction.between(case.model, case.state))
        optimiser.zero_grad()
        reweight(case.losses()).backward()
        torch.testing.assert_close(reweight.scores.float(), expected)
        optimiser.step()


def test_what_happens_between_two_steps_leaves_no_trace() -> None:
    case = make_case("convnet", seed=9)
    reweight = GradMimic(case.model, case.state)
    reweight(case.losses())
    alone = reweight.scores
    averaged = copy.deepcopy(case.model)
    torch.save(case.model, io.BytesIO())
    case.model(torch.randn_like(case.images))  # a pass that nobody weighs
    losses = case.losses()
    with torch.no_grad():
        case.model(torch.randn(3, 1, 12, 12, dtype=torch.double))
    averaged(torch.randn(2, 1, 12, 12, dtype=torch.double))
    reweight(losses)
    torch.testing.assert_close(reweight.scores, alone)
    reweight.close()
    assert not case.model._forward_hooks
    assert not case.model.head._forward_hooks


def test_micro_batches_add_up() -> None:
    case = make_case("mlp", seed=10)
    reweight = GradMimic(case.model, case.state)
    for half in (slice(0, 3), slice(3, 6)):
        losses = F.cross_entropy(case.model(case.images[half]), case.labels[half], reduction="none")
        reweight(losses).backward()
        assert len(reweight.scores) == 3
    assert reweight.step == 2


def test_losses_from_elsewhere_are_refused(case: Case) -> None:
    reweight = GradMimic(case.model, case.state)
    with pytest.raises(MimicError, match="do not come from the model's last forward pass"):
        reweight(torch.ones(3))
    old = case.losses()
    case.losses()
    with pytest.raises(MimicError, match="forwards=2"):
        reweight(old)
    with pytest.raises(MimicError, match="reduction='none'"):
        reweight(case.losses().mean())


def test_wrong_arguments_are_refused(case: Case) -> None:
    with pytest.raises(MimicError, match="on_exhausted"):
        GradMimic(case.model, case.state, on_exhausted="halt")
    with pytest.raises(MimicError, match="window"):
        GradMimic(case.model, case.state, window=0)
    with pytest.raises(MimicError, match="equals the start"):
        GradMimic(case.model, case.model.state_dict())
    case.model.head.requires_grad_(False)
    with pytest.raises(MimicError, match="nothing in scope last is being trained"):
        GradMimic(case.model, case.state)


def train(case: Case, steps: int, **settings: object) -> GradMimic:
    """Past the reference: it lies a short way downhill, and the model walks on."""
    model = case.model
    near = copy.deepcopy(model)
    losses = F.cross_entropy(near(case.images), case.labels)
    with torch.no_grad():
        for parameter, gradient in zip(
            near.parameters(), torch.autograd.grad(losses, list(near.parameters())), strict=True
        ):
            parameter -= 0.05 * gradient
    reweight = GradMimic(model, near.state_dict(), window=4, **settings)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02)
    for _ in range(steps):
        optimiser.zero_grad()
        reweight(case.losses()).backward()
        optimiser.step()
    return reweight


def test_an_exhausted_reference_is_said_once(case: Case) -> None:
    with pytest.warns(UserWarning, match="caught up with the reference") as caught:
        reweight = train(case, 40)
    assert len(caught) == 1
    assert reweight.exhausted is not None
    assert reweight.exhausted.mean <= 0
    assert reweight.exhausted.step % 4 == 3
    assert 4 < reweight.exhausted.step < 40
    assert len(reweight.weights.unique()) > 1


@pytest.mark.filterwarnings("ignore:the mean Mimic Score")
def test_an_exhausted_reference_can_give_way_to_the_plain_mean(case: Case) -> None:
    reweight = train(case, 40, on_exhausted="uniform")
    torch.testing.assert_close(reweight.weights, torch.full((6,), 1 / 6, dtype=torch.double))
    assert len(reweight.scores.unique()) > 1


def test_an_exhausted_reference_can_stop_the_training(case: Case) -> None:
    with pytest.raises(ReferenceExhausted, match="caught up"):
        train(case, 40, on_exhausted="stop")


def test_a_reference_ahead_is_not_exhausted(case: Case) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train(case, 4).exhausted is None


def test_a_resumed_training_goes_on_bit_for_bit(case: Case) -> None:
    def run(
        model: nn.Module, steps: int, saved: dict[str, object] | None = None
    ) -> tuple[nn.Module, dict[str, object]]:
        reweight = GradMimic(model, case.state, 0.1, window=1000)
        if saved:
            reweight.load_state_dict(saved)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(steps):
            optimiser.zero_grad()
            reweight(F.cross_entropy(model(case.images), case.labels, reduction="none")).backward()
            optimiser.step()
        return model, reweight.state_dict()

    whole, state = run(copy.deepcopy(case.model), 6)
    half, saved = run(copy.deepcopy(case.model), 3)
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    buffer.seek(0)
    halves, resumed = run(copy.deepcopy(half), 3, torch.load(buffer, weights_only=True))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), halves.parameters(), strict=True))
    assert state["step"] == resumed["step"] == 6
    assert torch.equal(state["gauge"]["sum"], resumed["gauge"]["sum"])


def test_bfloat16_autocast_comes_close() -> None:
    case = make_case("attention", seed=11)
    model, images = case.model.float(), case.images.float()
    reweight = GradMimic(model, case.state)
    reweight(F.cross_entropy(model(images), case.labels, reduction="none"))
    exact = reweight.scores
    with torch.autocast("cpu", torch.bfloat16):
        losses = F.cross_entropy(model(images), case.labels, reduction="none")
        loss = reweight(losses)
    loss.backward()
    assert reweight.scores.dtype == torch.float32
    assert (reweight.scores - exact).norm() / exact.norm() < 0.03


def test_a_compiled_model_is_watched(case: Case) -> None:
    reweight = GradMimic(case.model, case.state)
    reweight(case.losses())
    exact = reweight.scores
    compiled = torch.compile(case.model, backend="aot_eager")
    reweight(F.cross_entropy(compiled(case.images), case.labels, reduction="none")).backward()
    torch.testing.assert_close(reweight.scores, exact)
