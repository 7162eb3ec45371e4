"""Every method, on every kind of network and every scope, against a float64 loop of single-sample backward()."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mimic.errors import MimicError
from mimic.losses import cross_entropy
from mimic.models.direction import Direction
from mimic.scores.differentiate import Differentiator
from mimic.scores.forward_mode import forward_mode

seeds = given(seed=st.integers(0, 2**31))
lean = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

SCOPES = {
    "last": lambda model: ["head.weight", "head.bias"],
    "last-weight": lambda model: ["head.weight"],
    "full": lambda model: [name for name, _ in model.named_parameters()],
    "last:1": lambda model: [
        name for name, _ in model.named_parameters() if name.startswith(("blocks.1.", "norm.", "head."))
    ],
    "re:3|head": lambda model: [name for name, _ in model.named_parameters() if "3" in name or "head" in name],
}
EVERY = [
    (name, scope)
    for name in ["mlp", "convnet", "convnet-group", "attention"]
    for scope in SCOPES
    if (name == "attention") or scope != "last:1"
]


def slopes(case, scopes, method="auto", dtype=torch.float32, passes=1):
    start = copy.deepcopy(case.start).to(dtype)
    directions = [Direction.between(start, case.reference.state_dict(), scope) for scope in scopes]
    differentiate = Differentiator(start, directions, cross_entropy, method)
    for _ in range(passes):  # from the second pass on it may take shortcuts that the first one has found
        done = differentiate(case.images.to(dtype), case.labels)
    return done.slopes


@pytest.mark.parametrize(("name", "scope"), EVERY)
@seeds
@lean
def test_equals_a_loop_of_backward(make_case, backward_scores, name, scope, seed):
    case = make_case(name, seed)
    expected = backward_scores(case.start, case.reference, case.images, case.labels, SCOPES[scope](case.start))
    for method in ["auto", "jvp"]:
        in_double = -slopes(case, [scope], method, torch.float64, passes=2)[0]
        torch.testing.assert_close(in_double, expected, rtol=1e-9, atol=1e-11)
        in_single = -slopes(case, [scope], method, passes=2)[0].double()
        # in float32 rounding can put a unit on the other side of ReLU's kink
        allowed = 1e-5 if name == "attention" else 2e-2
        assert float((in_single - expected).norm() / expected.norm()) < allowed


@pytest.mark.parametrize("scope", ["last", "full"])
@pytest.mark.parametrize("name", ["convnet-group", "attention"])
def test_difference_comes_close_and_says_how_close(make_case, name, scope):
    case = make_case(name, seed=1, batch=16)
    exact = slopes(case, [scope], "jvp", torch.float64)[0]
    directions = [Direction.between(case.start, case.reference.state_dict(), scope)]
    differentiate = Differentiator(case.start, directions, cross_entropy, "difference")
    got = differentiate(case.images, case.labels).slopes[0]
    assert float((got - exact).norm() / exact.norm()) < 2e-2
    assert "relative error about" in differentiate.reasons[0]
    again = differentiate(case.images[:4], case.labels[:4]).slopes[0]  # the step is kept
    torch.testing.assert_close(again, got[:4], rtol=1e-3, atol=1e-4)


def test_several_scopes_share_a_pass_and_change_nothing(make_case):
    case = make_case("attention", seed=3)
    calls = []
    case.start.head.register_forward_hook(lambda *_: calls.append(1))
    scopes = ["last", "full", "last-weight", "last:1", "re:patches"]
    together = slopes(case, scopes)
    assert len(calls) == 1
    for scope, got in zip(scopes, together, strict=True):
        torch.testing.assert_close(got, slopes(case, [scope])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["mlp", "convnet", "convnet-group", "attention"])
@seeds
@lean
def test_several_scopes_equal_a_loop_of_backward(make_case, backward_scores, name, seed):
    case = make_case(name, seed, batch=17)
    scopes = ["re:head.bias", "full", "last", "re:weight"]
    expected = [
        backward_scores(
            case.start, case.reference, case.images, case.labels,
            list(Direction.between(case.start, case.reference.state_dict(), scope).tensors),
        )
        for scope in scopes
    ]  # fmt: skip
    for method in ["auto", "jvp"]:
        got = slopes(case, scopes, method, torch.float64, passes=2)
        for ours, theirs in zip(got, expected, strict=True):
            torch.testing.assert_close(-ours, theirs, rtol=1e-9, atol=1e-11)


def test_a_closed_form_beside_a_pass_is_free(make_case):
    case = make_case("convnet", seed=3)

    def work(scopes):
        directions = [Direction.between(case.start, case.reference.state_dict(), each) for each in scopes]
        differentiate = Differentiator(case.start, directions, cross_entropy)
        for _ in range(2):
            with FlopCounterMode(display=False) as counted:
                differentiate(case.images, case.labels)
        return counted.get_total_flops()

    head = 2 * len(case.images) * case.start.head.weight.numel()
    assert work(["full", "last"]) <= work(["full"]) + head


def test_leaves_the_model_as_it_was(make_case):
    case = make_case("convnet", seed=4)
    case.start.train()
    case.start.body[1].eval()  # a frozen norm inside a training model
    modes = [each.training for each in case.start.modules()]
    before = {name: each.clone() for name, each in case.start.state_dict().items()}
    slopes_in_training = slopes(case, ["full"])[0]
    assert [each.training for each in case.start.modules()] == modes
    assert all(torch.equal(each, before[name]) for name, each in case.start.state_dict().items())
    assert all(each.grad is None for each in case.start.parameters())
    torch.testing.assert_close(slopes_in_training, slopes(make_case("convnet", seed=4), ["full"])[0])


def test_inference_mode_does_not_lose_the_tangents(make_case):
    case = make_case("attention", seed=5)
    outside = slopes(case, ["last", "full"])
    with torch.inference_mode():
        inside = slopes(case, ["last", "full"])
    for a, b in zip(outside, inside, strict=True):
        assert torch.equal(a, b)


class Encoder(nn.Module):
    """torch's own encoder layer, whose fast path knows no forward mode."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.1)
        self.body = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, images):
        return self.head(self.body(images).mean(dim=1))


@seeds
@lean
def test_the_fast_path_of_torch_transformers_is_avoided(backward_scores, seed):
    torch.manual_seed(seed)
    start, reference = Encoder(), Encoder()
    images, labels = torch.randn(6, 5, 8), torch.randint(3, (6,))
    direction = Direction.between(start, reference.state_dict(), "full")
    differentiate = Differentiator(start, [direction], cross_entropy, "jvp")
    expected = backward_scores(start, reference, images, labels, list(direction.tensors))
    torch.testing.assert_close(-differentiate(images, labels).slopes[0].double(), expected, rtol=1e-4, atol=1e-5)
    fast = torch.backends.mha.get_fastpath_enabled()
    with forward_mode():
        assert not torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mha.get_fastpath_enabled() == fast


class NoForwardMode(torch.autograd.Function):
    """Doubles its input; knows backward and nothing else."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


class Stubborn(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, images):
        return self.head(NoForwardMode.apply(self.body(images)).tanh())


def test_auto_falls_back_to_differences_and_says_why(backward_scores):
    torch.manual_seed(0)
    start, reference = Stubborn(), Stubborn()
    images, labels = torch.randn(6, 4), torch.randint(3, (6,))
    direction = Direction.between(start, reference.state_dict(), "full")
    differentiate = Differentiator(start, [direction], cross_entropy)
    assert differentiate.methods == ["jvp"]
    expected = backward_scores(start, reference, images, labels, list(direction.tensors))
    torch.testing.assert_close(-differentiate(images, labels).slopes[0].double(), expected, rtol=1e-2, atol=1e-3)
    assert differentiate.methods == ["difference"]
    assert "forbids forward mode" in differentiate.reasons[0]
    with pytest.raises(MimicError, match="use method difference"):
        Differentiator(start, [direction], cross_entropy, "jvp")(images, labels)


def test_only_the_scopes_that_forbid_forward_mode_fall_back(backward_scores):
    torch.manual_seed(0)
    start, reference = Stubborn(), Stubborn()
    images, labels = torch.randn(6, 4), torch.randint(3, (6,))
    scopes = ["full", "re:head"]
    directions = [Direction.between(start, reference.state_dict(), scope) for scope in scopes]
    directions[1] = replace(directions[1], head=None)  # else it has a closed form
    differentiate = Differentiator(start, directions, cross_entropy)
    for _ in range(2):
        got = differentiate(images, labels).slopes
        assert differentiate.methods == ["difference", "jvp"]
        for slope, direction, allowed in zip(got, directions, (1e-2, 1e-5), strict=True):
            expected = backward_scores(start, reference, images, labels, list(direction.tensors))
            torch.testing.assert_close(-slope.double(), expected, rtol=allowed, atol=allowed / 10)


def test_a_fault_of_the_input_is_not_blamed_on_forward_mode(make_case):
    case = make_case("mlp", seed=0)
    direction = Direction.between(case.start, case.reference.state_dict(), "full")
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        Differentiator(case.start, [direction], cross_entropy)(torch.randn(2, 1, 9, 9), case.labels[:2])


class Tied(nn.Module):
    """The head's weight matrix is also a layer of the body."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(5, 5, bias=False)
        self.head = nn.Linear(5, 5)
        self.head.weight = self.body.weight

    def forward(self, images):
        return self.head(self.body(images).tanh())


@pytest.mark.parametrize("scope", ["last", "full"])
@seeds
@lean
def test_tied_weights_count_once_and_through_both_uses(backward_scores, scope, seed):
    torch.manual_seed(seed)
    start, reference = Tied(), Tied()
    images, labels = torch.randn(6, 5), torch.randint(5, (6,))
    direction = Direction.between(start, reference.state_dict(), scope)
    assert direction.parameters == 30
    differentiate = Differentiator(start, [direction], cross_entropy)
    expected = backward_scores(start, reference, images, labels, ["body.weight", "head.bias"])
    torch.testing.assert_close(-differentiate(images, labels).slopes[0].double(), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(MimicError, match="no closed form"):
        Differentiator(start, [direction], cross_entropy, "closed")


class Renamed(nn.Linear):
    """A linear layer under another class, as timm has one."""

    def forward(self, x):
        return nn.functional.linear(x, self.weight, self.bias)


class Cosine(nn.Linear):
    """More than a linear layer."""

    def forward(self, x):
        return nn.functional.linear(nn.functional.normalize(x, dim=1), self.weight, self.bias)


@pytest.mark.parametrize(("kind", "method"), [(Renamed, "closed"), (Cosine, "jvp")])
def test_subclasses_of_linear_are_tried(backward_scores, kind, method):
    torch.manual_seed(0)
    start, reference = (nn.Sequential(nn.Linear(4, 5), nn.Tanh(), kind(5, 3)) for _ in range(2))
    images, labels = torch.randn(6, 4), torch.randint(3, (6,))
    direction = Direction.between(start, reference.state_dict(), "last", images)
    differentiate = Differentiator(start, [direction], cross_entropy)
    assert differentiate.methods == [method]
    expected = backward_scores(start, reference, images, labels, list(direction.tensors))
    torch.testing.assert_close(-differentiate(images, labels).slopes[0].double(), expected, rtol=1e-4, atol=1e-5)


class Scaled(nn.Module):
    """Ends in something after its last linear layer."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, images):
        return 3 * self.head(images)


def test_a_head_that_is_not_the_end_is_refused():
    torch.manual_seed(0)
    start, reference = Scaled(), Scaled()
    direction = Direction.between(start, reference.state_dict(), "last")
    with pytest.raises(MimicError, match="not what its last linear layer 'head' gives"):
        Differentiator(start, [direction], cross_entropy)(torch.randn(2, 4), torch.tensor([0, 1]))


@seeds
@lean
def test_frozen_parameters_and_dropout_change_nothing(backward_scores, seed):
    torch.manual_seed(seed)
    start, reference = (nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 3)) for _ in range(2))
    images, labels = torch.randn(6, 4), torch.randint(3, (6,))
    direction = Direction.between(start, reference.state_dict(), "full")
    for parameter in start[0].parameters():
        parameter.requires_grad_(False)
    got = -Differentiator(start, [direction], cross_entropy)(images, labels).slopes[0].double()
    expected = backward_scores(start, reference, images, labels, list(direction.tensors))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_compiled_modules_are_scored_by_the_module_behind(make_case):
    case = make_case("mlp", seed=0)
    compiled = torch.compile(case.start)
    direction = Direction.between(compiled, case.reference.state_dict(), "full")
    got = Differentiator(compiled, [direction], cross_entropy)(case.images, case.labels).slopes[0]
    assert torch.equal(got, slopes(case, ["full"])[0])


def test_an_unknown_method_names_the_known_ones(make_case):
    case = make_case("mlp", seed=0)
    direction = Direction.between(case.start, case.reference.state_dict())
    with pytest.raises(MimicError, match="closed, jvp, difference"):
        Differentiator(case.start, [direction], cross_entropy, "magic")
