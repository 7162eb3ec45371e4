"""Scores and gradients over the whole model against one backward() a sample, in float64, by every method."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mimic import Direction, GradMimic
from mimic.errors import MimicError
from mimic.models.scope import scope_parameters
from mimic.training import bookkeeping, layers

from .conftest import Step, brute_force, gradients_of, make_case, nearby


def one_hot_loss(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(model(images), labels, reduction="none")


def check(
    model: nn.Module,
    reference: nn.Module,
    losses: Callable[[nn.Module], Tensor],
    scope: str = "full",
    **settings: object,
) -> GradMimic:
    """The first two steps (the second goes by what the first found out) equal brute force."""
    reweight = GradMimic(model, reference.state_dict(), 0.3, scope, **settings)
    step = brute_force(model, reference, scope_parameters(model, scope, "head"), losses)
    for _ in range(2):
        model.zero_grad()
        reweight.backward(losses(model))
        check_step(model, reweight, step)
    return reweight


def check_step(model: nn.Module, reweight: GradMimic, step: Step, tolerance: float = 1e-8) -> None:
    torch.testing.assert_close(reweight.scores, step.scores, rtol=tolerance, atol=tolerance)
    found = gradients_of(model)
    for name, gradient in step.weighted(reweight.weights).items():
        torch.testing.assert_close(
            found[name], gradient, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**31))
@pytest.mark.parametrize("memory", [0, 2**30])
@pytest.mark.parametrize("name", ["mlp", "convnet", "convnet-group", "attention"])
def test_small_networks_by_one_backward_pass(name: str, memory: int, seed: int) -> None:
    case = make_case(name, seed)
    kept, bookkeeping.MEMORY = bookkeeping.MEMORY, memory
    positions, layers.POSITIONS = layers.POSITIONS, 1
    try:
        reweight = check(case.model, case.reference, lambda m: one_hot_loss(m, case.images, case.labels))
    finally:
        bookkeeping.MEMORY, layers.POSITIONS = kept, positions
    assert reweight.method == "backward", reweight.reason


class Mixture(nn.Module):
    """Every kind of layer with a rule, a tied weight, a class token, a frozen layer, a layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8, padding_idx=0)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.strided = nn.Conv1d(8, 12, 3, stride=2, padding=1, groups=2)
        self.frozen = nn.Linear(12, 12).requires_grad_(False)
        self.rms = nn.RMSNorm(12)
        self.group = nn.GroupNorm(3, 12)
        self.twice = nn.Linear(12, 12)
        self.back = nn.Linear(12, 8, bias=False)
        self.plane = nn.Conv2d(1, 4, (3, 2), dilation=(1, 2), padding=(2, 0))
        self.batch = nn.BatchNorm2d(4)
        self.volume = nn.Conv3d(1, 2, 2)
        self.norm = nn.LayerNorm((3, 8))
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(8, 11)
        self.head.weight = self.table.weight

    def forward(self, words: Tensor) -> Tensor:
        x = self.table(words)  # (B, 6, 8)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1)
        x = self.group(self.strided(x.transpose(1, 2))).transpose(1, 2)  # (B, 4, 12)
        x = self.drop(self.rms(torch.relu(self.frozen(x))))
        x = self.back(self.twice(torch.tanh(self.twice(x))))  # (B, 4, 8)
        windows = x.reshape(2 * len(x), 1, 2, 8)  # two rows a sample
        y = torch.relu(self.batch(self.plane(windows)))  # (2B, 4, 4, 6)
        z = self.volume(y[:, None])  # (2B, 2, 3, 3, 5)
        z = F.pad(z.flatten(1), (0, 6)).view(-1, 4, 3, 8)
        return self.head(self.norm(z).mean(dim=(1, 2)).view(-1, 2, 8).mean(dim=1))


def test_every_layer_that_is_known() -> None:
    torch.manual_seed(0)
    model = Mixture().double().train()
    model.batch.eval()
    model.batch.running_mean.normal_()
    model.batch.running_var.uniform_(0.5, 2)
    words = torch.randint(11, (5, 6))
    reference = nearby(model)
    with torch.no_grad():
        reference.table.weight[0] = model.table.weight[0]  # forward mode would let even a padding row move
    reference.frozen.load_state_dict(model.frozen.state_dict())  # v is 0 where nothing moves
    names = [name for name, each in model.named_parameters() if each.requires_grad]

    def losses(m: nn.Module) -> Tensor:
        torch.manual_seed(1)  # the same dropout each time
        return one_hot_loss(m, words, torch.arange(5))

    frozen = [name for name, each in model.named_parameters() if not each.requires_grad]
    assert frozen == ["frozen.weight", "frozen.bias"]
    reweight = GradMimic(model, reference.state_dict(), 0.3, "full")
    moving = copy.deepcopy(model)
    moving.requires_grad_(True)
    step = brute_force(moving, reference, names, losses)
    for _ in range(2):
        model.zero_grad()
        reweight.backward(losses(model))
        step = Step(step.scores, [{n: g[n] for n in names} for g in step.gradients])
        check_step(model, reweight, step)
    assert reweight.method == "backward", reweight.reason
    assert model.frozen.weight.grad is None
    assert isinstance(model._parameters["token"], nn.Parameter)


def test_layers_of_timm_and_transformers() -> None:
    """Scales of their own, and normalisations that activate in the same layer."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)

    class Theirs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 8, 3)
            self.batch = timm.layers.BatchNormAct2d(8)
            self.group = timm.layers.GroupNormAct(8, 2, act_layer=nn.SiLU)
            self.plane = timm.layers.LayerScale2d(8, init_values=0.5)
            self.line = timm.layers.LayerScale(8, init_values=0.5)
            self.head = nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.plane(self.group(self.batch(self.conv(x))))
            return self.head(self.line(x.flatten(2).mean(dim=2)))

    model = Theirs().double().eval()
    model.batch.running_mean.normal_()
    images, labels = torch.randn(6, 1, 12, 12).double(), torch.randint(5, (6,))
    reweight = check(model, nearby(model), lambda m: one_hot_loss(m, images, labels))
    assert reweight.method == "backward", reweight.reason
    doubled = check(model, nearby(model), lambda m: one_hot_loss(m, images, labels), method="double")
    assert doubled.method == "double"


class Unknown(nn.Module):
    """Multi-head attention uses its weights behind its layers' backs; a scale of its own belongs to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.scale = nn.Parameter(torch.ones(8))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)[:, :96].view(len(x), 12, 8)
        return self.head((self.scale * self.attention(x, x, x)[0]).mean(dim=1))


class Sneaky(nn.Module):
    """Known layers, but one of them is used as a matrix only."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(144, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(x.flatten(1) @ self.body.weight.T))


class TimeFirst(nn.Module):
    """A linear layer that sees the samples along its second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(12, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(x[:, 0].transpose(0, 1))).mean(dim=0))


@pytest.mark.parametrize(
    ("network", "because"),
    [(Unknown, "does not know Unknown, which owns scale"), (Sneaky, "differs"), (TimeFirst, "differs|rows")],
)
def test_what_the_book_keeping_cannot_do_goes_by_forward_mode(network: type[nn.Module], because: str) -> None:
    torch.manual_seed(0)
    model = network().double()
    images, labels = torch.randn(6, 1, 12, 12).double(), torch.randint(5, (6,))
    reweight = check(model, nearby(model), lambda m: one_hot_loss(m, images, labels))
    assert reweight.method == "jvp"
    assert re.search(because, reweight.reason), reweight.reason


def test_batch_statistics_go_by_forward_mode_and_are_not_touched() -> None:
    case = make_case("convnet", seed=4)
    case.model.train()
    before = case.model.body[1].num_batches_tracked.item()
    reweight = check(case.model, case.reference, lambda m: one_hot_loss(m, case.images, case.labels))
    assert reweight.method == "jvp"
    assert "batch statistics" in reweight.reason
    passes = 2 + 7  # two steps, and brute force
    assert case.model.body[1].num_batches_tracked.item() == before + passes


def test_statistics_that_start_to_move_later_are_noticed() -> None:
    case = make_case("convnet", seed=4)
    reweight = check(case.model, case.reference, lambda m: one_hot_loss(m, case.images, case.labels))
    assert reweight.method == "backward"
    case.model.train()
    step = brute_force(
        case.model,
        case.reference,
        scope_parameters(case.model, "full"),
        lambda m: one_hot_loss(m, case.images, case.labels),
    )
    case.model.zero_grad()
    reweight.backward(one_hot_loss(case.model, case.images, case.labels))
    check_step(case.model, reweight, step)


@pytest.mark.parametrize("train", [False, True])
def test_batch_statistics_below_or_above_a_part_of_the_model(train: bool) -> None:
    case = make_case("convnet", seed=4)
    case.model.train(train)
    scope = "re:body\\.(6|7|10)|head"
    names = list(Direction.between(case.model, case.state, scope).tensors)
    reweight = GradMimic(case.model, case.state, 0.3, scope)
    step = brute_force(case.model, case.reference, names, lambda m: case.losses())
    for _ in range(2):
        case.model.zero_grad()
        reweight.backward(case.losses())
        check_step(case.model, reweight, step)
    assert reweight.method == ("double" if train else "backward"), reweight.reason


class Jealous(nn.Module):
    """Takes its token only as it made it: one row."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 8))
        self.body = nn.Linear(144, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(x.flatten(1)) + self.token.repeat(len(x), 1)))


def test_a_model_that_cannot_have_its_parameters_spread_is_not_broken() -> None:
    torch.manual_seed(0)
    model = Jealous().double()
    images, labels = torch.randn(6, 1, 12, 12).double(), torch.randint(5, (6,))
    reweight = check(model, nearby(model), lambda m: one_hot_loss(m, images, labels))
    assert reweight.method == "jvp"
    assert isinstance(model._parameters["token"], nn.Parameter)


class Towers(nn.Module):
    """Two towers and a temperature, as in CLIP; returns what the loss takes."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Flatten(), nn.Linear(144, 16), nn.ReLU(), nn.Linear(16, 6))
        self.text = nn.Sequential(nn.Linear(9, 16), nn.ReLU(), nn.Linear(16, 6))
        self.logit_scale = nn.Parameter(torch.tensor(1.5))
        self.head = self.image[3]

    def forward(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return F.normalize(self.image(images), dim=1), F.normalize(self.text(texts), dim=1), self.logit_scale.exp()


@pytest.mark.parametrize("scope", ["full", "last"])
def test_contrastive_training_of_two_towers(scope: str) -> None:
    torch.manual_seed(3)
    model = Towers().double()
    images, texts = torch.randn(6, 1, 12, 12).double(), torch.randn(6, 9).double()

    def losses(m: nn.Module) -> Tensor:
        a, b, scale = m(images, texts)
        target = torch.arange(len(a))
        logits = scale * a @ b.T
        return (
            F.cross_entropy(logits, target, reduction="none") + F.cross_entropy(logits.T, target, reduction="none")
        ) / 2

    reference = nearby(model)
    reweight = GradMimic(model, reference.state_dict(), 0.3, scope)
    last = [f"text.2.{kind}" for kind in ("weight", "bias")]  # the linear layer registered last
    names = [name for name, _ in model.named_parameters()] if scope == "full" else last
    step = brute_force(model, reference, names, losses)
    for _ in range(2):
        model.zero_grad()
        reweight.backward(losses(model))
        check_step(model, reweight, step)
    assert reweight.method == ("jvp" if scope == "full" else "closed")


@pytest.mark.parametrize("method", ["auto", "backward", "jvp"])
def test_the_scalar_form_serves_every_scope(method: str) -> None:
    case = make_case("attention", seed=2)
    step = brute_force(case.model, case.reference, scope_parameters(case.model, "full"), lambda m: case.losses())
    reweight = GradMimic(case.model, case.state, 0.3, "full", method=method)
    for _ in range(2):
        case.model.zero_grad()
        reweight(case.losses()).backward()
        check_step(case.model, reweight, step)


def test_differences_come_close() -> None:
    case = make_case("attention", seed=2)
    step = brute_force(case.model, case.reference, scope_parameters(case.model, "full"), lambda m: case.losses())
    reweight = GradMimic(case.model, case.state, 0.3, "full", method="difference")
    reweight.backward(case.losses())
    check_step(case.model, reweight, step, tolerance=1e-4)


class NoTangent(torch.autograd.Function):
    """tanh without a forward-mode derivative."""

    @staticmethod
    def forward(ctx, x):
        y = x.tanh()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, gradient):
        (y,) = ctx.saved_tensors
        return gradient * (1 - y * y)


class Forbidding(Sneaky):
    """Neither the book-keeping nor forward mode can do it."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(NoTangent.apply(x.flatten(1) @ self.body.weight.T))


def test_differences_take_over_where_forward_mode_is_forbidden() -> None:
    torch.manual_seed(0)
    model = Forbidding().double()
    reference = nearby(model)
    images, labels = torch.randn(6, 1, 12, 12).double(), torch.randint(5, (6,))
    reweight = GradMimic(model, reference.state_dict(), 0.3, "full")
    step = brute_force(
        model, reference, ["body.weight", "head.weight", "head.bias"], lambda m: one_hot_loss(m, images, labels)
    )
    reference.body.bias.data.copy_(model.body.bias)
    reweight = GradMimic(model, reference.state_dict(), 0.3, "full")
    reweight.backward(one_hot_loss(model, images, labels))
    check_step(model, reweight, step, tolerance=1e-4)
    assert reweight.method == "difference"
    with pytest.raises(RuntimeError):
        GradMimic(model, reference.state_dict(), scope="full", method="jvp").backward(
            one_hot_loss(model, images, labels)
        )


@pytest.mark.parametrize("name", ["mlp", "convnet"])
def test_the_scored_layer_alone_can_be_reweighted(name: str) -> None:
    """As the paper's released code: the others get the plain mean; what was in .grad before stays."""
    case = make_case(name, seed=3)
    reweight = GradMimic(case.model, case.state, 0.3)
    step = brute_force(case.model, case.reference, ["head.weight", "head.bias"], lambda m: case.losses())
    for times in (1, 2):
        reweight.backward(case.losses(), parameters="scored")
        found = gradients_of(case.model)
        weighted, plain = step.weighted(reweight.weights), step.weighted(torch.full((6,), 1 / 6, dtype=torch.double))
        for parameter in found:
            expected = weighted[parameter] if parameter.startswith("head") else plain[parameter]
            torch.testing.assert_close(found[parameter], times * expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("scope", ["last:1", "last:2", r"re:blocks\.1\..*", r"re:.*norm.*"])
def test_a_part_of_the_model_is_scored_and_all_of_it_or_that_part_is_reweighted(scope: str) -> None:
    case = make_case("attention", seed=8)
    reweight = GradMimic(case.model, case.state, 0.3, scope)
    names = list(Direction.between(case.model, case.state, scope).tensors)
    assert 0 < len(names) < len(list(case.model.parameters()))
    step = brute_force(case.model, case.reference, names, lambda m: case.losses())
    plain = step.weighted(torch.full((6,), 1 / 6, dtype=torch.double))
    for _ in range(2):
        case.model.zero_grad()
        reweight.backward(case.losses())
        check_step(case.model, reweight, step)
        case.model.zero_grad()
        reweight.backward(case.losses(), parameters="scored")
        found, weighted = gradients_of(case.model), step.weighted(reweight.weights)
        for name in found:
            torch.testing.assert_close(found[name], (weighted if name in names else plain)[name], rtol=1e-8, atol=1e-10)
    assert reweight.method == "backward", reweight.reason


def test_a_scaler_and_autocast_with_the_book_keeping() -> None:
    case = make_case("attention", seed=3)
    model, images = case.model.float(), case.images.float()
    exact = GradMimic(model, case.state, scope="full")
    exact.backward(one_hot_loss(model, images, case.labels))
    expected, scores = gradients_of(model), exact.scores
    exact.close()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0)
    reweight = GradMimic(model, case.state, scope="full")
    for method in ("auto", "backward"):
        assert reweight.method == method
        model.zero_grad()
        with torch.autocast("cpu", torch.float16):
            losses = one_hot_loss(model, images, case.labels)
        reweight.backward(losses, scaler=scaler)
        scaler.unscale_(optimiser)
        scaler.step(optimiser)
        scaler.update()
        assert (reweight.scores - scores).norm() / scores.norm() < 0.02
        for name, gradient in gradients_of(model).items():
            assert (gradient - expected[name]).norm() <= 0.03 * expected[name].norm() + 1e-6, name


def test_a_resumed_training_does_not_try_again() -> None:
    case = make_case("attention", seed=2)
    whole = GradMimic(case.model, case.state, scope="full")
    whole(case.losses())
    resumed = GradMimic(case.model, case.state, scope="full")
    resumed.load_state_dict(whole.state_dict())
    assert resumed.method == "backward"
    whole(case.losses())
    resumed(case.losses())
    assert torch.equal(whole.scores, resumed.scores)


def test_wrong_requests_are_refused() -> None:
    case = make_case("mlp")
    with pytest.raises(MimicError, match="auto, backward, double, jvp, difference"):
        GradMimic(case.model, case.state, scope="full", method="ghost")
    with pytest.raises(MimicError, match="does not know Unknown"):
        GradMimic(Unknown(), nearby(Unknown()).state_dict(), scope="full", method="backward")
    reweight = GradMimic(case.model, case.state, scope="full")
    with pytest.raises(MimicError, match="all or scored"):
        reweight.backward(case.losses(), parameters="head")
    reweight(case.losses())
    with pytest.raises(MimicError, match="last forward pass"):
        reweight(torch.ones(3, requires_grad=True) * 2)
