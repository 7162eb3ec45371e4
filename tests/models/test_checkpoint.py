"""Checkpoints: what is written comes back, what is wrong gets a sentence, and no code in a file ever runs."""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mimic.errors import MimicError
from mimic.models.checkpoint import load_checkpoint, load_into, match_state, save_checkpoint


def network(width=3):
    torch.manual_seed(width)
    return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_round_trip(tmp_path):
    state = network().state_dict()
    path = tmp_path / "reference.safetensors"
    save_checkpoint(path, state, {"classes": json.dumps(["cat", "dog"]), "model": "small:mlp"})
    got = load_checkpoint(path)
    assert same(got.tensors, state)
    assert got.metadata["model"] == "small:mlp"
    assert got.classes == ["cat", "dog"]
    assert got.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert got.name == "reference.safetensors"
    assert [each.name for each in tmp_path.iterdir()] == ["reference.safetensors"]


def test_the_same_content_gives_the_same_bytes(tmp_path):
    state = network().state_dict()
    notes = {str(i): "x" for i in range(9)}
    files = []
    for i in range(3):
        path = tmp_path / f"{i}.safetensors"
        turned = dict(reversed(state.items())) if i else state
        save_checkpoint(path, turned, dict(reversed(notes.items())) if i == 1 else notes)
        files.append(path.read_bytes())
    assert files[0] == files[1] == files[2]
    assert load_checkpoint(tmp_path / "0.safetensors").metadata == notes


@pytest.mark.parametrize("classes", ["cat, dog", '{"cat": 0}', "[1, 2]"])
def test_classes_that_are_no_list_of_names(tmp_path, classes):
    save_checkpoint(tmp_path / "a.safetensors", network().state_dict(), {"classes": classes})
    with pytest.raises(MimicError, match="JSON list of class names"):
        load_checkpoint(tmp_path / "a.safetensors").classes  # noqa: B018


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "optimizer": {"step": torch.tensor(1)}},
        lambda state: {"epoch": 1, "model_state_dict": {f"module.{name}": each for name, each in state.items()}},
        lambda state: {f"_orig_mod.{name}": each for name, each in state.items()},
        lambda state: {f"module._orig_mod.{name}": each for name, each in state.items()},
        # timm and others: arguments, metrics and paths beside the weights
        lambda state: {
            "state_dict": state,
            "args": argparse.Namespace(model="resnet18", out=Path("runs")),
            "metric": np.float64(0.75),
            "epoch": np.int64(3),
        },
        # Lightning: the network is an attribute of the module, which holds other things too
        lambda state: {
            "state_dict": {f"model.{name}": each for name, each in state.items()} | {"loss.weight": torch.ones(2)},
            "pytorch-lightning_version": "2.5",
        },
    ],
)
def test_layouts_of_training_scripts(tmp_path, wrap):
    source, target = network(), network()
    nn.init.zeros_(target[0].weight)
    torch.save(wrap(source.state_dict()), tmp_path / "reference.pt")
    load_into(target, load_checkpoint(tmp_path / "reference.pt"))
    assert same(target.state_dict(), source.state_dict())


def test_sharded(tmp_path):
    state = network().state_dict()
    names = list(state)
    files = {"a-1.safetensors": names[:3], "a-2.safetensors": names[3:]}
    for file, members in files.items():
        save_file({name: state[name] for name in members}, tmp_path / file)
    weight_map = {name: file for file, members in files.items() for name in members}
    index = tmp_path / "a.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert same(load_checkpoint(index).tensors, state)
    assert load_checkpoint(tmp_path).sha256 == load_checkpoint(index).sha256
    (tmp_path / "a-2.safetensors").unlink()
    with pytest.raises(MimicError, match=r"names a-2\.safetensors, which is not beside it"):
        load_checkpoint(index)
    index.write_text("{}")
    with pytest.raises(MimicError, match="weight_map"):
        load_checkpoint(index)


class Intruder:
    """Would leave a file behind if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, 2))])
def test_code_in_a_pickle_never_runs(tmp_path, save):
    save({"weight": torch.ones(1), "extra": Intruder(tmp_path / "ran")}, tmp_path / "reference.pt")
    with pytest.raises(MimicError, match=r"reference\.pt holds Python code or objects.*save model\.state_dict\(\)"):
        load_checkpoint(tmp_path / "reference.pt")
    assert not (tmp_path / "ran").exists()


def test_broken_files_get_a_sentence(tmp_path):
    good = tmp_path / "good.safetensors"
    save_checkpoint(good, network().state_dict())
    data = good.read_bytes()
    for name, content in {
        "header.safetensors": data[:8] + b"x" + data[9:],
        "length.safetensors": b"\xff" * 8 + data[8:],
        "short.safetensors": data[:-4],
        "empty.safetensors": b"",
        "short.pt": b"PK\x03\x04 not a zip",
        "empty.pt": b"",
        "text.pt": b"hello",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MimicError, match=rf"^{name} (is a broken|holds Python code)"):
            load_checkpoint(tmp_path / name)
    torch.save(network().state_dict(), tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:-200])
    with pytest.raises(MimicError, match=r"^cut\.pt is a broken zip file"):
        load_checkpoint(tmp_path / "cut.pt")


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MimicError, match=r"reference\.safetensors cannot be written \(Not a directory\)"):
        save_checkpoint(tmp_path / "file" / "reference.safetensors", network().state_dict())


def test_other_refusals(tmp_path):
    with pytest.raises(MimicError, match="no such checkpoint file"):
        load_checkpoint(tmp_path / "missing.safetensors")
    (tmp_path / "weights.h5").write_bytes(b"x")
    with pytest.raises(MimicError, match=r"weights\.h5 is no checkpoint"):
        load_checkpoint(tmp_path / "weights.h5")
    torch.save({"epoch": 3}, tmp_path / "nothing.pt")
    with pytest.raises(MimicError, match="holds no tensors"):
        load_checkpoint(tmp_path / "nothing.pt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(MimicError, match="holds no safetensors files"):
        load_checkpoint(tmp_path / "folder")


def test_another_architecture_names_the_first_mismatches():
    with pytest.raises(
        MimicError,
        match=r"^ref\.pt is of another architecture than Sequential: "
        r"0\.weight is 5×4 there and 3×4 in the model; 0\.bias is 5 there and 3 in the model; "
        r"1\.weight is 5 there and 3 in the model; and 4 more$",
    ):
        match_state(network(3), network(5).state_dict(), "ref.pt")
    state = network().state_dict()
    del state["2.bias"]
    with pytest.raises(MimicError, match=r"2\.bias 2 is not in it"):
        match_state(network(), state)
    with pytest.raises(MimicError, match=r"3\.weight 7×2 is not in the model"):
        match_state(network(), network().state_dict() | {"3.weight": torch.ones(7, 2)})


def test_a_refused_checkpoint_leaves_the_model_alone(tmp_path):
    model = network()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    save_checkpoint(tmp_path / "a.safetensors", network(5).state_dict())
    with pytest.raises(MimicError):
        load_into(model, load_checkpoint(tmp_path / "a.safetensors"))
    assert same(model.state_dict(), before)


def test_buffers_that_no_evaluation_reads_may_be_missing():
    state = {name: each for name, each in network().state_dict().items() if not name.endswith("num_batches_tracked")}
    assert same(match_state(network(), state), network().state_dict())


def test_tied_weights_saved_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.two.weight = self.one.weight

    weight = torch.randn(3, 3)
    state = match_state(Tied(), {"two.weight": weight})
    assert torch.equal(state["one.weight"], weight)
