"""Half a batch at a time gives what the whole batch gives, whether or not its samples depend on one another."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.profiler import ProfilerActivity, profile

from mimic.scores.halves import PushInHalves


class Network(nn.Module):
    def __init__(self, coupled: bool):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.norm = nn.BatchNorm2d(8, track_running_stats=not coupled)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.norm(self.conv(x))).mean(dim=(2, 3)))


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.scale = nn.Linear(6, 4), nn.Embedding(9, 4), nn.Parameter(torch.tensor(2.0))

    def forward(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.a(images), self.b(texts).mean(dim=1), self.scale.exp()


def compare(module: nn.Module, inputs: tuple[Tensor, ...]) -> PushInHalves:
    module = module.double().eval()
    point = {name: each.detach() for name, each in module.named_parameters()}
    tangent = {name: torch.randn_like(each) for name, each in point.items()}

    def run(inputs, state):
        return functional_call(module, dict(state), inputs), None

    push = PushInHalves(run)
    with torch.no_grad():
        value, change = jvp(lambda state: run(inputs, state)[0], (point,), (tangent,))
        for _ in range(2):
            torch.testing.assert_close(push(inputs, point, [tangent])[:2], (value, (change,)), rtol=1e-9, atol=1e-10)
    return push


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("batch", [1, 15, 16, 33])
def test_is_the_whole_batch(coupled: bool, batch: int) -> None:
    torch.manual_seed(batch)
    push = compare(Network(coupled), (torch.randn(batch, 1, 6, 6).double(),))
    assert push._separate is (None if batch < 16 else not coupled)


def test_two_towers_and_a_number() -> None:
    torch.manual_seed(0)
    assert compare(Towers(), (torch.randn(17, 6).double(), torch.randint(9, (17, 5))))._separate


@pytest.mark.parametrize("directions", [1, 2, 3, 4, 6])
def test_holds_no_more_than_twice_what_a_forward_holds(directions: int) -> None:
    torch.manual_seed(0)
    module = Network(coupled=False)
    module.conv = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3))
    module = module.eval()
    x = torch.randn(64, 1, 64, 64)
    point = {name: each.detach() for name, each in module.named_parameters()}
    push = PushInHalves(lambda inputs, state: (functional_call(module, dict(state), (inputs,)), None))
    push(x, point, [point] * directions)

    with torch.inference_mode():
        forward = _peak(lambda: module(x))
    assert _peak(lambda: push(x, point, [point] * directions)) <= 2 * forward


def _peak(call) -> int:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    held = peak = 0
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda each: each.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak
