"""Other people's architectures, on every scope they have, against a float64 loop of single-sample backward().

Small sizes of the real classes; the full ViT-B/16 is slow and runs with `make test-slow`.
"""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimic import Direction, iter_scores, mimic_scores
from mimic.losses import cross_entropy, get_loss
from mimic.scores.differentiate import Differentiator


def timm_vit():
    timm = pytest.importorskip("timm")
    return timm.create_model("test_vit", num_classes=5, img_size=32)


def torchvision_resnet():
    models = pytest.importorskip("torchvision.models")
    return models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5)


def torchvision_vit():
    models = pytest.importorskip("torchvision.models")
    return models.VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5)


def torchvision_vit_b_16():
    models = pytest.importorskip("torchvision.models")
    return models.vit_b_16(num_classes=5, image_size=32)


def hf_vit():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8,
        num_labels=5,
    )  # fmt: skip
    return transformers.ViTForImageClassification(config)


def nudged(start):
    """A reference near the start, and running statistics that are neither 0 nor 1."""
    start.train()
    with torch.no_grad():
        start(torch.randn(4, 3, 32, 32))
    reference = copy.deepcopy(start)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter += 0.2 * parameter.std(correction=0).clamp_min(0.05) * torch.randn_like(parameter)
    return start.eval(), reference.eval()


# Relative error that float32 may have against float64: rounding can put a unit on the other side of ReLU's kink.
ACROSS_KINKS = 2e-2
seeds = given(seed=st.integers(0, 2**31))
lean = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("scope", ["last", "last-weight", "last:1", "full"])
@pytest.mark.parametrize(
    "make",
    [timm_vit, torchvision_resnet, torchvision_vit, hf_vit, pytest.param(torchvision_vit_b_16, marks=pytest.mark.slow)],
)
@seeds
@lean
def test_classifiers(backward_scores, make, scope, seed):
    torch.manual_seed(seed)
    start, reference = nudged(make())
    images, labels = torch.randn(3, 3, 32, 32), torch.randint(5, (3,))
    direction = Direction.between(start, reference.state_dict(), scope, images)
    expected = backward_scores(start, reference, images, labels, list(direction.tensors))
    single = mimic_scores(start, images, labels, direction).double()
    assert float((single - expected).norm() / expected.norm()) < ACROSS_KINKS
    start.double()
    direction = Direction.between(start, reference.state_dict(), scope, images.double())
    got = mimic_scores(start, images.double(), labels, direction).double()
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-7 * float(expected.abs().max()))


@pytest.mark.parametrize("make", [timm_vit, torchvision_resnet, torchvision_vit, hf_vit])
@seeds
@lean
def test_several_scopes_in_one_pass(make, seed):
    """Each scope gets what it gets alone; torchvision's ResNet overwrites its activations."""
    torch.manual_seed(seed)
    start, reference = nudged(make())
    start.double()
    images, labels = torch.randn(3, 3, 32, 32).double(), torch.randint(5, (3,))
    scopes = ["last:1", "full", "last", "re:bias"]
    directions = [Direction.between(start, reference.state_dict(), each, images) for each in scopes]
    together = Differentiator(start, directions, cross_entropy)
    alone = [Differentiator(start, [each], cross_entropy) for each in directions]
    for _ in range(2):
        got = together(images, labels).slopes
        for each, ours in zip(alone, got, strict=True):
            (theirs,) = each(images, labels).slopes
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    assert together.methods == ["jvp", "jvp", "closed", "jvp"]
    assert together._push._push._learnt.together


# One of each kind of layer that image models are made of: depthwise and grouped convolutions, gates, global response
# norm, shifted windows, relative positions, distillation tokens, standardised weights, concatenation, pooling mixers.
ZOO = {
    "timm": [
        ("mobilenetv3_small_050", 64), ("efficientnet_b0", 64), ("convnextv2_atto", 64), ("regnety_002", 64),
        ("densenet121", 64), ("nf_resnet50", 64), ("resmlp_12_224", 224), ("poolformer_s12", 64),
        ("swin_tiny_patch4_window7_224", 224), ("coatnet_nano_rw_224", 224), ("xcit_nano_12_p8_224", 224),
        ("deit_tiny_distilled_patch16_224", 224), ("eva02_tiny_patch14_224", 224), ("levit_128s", 224),
        ("mobilevit_xxs", 128), ("cait_xxs24_224", 224), ("hrnet_w18_small", 64),
    ],
    "torchvision": [("squeezenet1_0", 64), ("googlenet", 64), ("swin_v2_t", 64), ("maxvit_t", 224)],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("library", "name", "size"), [(lib, *each) for lib, names in ZOO.items() for each in names])
def test_the_zoo_knows_forward_mode(library, name, size):
    """Every parameter of big models in float32: exact to rounding, but for kinks of ReLU that rounding may cross."""
    module = pytest.importorskip(library)
    torch.manual_seed(0)
    if library == "timm":
        start = module.create_model(name, num_classes=5).eval()
    else:
        start = module.models.get_model(name, weights=None, num_classes=5).eval()
    reference = copy.deepcopy(start)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter += 0.05 * parameter.std(correction=0).clamp_min(0.02) * torch.randn_like(parameter)
    images, labels = torch.randn(3, 3, size, size), torch.tensor([0, 1, 2])
    direction = Direction.between(start, reference.state_dict(), "full")
    differentiate = Differentiator(start, [direction], cross_entropy)
    weights = [start.get_parameter(key) for key in direction.tensors]
    losses = cross_entropy(start(images), labels)
    expected = []
    for loss in losses:  # of one batch: torch 2.14 gets XCiT's gradients wrong for a batch of one (against differences)
        gradients = torch.autograd.grad(loss, weights, retain_graph=True, materialize_grads=True)
        inner = sum((g * v).sum() for g, v in zip(gradients, direction.tensors.values(), strict=True))
        expected.append(inner / direction.norm)
    expected = torch.stack(expected)
    for _ in range(2):  # the second pass may take shortcuts that the first one has found
        got = differentiate(images, labels).slopes[0]
        assert differentiate.methods == ["jvp"], differentiate.reasons
        assert float((got - expected).norm() / expected.norm()) < ACROSS_KINKS


def two_towers(custom):
    open_clip = pytest.importorskip("open_clip")
    vision = {"image_size": 16, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 2}
    if custom:  # SigLIP's kind: the text tower is a module of its own, and there is a bias
        return open_clip.CustomTextCLIP(16, vision, text, init_logit_bias=-2.0)
    return open_clip.CLIP(16, vision, text)


@pytest.mark.parametrize("scope", ["image-last", "text-last", "full"])
@pytest.mark.parametrize(("loss", "custom"), [("clip", False), ("siglip", True)])
@seeds
@lean
def test_pairs_in_their_batch(loss, custom, scope, seed):
    """Each pair's loss depends on the whole batch, so its gradient takes a backward through the whole batch."""
    torch.manual_seed(seed)
    start = two_towers(custom).eval()
    reference = copy.deepcopy(start)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter += 0.2 * parameter.std(correction=0).clamp_min(0.05) * torch.randn_like(parameter)
    images, texts = torch.randn(4, 3, 16, 16), torch.randint(1, 50, (4, 8))
    direction = Direction.between(start, reference.state_dict(), scope)
    got = mimic_scores(start, (images, texts), None, direction, loss).double()

    twin, there = copy.deepcopy(start).double(), copy.deepcopy(reference).double()
    v = {name: (there.get_parameter(name) - twin.get_parameter(name)).detach() for name in direction.tensors}
    norm = torch.sqrt(sum(each.square().sum() for each in v.values()))
    expected = []
    for i in range(4):
        twin.zero_grad()
        get_loss(loss)(twin(images.double(), texts), None)[i].backward()
        gradients = {name: twin.get_parameter(name).grad for name in v}
        expected.append(-sum((gradients[name] * v[name]).sum() for name in v if gradients[name] is not None) / norm)
    expected = torch.stack(expected)
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(("loss", "custom"), [("clip", False), ("siglip", True)])
@seeds
@lean
def test_several_scopes_of_pairs_in_one_pass(loss, custom, seed):
    torch.manual_seed(seed)
    start, reference = two_towers(custom).eval(), two_towers(custom).eval()
    inputs = torch.randn(16, 3, 16, 16), torch.randint(1, 50, (16, 8))
    scopes = ["image-last", "text-last", "full", "projections"]
    directions = [Direction.between(start, reference.state_dict(), each) for each in scopes]
    together = Differentiator(start, directions, get_loss(loss))
    for _ in range(2):
        got = together(inputs, None).slopes
        for direction, ours in zip(directions, got, strict=True):
            (theirs,) = Differentiator(start, [direction], get_loss(loss))(inputs, None).slopes
            assert float((ours - theirs).norm() / theirs.norm()) < 1e-5
    assert together._push._push._learnt.together


def test_pairs_by_differences_and_by_a_loader():
    torch.manual_seed(0)
    start, reference = two_towers(False).eval(), two_towers(False).eval()
    inputs = torch.randn(6, 3, 16, 16), torch.randint(1, 50, (6, 8))
    direction = Direction.between(start, reference.state_dict(), "full")
    by_loader = torch.cat(list(iter_scores(start, [(list(inputs), None)], direction, "clip")))
    torch.testing.assert_close(by_loader, mimic_scores(start, inputs, None, direction, "clip"))
    exact, close = (mimic_scores(start, inputs, None, direction, "clip", method) for method in ("jvp", "difference"))
    assert float((exact - close).norm() / exact.norm()) < 1e-2


@seeds
@lean
def test_multi_label(make_case, backward_scores, seed):
    case = make_case("convnet", seed)
    target = torch.randint(2, (5, 7))
    start = case.start.double()
    direction = Direction.between(start, case.reference.state_dict(), "full")
    got = mimic_scores(start, case.images.double(), target, direction, "multi_label").double()
    expected = backward_scores(
        case.start, case.reference, case.images, target, list(direction.tensors), get_loss("multi_label")
    )
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-7)
