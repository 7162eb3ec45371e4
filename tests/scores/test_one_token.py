"""Leaving out tokens that nobody reads changes no number, and is undone where somebody does read them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.utils.flop_counter import FlopCounterMode

from mimic.scores.forward_mode import Pushforward, forward_mode

TOKENS, WIDTH = 7, 8


class Blocks(nn.Module):
    """Two transformer blocks, and what is read of them."""

    def __init__(self, native: bool = False):
        super().__init__()
        self.native, self.second = native, False
        self.attentions = nn.ModuleList(nn.MultiheadAttention(WIDTH, 2, batch_first=True) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(5))
        self.wide = nn.ModuleList(nn.Linear(WIDTH, 16) for _ in range(2))
        self.narrow = nn.ModuleList(nn.Linear(16, WIDTH) for _ in range(2))
        self.scale, self.place = nn.Parameter(torch.randn(WIDTH)), nn.Parameter(torch.randn(TOKENS, WIDTH))
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(2):
            y = self.norms[2 * i](x)
            y = self._native(i, y) if self.native else self.attentions[i](y, y, y, need_weights=False)[0]
            x = x + F.dropout(y, 0.3, False) * self.scale + self.place
            x = x + self.narrow[i](F.gelu(self.wide[i](self.norms[2 * i + 1](x))))
        return self.read(self.norms[4](x))

    def _native(self, i: int, y: Tensor) -> Tensor:
        layer = self.attentions[i]
        qkv = F.linear(y, layer.in_proj_weight, layer.in_proj_bias).reshape(len(y), TOKENS, 3, 2, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return layer.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(len(y), TOKENS, -1))

    def read(self, x: Tensor) -> Tensor:
        return self.head(x[:, 0])


class Last(Blocks):
    def read(self, x):
        return self.head(x[:, -1, :])


class OthersUnread(Blocks):
    """As open_clip: the other tokens are taken, and dropped."""

    def read(self, x):
        pooled, _ = x[:, 0], x[:, 1:]
        return self.head(pooled)


class Mean(Blocks):
    def read(self, x):
        return self.head(x.mean(dim=1))


class OthersRead(Blocks):
    def read(self, x):
        pooled, others = x[:, 0], x[:, 1:]
        return self.head(pooled) + others.sum(dim=(1, 2))[:, None]


class TwoRows(Blocks):
    def read(self, x):
        return self.head(x[:, 0] + x[:, 1])


class AllReturned(Blocks):
    def read(self, x):
        return self.head(x[:, 0]), x


class LaterMean(Blocks):
    """From the second pass on, when tokens are left out already, all are read."""

    def read(self, x):
        return self.head(x.mean(dim=1) if self.second else x[:, 0])


class LaterOthers(Blocks):
    def read(self, x):
        others = x[:, 1:]
        return self.head(x[:, 0] + others.amax(dim=1) if self.second else x[:, 0])


class LaterAnother(Blocks):
    def read(self, x):
        return self.head(x[:, 3 if self.second else 0])


class LaterInPlace(Blocks):
    def read(self, x):
        if self.second:
            x.mul_(2)
        return self.head(x[:, 0])


SHORTER = [Blocks, Last, OthersUnread]
WHOLE = [Mean, OthersRead, TwoRows, AllReturned, LaterMean, LaterOthers, LaterAnother, LaterInPlace]


def build(kind: type[Blocks], native: bool):
    torch.manual_seed(0)
    module = kind(native).double().eval()
    x = torch.randn(4, TOKENS, WIDTH).double()
    names = [name for name, _ in module.named_parameters()]
    return module, x, names


@pytest.mark.parametrize("native", [False, True], ids=["torch's own", "by hand"])
@pytest.mark.parametrize("keep", [1.0, 0.3], ids=["full", "part"])
@pytest.mark.parametrize("kind", SHORTER + WHOLE)
def test_equals_torchs_own_forward_mode(kind, keep, native):
    module, x, names = build(kind, native)
    point = {name: module.get_parameter(name).detach() for name in names[int((1 - keep) * len(names)) :]}
    tangent = {name: torch.randn_like(each) for name, each in point.items()}

    def run(state):
        return functional_call(module, state, (x.clone(),))

    push = Pushforward()
    for second in (False, True, True):
        module.second = second
        with forward_mode():
            value, change = jvp(run, (point,), (tangent,))
        torch.testing.assert_close(push([run], point, [tangent])[0], (value, (change,)), rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(push.value(run, point), value, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("native", [False, True], ids=["torch's own", "by hand"])
@pytest.mark.parametrize("kind", SHORTER + WHOLE)
def test_the_second_pass_is_shorter_where_one_token_is_read(kind, native):
    module, x, _ = build(kind, native)
    push = Pushforward()

    def work() -> int:
        with FlopCounterMode(display=False) as counted:
            push.value(lambda state: functional_call(module, state, (x.clone(),)), {})
        return counted.get_total_flops()

    first = work()
    module.second = True
    work()
    assert work() < 0.8 * first if kind in SHORTER else work() >= first


@pytest.mark.parametrize("spec", ["timm", "torchvision", "open_clip", "hf"])
def test_the_libraries_transformers_read_one_token(spec):
    """And their own forward agrees."""
    module = _library(spec).double().eval()
    x = torch.randn(2, 3, 32, 32).double()
    push = Pushforward(dict(module.named_parameters()))
    for _ in range(2):
        torch.testing.assert_close(push.value(lambda _: _plain(module(x)), {}), _plain(module(x)))
    assert list(push._learnt.one_token.values()) == [0]


def _library(spec: str) -> nn.Module:
    if spec == "timm":
        timm = pytest.importorskip("timm")
        return timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=3)
    if spec == "torchvision":
        return pytest.importorskip("torchvision").models.VisionTransformer(32, 16, 2, 2, 16, 32, num_classes=3)
    if spec == "open_clip":
        vision = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 2, "head_width": 16}
        text = {"context_length": 8, "vocab_size": 100, "width": 16, "heads": 2, "layers": 1}
        return pytest.importorskip("open_clip").CLIP(8, vision, text).visual
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(image_size=32, patch_size=16, num_labels=3, **sizes)
    )


def _plain(output):
    return getattr(output, "logits", output)
