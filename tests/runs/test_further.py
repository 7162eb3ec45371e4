"""Further signals of a run: each equals its own definition, and a second pass looks at no picture again."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mimic.errors import MimicError
from mimic.images import image_bytes, read_image
from mimic.models.build import build_model
from mimic.models.checkpoint import load_checkpoint
from mimic.runs import manager, observe
from mimic.runs.further import PROMPTED, add_signals, possible
from mimic.runs.importing import import_dataset
from mimic.scores import FURTHER_SIGNALS
from mimic.scores.heads import Frozen
from mimic.scores.image import IMAGE_SIGNALS, Picture
from mimic.scores.table import PACKAGES, TABLE_SIGNALS, Table
from mimic.workspace.layout import Run, Workspace
from mimic.workspace.samples import read_inputs
from tests.models.tiny_towers import save_tiny_towers
from tests.runs.conftest import MODEL, Digits

QUICK = ["knn", "sharpness", "file_size", "margin_mean"]


def scores(run: Run) -> pd.DataFrame:
    with duckdb.connect(str(run.scores_file), read_only=True) as connection:
        return connection.execute("SELECT * FROM scores ORDER BY sample").df()


def test_every_further_signal_has_a_function():
    assert set(FURTHER_SIGNALS) == set(TABLE_SIGNALS) | set(IMAGE_SIGNALS) | {PROMPTED}


def test_all_signals_beside_the_scored_ones(digits: Digits, workspace: Workspace):
    base = manager.score(workspace, digits.config())
    here, missing = possible(base)
    assert (set(here), missing) == (set(FURTHER_SIGNALS) - {PROMPTED}, {})
    run = add_signals(workspace, base, here)
    got, own = scores(run), scores(base)
    assert run.signals == [*base.signals, *here] == list(got.columns)[1:]
    pd.testing.assert_frame_equal(got[own.columns], own)
    assert (run.main, run.check) == (base.main, base.check)
    module = build_model(MODEL, 10).module
    module.load_state_dict(dict(load_checkpoint(digits.start).tensors))
    seen: list[torch.Tensor] = []
    module.head.register_forward_hook(lambda layer, args, output: seen.append(args[0]))
    with torch.no_grad():
        module(digits.pixels)
        features = seen[0].numpy()
        module.load_state_dict(dict(load_checkpoint(digits.reference).tensors))
        reference = module(digits.pixels).log_softmax(dim=1).numpy()
    table = Table(Frozen(features, digits.given.numpy(), 10), reference)
    for name in ("knn", "dense", "margin_mean", "confident"):
        # features were computed in other batches, so the last digits differ, and training takes them along
        assert np.corrcoef(got[name], TABLE_SIGNALS[name](table))[0, 1] > 0.999, name
    path = digits.folder / "images/3.png"
    picture = Picture(Image.open(path), path.stat().st_size)
    for name, signal in IMAGE_SIGNALS.items():
        assert got[name][3] == pytest.approx(signal(picture), rel=1e-5), name
    wrong = (digits.given != digits.truth).numpy()
    assert got.ensemble[wrong].median() < got.ensemble[~wrong].quantile(0.1)


def test_a_second_pass_looks_at_nothing_again(digits, workspace, monkeypatch):
    base = manager.score(workspace, digits.config(limit=300))
    first = add_signals(workspace, base, ["knn", "sharpness"])
    monkeypatch.setattr(observe, "read_image", None)  # whoever calls it fails
    again = add_signals(workspace, base, ["sharpness", "knn"])
    assert again.id != first.id
    names = ["knn", "sharpness"]
    pd.testing.assert_frame_equal(scores(first)[names], scores(again)[names])
    assert add_signals(workspace, base, ["knn", "sharpness"]).facts == first.facts


def test_broken_and_unlabelled_samples(digits: Digits, tmp_path):
    workspace, folder = Workspace(tmp_path / "w"), tmp_path / "data"
    folder.mkdir()
    rows = pd.read_csv(digits.manifest, dtype=str).head(60)
    for path in rows.path:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes((digits.folder / path).read_bytes())
    (folder / rows.path[4]).write_bytes(b"no picture")
    (folder / rows.path[5]).unlink()
    rows.loc[6, "label"] = None
    rows.to_csv(folder / "manifest.csv", index=False)
    import_dataset(workspace, folder / "manifest.csv", "digits", classes=[str(i) for i in range(10)])
    run = add_signals(workspace, manager.score(workspace, digits.config()), QUICK)
    got = scores(run)
    assert got.index[got.sharpness.isna()].tolist() == [4, 5]
    assert got.index[got.knn.isna()].tolist() == [4, 5, 6]
    assert got.index[got.margin_mean.isna()].tolist() == [4, 5, 6]
    assert run.counts == {"scored": 57, "not_scored": 3}


def test_refusals(digits: Digits, workspace: Workspace, monkeypatch):
    base = manager.score(workspace, digits.config(limit=60))
    with pytest.raises(MimicError, match="no further signal 'luck'"):
        add_signals(workspace, base, ["luck"])
    with pytest.raises(MimicError, match="no signal was asked for"):
        add_signals(workspace, base, [])
    further = add_signals(workspace, base, ["aspect"])
    with pytest.raises(MimicError, match="is no published run of `mimic score`"):
        add_signals(workspace, further, ["aspect"])
    changed = Run(
        base.folder, base.facts | {"config": base.config | {"start": digits.reference, "reference": digits.start}}
    )
    with pytest.raises(MimicError, match="was made from other files than are there now"):
        add_signals(workspace, changed, ["aspect"])
    monkeypatch.setitem(PACKAGES, "confident", "no_such_package")
    assert possible(base)[1] == {"confident": "no_such_package"}
    with pytest.raises(MimicError, match=r'pip install "mimic-score\[baselines\]"'):
        add_signals(workspace, base, ["confident"])


def test_clip_of_labels_is_the_cosine_with_a_sentence(digits: Digits, workspace: Workspace, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = save_tiny_towers(tmp_path) / "clip"
    base = manager.score(workspace, digits.config(limit=40))
    with pytest.raises(MimicError, match="the signal clip needs a CLIP model"):
        add_signals(workspace, base, ["clip"])
    got = scores(add_signals(workspace, base, ["clip"], clip=f"hf:{folder}"))
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    built = build_model(f"hf:{folder}", 0)
    dataset = workspace.dataset("digits")
    inputs = read_inputs(dataset, got["sample"].to_numpy().astype(np.int32))
    images = torch.stack([built.preprocess(read_image(image_bytes(dataset.root, path))) for path in inputs.paths])
    words = built.tokenize([f"a photo of a {dataset.classes[code]}." for code in inputs.codes])
    with torch.no_grad():
        found = model(input_ids=words, pixel_values=images)
    expected = (found.image_embeds * found.text_embeds).sum(1)
    np.testing.assert_allclose(got["clip"], expected, atol=1e-5)
