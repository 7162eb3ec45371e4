"""The caption benchmark's own arithmetic, and that the sample's features and towers belong to its shards."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from benchmarks.caption_pairs import components, spoilt
from benchmarks.captions import BATCH, batches, main, summary
from mimic.models.features import load_features
from mimic.sources.open import open_source
from sample_data.make_caption_towers import start_weights, train_towers
from sample_data.make_captions import Pair

COLOURS = {"red": (200, 20, 20), "green": (10, 180, 40), "blue": (20, 40, 220), "white": (250, 250, 250),
           "black": (5, 5, 5), "yellow": (240, 220, 10), "pink": (250, 130, 190), "brown": (120, 70, 30)}  # fmt: skip
SAMPLE = Path(__file__).resolve().parents[2] / "sample_data" / "captions"


def test_spoilt_captions_come_from_other_families() -> None:
    image = Image.new("RGB", (2, 2))
    pairs = [Pair(str(i), image, f"thing {i} of family {i % 7}", "", i % 7) for i in range(70)]
    captions, faults = spoilt(pairs, seed=3, wrong=0.4)
    assert (faults == "swapped").sum() == (faults != "").sum() / 2 == 14
    for pair, caption, fault in zip(pairs, captions, faults, strict=True):
        assert (caption == pair.caption) == (fault == "")
        if fault == "swapped":
            assert not caption.endswith(f"family {pair.family}")


def test_components_keep_distances_and_have_length_one() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32) * np.arange(1, 21, dtype=np.float32)
    mean, axes = components(rows, 8)
    found = (rows - mean.numpy()) @ axes.numpy()
    assert found.shape == (50, 8)
    assert np.square(found).sum(1).mean() == pytest.approx(1, rel=1e-4)


def test_summary_counts_steps_to_uniforms_lowest_loss() -> None:
    rows = []
    for arm, losses in {"uniform": [5, 3, 4], "fast": [3, 2, 2], "never": [5, 5, 4]}.items():
        for step, loss in zip((2, 4, 6), losses, strict=True):
            rows.append(
                {"held out": "x", "seed": 0, "arm": arm, "step": step, "loss": float(loss), "recall@1": 1 / loss}
            )
    table = pd.DataFrame(rows)
    found = summary(pd.concat([table, table.assign(seed=1)])).set_index("arm")
    assert found.steps.to_dict() == {"uniform": 1.0, "fast": 0.5, "never": 2.0}
    assert found.gain.to_dict() == {"uniform": 0.0, "fast": 1.0, "never": -1.0}
    assert found["recall@1"]["fast"] == 0.5
    assert (found["gain error"] == 0).all()


def test_every_pair_comes_once_an_epoch() -> None:
    seen = np.concatenate(list(batches(100, 25, seed=0)))
    assert len(seen) == 25 * BATCH
    assert (np.bincount(seen) == 32).all()


def test_the_sample_has_features_of_every_pair_and_whole_files() -> None:
    features = load_features(str(SAMPLE / "features.safetensors"))
    samples = list(open_source(SAMPLE).samples())
    assert (features.rows([sample.id for sample in samples]) >= 0).all()
    assert len(features.ids) == len(samples)
    lines = [line.split() for line in (SAMPLE / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in lines} == {path.name for path in SAMPLE.iterdir()} - {"SHA256SUMS"}
    for digest, name in lines:
        assert hashlib.sha256((SAMPLE / name).read_bytes()).hexdigest() == digest


def test_the_reference_is_the_start_trained() -> None:
    start = start_weights()
    images = torch.randn(40, 128)
    trained = train_towers(start, images, images.clone(), epochs=5)
    assert not torch.equal(trained.visual.proj.weight, start.visual.proj.weight)
    again = train_towers(start, images, images.clone(), epochs=5)
    assert torch.equal(trained.visual.proj.weight, again.visual.proj.weight)


def test_any_folder_of_captioned_images(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    told: dict[str, list[dict[str, object]]] = {"images": [], "annotations": []}
    for i in range(340):
        colours = rng.choice(list(COLOURS), 2)
        image = Image.new("RGB", (24, 24), COLOURS[colours[0]])
        image.paste(COLOURS[colours[1]], (int(rng.integers(12)), 12, 24, 24))
        image.save(tmp_path / f"images/{i}.png")
        told["images"].append({"id": i, "file_name": f"{i}.png"})
        caption = f"a {colours[0]} wall with a {colours[1]} door"
        told["annotations"].append({"id": i, "image_id": i, "caption": caption})
    (tmp_path / "captions.json").write_text(json.dumps(told))
    given = ["--folder", f"{tmp_path}/captions.json", "--images", f"{tmp_path}/images", "--plain", "--seeds", "1"]
    page = Path(__file__).resolve().parents[2] / "docs/results.md"
    before = page.read_text()
    main(["quality", *given, "--cache", f"{tmp_path}/cache"])
    table = pd.read_csv(tmp_path / "cache/results/captions.csv")
    every = table[table.faults == "all"].set_index("signal")
    assert every.wrong.unique() == [34]
    assert every.auroc["clip"] > 0.7
    assert every.auroc["mimic + knn + basic"] > every.auroc["clip"]
    assert set(table.faults) >= {"swapped", "junk", "generic", "symbols", "file name", "over-long"}
    assert page.read_text() == before
    (tmp_path / "captions.json").write_text(json.dumps(told | {"annotations": told["annotations"][:50]}))
    with pytest.raises(SystemExit, match="are needed"):
        main(["quality", *given, "--cache", f"{tmp_path}/cache"])
