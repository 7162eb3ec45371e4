"""Decoding ahead changes neither the order nor the pixels, and survives whatever a file holds."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from mimic.data import Shard
from mimic.images import image_bytes, read_image
from mimic.models.small import small_preprocess
from mimic.runs.inputs import Pixels
from mimic.runs.loading import Loader, Piece
from tests.runs.conftest import Digits


def pieces(paths: list[str], size: int) -> list[Piece]:
    numbers = np.arange(len(paths), dtype=np.int32)
    cut = [slice(i, i + size) for i in range(0, len(paths), size)]
    return [Piece(Shard(0, 0, len(paths)), False, numbers[c], paths[c], numbers[c].astype(np.int64)) for c in cut]


@pytest.mark.parametrize("threads", [1, 4])
def test_order_and_pixels(threads: int, digits: Digits) -> None:
    paths = [f"images/{i}.png" for i in range(70)]
    loader = Loader(Pixels(digits.folder, small_preprocess("mlp")), threads)
    decoded = list(loader(pieces(paths, 32)))
    assert [path for each in decoded for path in each.piece.keys] == paths
    expected = [small_preprocess("mlp")(read_image(image_bytes(digits.folder, path))) for path in paths]
    assert torch.equal(torch.cat([each.images for each in decoded]), torch.stack(expected))
    assert not any(each.reasons for each in decoded)


def test_unreadable_files_keep_their_place_and_reason(digits: Digits, tmp_path: Path) -> None:
    whole = (digits.folder / "images/0.png").read_bytes()
    (tmp_path / "whole.png").write_bytes(whole)
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    paths = ["whole.png", "half.png", "missing.png", "text.png", "folder.png", "whole.png"]
    (decoded,) = Loader(Pixels(tmp_path, small_preprocess("mlp")))(pieces(paths, 8))
    assert sorted(decoded.reasons) == [1, 2, 3, 4]
    assert decoded.reasons[2] == "file is missing"
    assert torch.equal(decoded.images[0], decoded.images[5])


def test_it_reads_ahead_by_a_bounded_number_of_batches_and_stops_its_threads(digits: Digits) -> None:
    asked: list[int] = []

    def counted():
        for piece in pieces([f"images/{i}.png" for i in range(100)], 10):
            asked.append(len(asked))
            yield piece

    reader = Loader(Pixels(digits.folder, small_preprocess("mlp")), 2)(counted())
    next(reader)
    assert 2 <= len(asked) <= 4
    reader.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]
