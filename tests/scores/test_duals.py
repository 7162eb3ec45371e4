"""Several directions in one pass: each gets what it gets alone, whatever the model does to its tensors."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.utils.flop_counter import FlopCounterMode

from mimic.scores.forward_mode import Pushforward, forward_mode
from tests.scores.test_forward_mode import CASES, build
from tests.scores.test_one_token import SHORTER, WHOLE
from tests.scores.test_one_token import build as build_blocks


class InPlace(nn.Module):
    """Overwrites values that change, and some that had not changed before."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(6, 6) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.a(x), inplace=True)
        y += self.b(x)
        z = torch.zeros_like(y)
        z[:, 1:4] = y[:, :3]
        z.mul_(self.c(y))
        y.clamp_(min=-0.5)
        return torch.cat([y, z], dim=1)


class Parts(nn.Module):
    """Several results of one call, each moving along other directions."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        u, v = torch.broadcast_tensors(self.a(x), self.b(x))
        high, where = u.max(dim=1, keepdim=True)
        low, _ = v.topk(2, dim=1)
        return torch.cat([high * v.gather(1, where), low, u.chunk(2, dim=1)[1]], dim=1)


class ViewOverwritten(nn.Module):
    """Writes through a view into a tensor that is read afterwards."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        y[:, :3].mul_(self.b(x))
        return y.sin()


class ViewsOverlap(nn.Module):
    """Overwrites a tensor that shares some memory with another argument, which is read afterwards."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        left, right = y[:, :4], y[:, 2:]
        left.mul_(right.clone()).add_(right)
        return torch.cat([left.sin(), right], dim=1)


class Doubled(torch.autograd.Function):
    """A function with a rule of its own, which no function mode sees."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def jvp(ctx, change: Tensor) -> Tensor:
        return 2 * change


class OwnFunction(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(Doubled.apply(self.a(x)))


@torch.jit.script
def scripted(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


class Scripted(OwnFunction):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(scripted(self.a(x)))


def directions_of(module: nn.Module) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """All weights, the later ones, the earlier ones, the very last."""
    point = {name: each.detach() for name, each in module.named_parameters()}
    names, half = list(point), len(point) // 2
    groups = [names, names[half:], names[:half], names[-1:]]
    return point, [{name: torch.randn_like(point[name]) for name in group} for group in groups if group]


def compare(module: nn.Module, x: Tensor) -> Pushforward:
    point, tangents = directions_of(module)
    push = Pushforward(dict(module.named_buffers()))

    def run(state):
        return functional_call(module, state, (x.clone(),))

    for second in (False, True, True):
        module.second = second
        together = push([run], point, tangents)[0]
        for tangent, change in zip(tangents, together[1], strict=True):
            with forward_mode():
                moving = {name: point[name] for name in tangent}
                expected = jvp(lambda state: run({**point, **state}), (moving,), (tangent,))
            torch.testing.assert_close((together[0], change), expected, rtol=1e-9, atol=1e-10)
    return push


@pytest.mark.parametrize("case", CASES)
def test_each_direction_gets_what_torch_gives_it(case):
    assert compare(*build(case))._learnt.together


@pytest.mark.parametrize("native", [False, True], ids=["torch's own", "by hand"])
@pytest.mark.parametrize("kind", SHORTER + WHOLE)
def test_also_where_one_token_is_read(kind, native):
    assert compare(*build_blocks(kind, native)[:2])._learnt.together


@pytest.mark.parametrize(
    ("kind", "together"),
    [
        (InPlace, True),
        (Parts, True),
        (ViewOverwritten, False),
        (ViewsOverlap, False),
        (OwnFunction, False),
        (Scripted, False),
    ],
)
def test_what_cannot_be_followed_is_noticed(kind, together):
    torch.manual_seed(0)
    assert compare(kind().double(), torch.randn(5, 6).double())._learnt.together == together


@pytest.mark.parametrize("case", ["mlp", "convnet", "resnet20", "attention"])
def test_is_bit_for_bit_what_each_direction_gets_alone(case):
    """Where both begin at the first layer: before the first weight that moves, attention may take another kernel."""
    module, x = build(case)
    module, x = module.float(), x.float()
    point = {name: each.detach() for name, each in module.named_parameters()}
    tangents = [{name: torch.randn_like(each) for name, each in point.items()} for _ in range(3)]
    run = [lambda state: functional_call(module, state, (x,))]
    together, alone = Pushforward(), [Pushforward() for _ in tangents]
    for _ in range(2):  # on the second pass, convolutions are folded
        value, changes = together(run, point, tangents)[0]
        for push, tangent, change in zip(alone, tangents, changes, strict=True):
            torch.testing.assert_close(push(run, point, [tangent])[0], (value, (change,)), rtol=0, atol=0)


@pytest.mark.parametrize("case", ["mlp", "resnet20", "attention"])
def test_pays_the_value_once(case):
    """Each product of the model's own is three along one direction, and two more along each further one."""
    module, x = build(case)
    point, (full, _, _, last) = directions_of(module)
    push = Pushforward()

    def work(*tangents: dict[str, Tensor]) -> int:
        with FlopCounterMode(display=False) as counted:
            push([lambda state: functional_call(module, state, (x,))], point, tangents)
        return counted.get_total_flops()

    for _ in range(2):  # the second pass is as short as it gets
        one, two, three, tail = work(full), work(full, full), work(full, full, full), work(full, last)
    assert two < 0.87 * 2 * one
    assert three - two == two - one
    assert tail == one  # the head's bias: no product of its own
