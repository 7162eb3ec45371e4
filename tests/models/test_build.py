"""Specs: the small networks, anybody's factory, and a sentence for what does not build."""

from __future__ import annotations

import sys
import textwrap

import pytest
import torch

from mimic.errors import MimicError
from mimic.models.build import build_model
from mimic.models.preprocess import Preprocess
from mimic.models.small import SMALL


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_take_what_their_preprocessing_gives(name):
    built = build_model(f"small:{name}", num_classes=4)
    channels = len(built.preprocess.mean)
    assert not built.module.training
    assert built.spec == f"small:{name}"
    with torch.no_grad():
        assert built.module(torch.zeros(2, channels, *built.preprocess.size)).shape == (2, 4)


@pytest.fixture
def factories(tmp_path, monkeypatch):
    (tmp_path / "their_models.py").write_text(
        textwrap.dedent(
            """
            from torch import nn
            from mimic.models.preprocess import Preprocess

            value = 3

            def sized(num_classes):
                return nn.Linear(2, num_classes)

            def fixed():
                return nn.Linear(2, 5)

            def with_preprocess(num_classes):
                return nn.Linear(2, num_classes), Preprocess(mode="L", size=(8, 8), mean=(0.5,), std=(0.5,))

            def weighted(pretrained):
                return nn.Linear(2, 9 if pretrained else 5)

            def failing():
                raise ValueError("no weights here")

            def text():
                return "model"

            def wrong_preprocess():
                return nn.Linear(2, 5), {"size": 8}
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("their_models", None)


@pytest.mark.usefixtures("factories")
def test_factories():
    assert build_model("module:their_models:sized", 7).module.out_features == 7
    fixed = build_model("module:their_models:fixed", 7)
    assert (fixed.module.out_features, fixed.preprocess) == (5, None)
    assert build_model("module:their_models:with_preprocess", 7).preprocess == Preprocess(
        mode="L", size=(8, 8), mean=(0.5,), std=(0.5,)
    )


@pytest.mark.usefixtures("factories")
def test_factories_may_have_weights():
    assert build_model("module:their_models:weighted", 7).module.out_features == 5
    assert build_model("module:their_models:weighted", 7, pretrained=True).module.out_features == 9
    with pytest.raises(MimicError, match="takes no `pretrained`"):
        build_model("module:their_models:sized", 7, pretrained=True)


@pytest.mark.usefixtures("factories")
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet18", "'resnet18' names no model: a spec is one of small:…, module:…"),
        ("small:", "names no model"),
        ("small:giant", "no small network 'giant': one of mlp, convnet"),
        ("module:their_models", "written module:package.module:factory"),
        ("module:nowhere.models:make", r"nowhere\.models does not import \(ModuleNotFoundError"),
        ("module:their_models:value", "has no function 'value'"),
        ("module:their_models:absent", "has no function 'absent'"),
        ("module:their_models:failing", r"the factory failed \(ValueError: no weights here\)"),
        ("module:their_models:text", r"gave str, not a torch\.nn\.Module"),
        ("module:their_models:wrong_preprocess", "second value is dict, not a mimic Preprocess"),
    ],
)
def test_refusals(spec, message):
    with pytest.raises(MimicError, match=message):
        build_model(spec, 7)
