"""Which weights meet which: outputs counted in the checkpoints, other classifiers by rule, the start as built."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from mimic.errors import MimicError
from mimic.models.build import build_model
from mimic.models.checkpoint import load_checkpoint, save_checkpoint
from mimic.runs.config import ScoreConfig
from mimic.runs.weights import load_weights
from tests.runs.conftest import MODEL


def saved(folder: Path, name: str, outputs: int, classes: list[str] | None = None) -> str:
    torch.manual_seed(len(name))
    path = folder / f"{name}.safetensors"
    notes = {"classes": json.dumps(classes)} if classes else {}
    save_checkpoint(path, build_model(MODEL, outputs).module.state_dict(), notes)
    return str(path)


def config(reference: str, start: str | None = None, **settings: object) -> ScoreConfig:
    return ScoreConfig.checked(dataset="d", model=MODEL, reference=reference, start=start, **settings)


def outputs(module: nn.Module) -> int:
    return len(module.head.bias)


def test_the_checkpoints_say_how_many_outputs(tmp_path: Path) -> None:
    found = load_weights(config(saved(tmp_path, "r", 12), saved(tmp_path, "start", 12)), ["a", "b"])
    assert (outputs(found.built.module), found.named, found.as_built) == (12, None, False)
    assert found.reference_state.keys() == found.built.module.state_dict().keys()
    assert not torch.equal(found.reference_state["head.weight"], found.built.module.head.weight)


def test_names_come_from_either_checkpoint_and_must_agree(tmp_path: Path) -> None:
    plain, cat_dog, dog_cat = (
        saved(tmp_path, name, 2, classes)
        for name, classes in [("p", None), ("cd", ["cat", "dog"]), ("dcx", ["dog", "cat"])]
    )
    assert load_weights(config(plain, cat_dog), ["x"]).named == ["cat", "dog"]
    assert load_weights(config(dog_cat, plain), ["x"]).named == ["dog", "cat"]
    with pytest.raises(MimicError, match="different classes or another order"):
        load_weights(config(cat_dog, dog_cat), ["cat", "dog"])


def test_another_classifier_needs_a_rule(tmp_path: Path) -> None:
    three = saved(tmp_path, "three", 3, ["dog", "cow", "cat"])
    start = saved(tmp_path, "start", 2, ["cat", "dog"])
    with pytest.raises(MimicError, match=r"--head map .* --head reset"):
        load_weights(config(three, start), ["cat", "dog"])
    mapped = load_weights(config(three, start, head="map"), ["cat", "dog"])
    theirs = load_checkpoint(three).tensors["head.weight"]
    assert torch.equal(mapped.reference_state["head.weight"], theirs[[2, 0]])
    reset = load_weights(config(three, start, head="reset"), ["cat", "dog"])
    assert torch.equal(reset.reference_state["head.weight"], reset.built.module.head.weight)


def test_the_model_as_built_is_the_same_in_every_process(tmp_path: Path) -> None:
    reference = saved(tmp_path, "r", 2)
    first = load_weights(config(reference), ["a", "b"])
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    second = load_weights(config(reference), ["a", "b"])
    assert first.as_built
    assert first.start.sha256 == second.start.sha256
    assert torch.equal(torch.random.get_rng_state(), before)  # and it leaves the caller's generator alone


def test_a_small_network_has_no_weights_to_be_a_reference(tmp_path: Path) -> None:
    with pytest.raises(MimicError, match="no pretrained weights"):
        load_weights(config("small:mlp", saved(tmp_path, "start", 2)), ["a", "b"])
