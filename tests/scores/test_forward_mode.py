"""The pushforward by our rules equals torch's own, in float64, over layers that have a rule and some that have none."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, jvp

from mimic.models.small import SMALL
from mimic.scores.forward_mode import Pushforward, forward_mode


class FoldedIsRead(nn.Module):
    """The convolution's output has another reader on the second pass, when it is folded already."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        skip = y.mean(dim=(1, 2, 3))[:, None] if self.second else 0
        return self.norm(y).mean(dim=(2, 3)) + skip


class Flat(nn.Module):
    """Lays pixels out by `view`, which only the usual layout allows."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.Linear(4 * 36, 3)

    def forward(self, x):
        return self.head(self.conv(x).view(len(x), -1))


class Branches(nn.Module):
    """Two convolutions before their two norms, a strided one without a norm, a transposed one, one dimension."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 3, padding="same"), nn.Conv2d(1, 4, 1, bias=False)
        self.norm_a, self.norm_b = nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False)
        self.down, self.up = nn.Conv2d(4, 6, 3, stride=2, groups=2), nn.ConvTranspose2d(6, 3, 2)
        self.line, self.group = nn.Conv1d(3, 5, 3), nn.GroupNorm(3, 6)

    def forward(self, x):
        a, b = self.a(x), self.b(x)
        x = self.up(self.group(self.down(F.gelu(self.norm_a(a)) + self.norm_b(b))))
        return self.line(x.flatten(2)).amax(dim=2)


class Encoder(nn.Module):
    """torch's multi-head attention under a mask, as two-tower models have it."""

    def __init__(self, mask: Tensor):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8, bias=False)
        self.mask = mask

    def forward(self, x):
        x = self.norm(x)
        return self.attention(x, x, x, need_weights=False, attn_mask=self.mask)[0].mean(dim=1)


class Cross(nn.Module):
    """Attention that has no rule: other keys than queries, and its weights returned."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        out, weights = self.attention(x[:, :3], x, x)
        return out.mean(dim=1).sin(), weights


class Causal(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3).flatten(1)


class Biased(nn.Module):
    """Attention whose logits get a learnt bias, as where positions are relative."""

    def __init__(self):
        super().__init__()
        self.qkv, self.bias = nn.Linear(8, 24), nn.Parameter(torch.randn(2, 6, 6))

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v, self.bias.expand(len(x), -1, -1, -1)).flatten(1)


TOKENS, PIXELS = (5, 6, 8), (5, 1, 6, 6)
HIDDEN = torch.ones(6, 6, dtype=torch.bool).triu(1)
CASES = {
    "mlp": (lambda: SMALL["mlp"](3, size=6), PIXELS),
    "convnet": (lambda: SMALL["convnet"](3), PIXELS),
    "convnet-group": (lambda: SMALL["convnet-group"](3), PIXELS),
    "resnet20": (lambda: SMALL["resnet20"](3), (2, 3, 8, 8)),
    "attention": (lambda: SMALL["attention"](3, size=8), (5, 1, 8, 8)),
    "branches": (Branches, PIXELS),
    "flat": (Flat, PIXELS),
    "folded is read": (FoldedIsRead, PIXELS),
    "bool mask": (lambda: Encoder(HIDDEN), TOKENS),
    "float mask": (lambda: Encoder(torch.randn(6, 6).double()), TOKENS),
    "mask a head": (lambda: Encoder(torch.randn(10, 6, 6).double()), TOKENS),
    "cross": (Cross, TOKENS),
    "causal": (Causal, TOKENS),
    "biased": (Biased, TOKENS),
    "vanilla encoder": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True), TOKENS),
}


def build(case: str, seed: int = 0) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(seed)
    factory, shape = CASES[case]
    module = factory().double().eval()
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.running_mean.normal_()
            each.running_var.uniform_(0.5, 2)
    return module, torch.randn(shape).double()


@pytest.mark.parametrize("keep", [1.0, 0.4], ids=["full", "part"])
@pytest.mark.parametrize("case", CASES)
def test_equals_torchs_own_forward_mode(case: str, keep: float) -> None:
    module, x = build(case)
    names = [name for name, _ in module.named_parameters()]
    moving = names[int((1 - keep) * len(names)) :]
    point = {name: each.detach() for name, each in module.named_parameters() if name in moving}
    tangent = {name: torch.randn_like(each) for name, each in point.items()}

    def run(state):
        return functional_call(module, state, (x,))

    push = Pushforward()
    for second in (False, True, True):  # from the second pass on, convolutions are folded
        module.second = second
        with forward_mode():
            value, change = jvp(run, (point,), (tangent,))
        torch.testing.assert_close(push([run], point, [tangent])[0], (value, (change,)), rtol=1e-9, atol=1e-10)


def test_a_second_pass_runs_one_convolution_less_a_norm() -> None:
    module, x = build("resnet20")
    point = {name: each.detach() for name, each in module.named_parameters()}
    tangent = {name: torch.randn_like(each) for name, each in point.items()}
    push = Pushforward()

    def norms_run() -> int:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            push([lambda state: functional_call(module, state, (x,))], point, [tangent])
        return sum(event.count for event in profile.key_averages() if event.key == "aten::native_batch_norm")

    assert norms_run() == 19
    assert norms_run() == 0


def test_weights_that_changed_between_passes_are_used() -> None:
    module, x = build("convnet")
    push = Pushforward()
    for _ in range(3):
        with torch.no_grad():
            for each in module.parameters():
                each.add_(0.1 * torch.randn_like(each))
        point = {name: each.detach() for name, each in module.named_parameters()}
        tangent = {name: torch.randn_like(each) for name, each in point.items()}
        ((value, _),) = push([lambda state: functional_call(module, state, (x,))], point, [tangent])
        torch.testing.assert_close(value, module(x).detach())


def test_what_has_no_forward_mode_is_said() -> None:
    class Backward(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, gradient):
            return 2 * gradient

    weight = {"w": torch.ones(2)}
    with pytest.raises(RuntimeError, match="jvp"):
        Pushforward()([lambda state: Backward.apply(state["w"])], weight, [weight])
