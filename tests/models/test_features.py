"""Files of frozen features: read by id, DataComp's too, and refused with a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mimic.errors import MimicError
from mimic.models.checkpoint import save_checkpoint
from mimic.models.features import load_features, save_features


def test_rows_by_id(tmp_path: Path) -> None:
    image, text = torch.randn(3, 4).half(), torch.randn(3, 2).half()
    save_features(tmp_path / "f.safetensors", ["a", "ü", "c"], image, text)
    found = load_features(str(tmp_path / "f.safetensors"))
    rows = found.rows(["c", "nobody", "ü"])
    assert rows.tolist() == [2, -1, 1]
    images, texts = found(rows[[0, 2]])
    torch.testing.assert_close(images, image[[2, 1]].float())
    torch.testing.assert_close(texts, text[[2, 1]].float())


def test_datacomp(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        f"{model}_{side}": rng.normal(size=(3, 6)).astype(np.float16)
        for model in ("b32", "l14")
        for side in ("img", "txt")
    }
    np.savez(tmp_path / "0.npz", **arrays)
    pq.write_table(pa.table({"uid": ["x", "y", "z"], "text": ["a"] * 3}), tmp_path / "0.parquet")
    large, small = (load_features(f"{tmp_path / '0.npz'}{which}") for which in ("", ":b32"))
    np.testing.assert_array_equal(large.image.numpy(), arrays["l14_img"])
    np.testing.assert_array_equal(small.text.numpy(), arrays["b32_txt"])
    assert large.ids == ["x", "y", "z"]
    assert large.sha256 != small.sha256
    with pytest.raises(MimicError, match="there are embeddings of l14 and b32"):
        load_features(f"{tmp_path / '0.npz'}:h14")
    (tmp_path / "0.parquet").unlink()
    with pytest.raises(MimicError, match=r"0\.parquet with column uid beside it"):
        load_features(str(tmp_path / "0.npz"))


def test_code_in_an_array_is_never_run(tmp_path: Path) -> None:
    objects = np.array([print], dtype=object)
    np.savez(tmp_path / "0.npz", l14_img=objects, l14_txt=objects)
    pq.write_table(pa.table({"uid": ["x"]}), tmp_path / "0.parquet")
    with pytest.raises(MimicError, match="cannot be read as DataComp's embeddings"):
        load_features(str(tmp_path / "0.npz"))


@pytest.mark.parametrize(
    ("tensors", "ids", "sentence"),
    [
        ({"image": torch.ones(2, 3)}, ["a", "b"], "lacks tensors image and text"),
        ({"image": torch.ones(2, 3), "text": torch.ones(2, 3)}, None, "lacks tensors image and text, or a JSON list"),
        ({"image": torch.ones(2, 3), "text": torch.ones(2, 3)}, ["a", "a"], "names, each once"),
        ({"image": torch.ones(2, 3), "text": torch.ones(2, 3)}, {"a": 1}, "names, each once"),
        ({"image": torch.ones(2, 3), "text": torch.ones(3, 3)}, ["a", "b"], r"text is torch.float32 \(3, 3\)"),
        ({"image": torch.ones(2, 3), "text": torch.full((2, 3), torch.nan)}, ["a", "b"], "text holds NaN or infinity"),
    ],
)
def test_what_is_no_file_of_features(tmp_path: Path, tensors, ids, sentence: str) -> None:
    save_checkpoint(tmp_path / "f.safetensors", tensors, {} if ids is None else {"ids": json.dumps(ids)})
    with pytest.raises(MimicError, match=sentence):
        load_features(str(tmp_path / "f.safetensors"))


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(MimicError, match="no file of features"):
        load_features(str(tmp_path / "f.csv"))
