"""Scoring runs of captions: exact against one backward pass a pair, the same whoever scores which shard when."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from mimic.errors import MimicError
from mimic.images import image_bytes, read_image
from mimic.losses import Clip
from mimic.models.checkpoint import load_checkpoint
from mimic.models.direction import Direction
from mimic.runs import caption_signals, demo, manager, pair_worker
from mimic.runs.config import ScoreConfig
from mimic.runs.embeddings import read_embeddings
from mimic.runs.further import add_signals, possible
from mimic.runs.importing import import_dataset
from mimic.runs.pair_worker import Draws, dealt, shard_size
from mimic.runs.train import manage
from mimic.runs.train.config import TrainConfig
from mimic.scores import DRAW_ERROR, FURTHER_PAIR_SIGNALS
from mimic.scores.captions import neighbour_agreement, specificity
from mimic.scores.scorer import BatchScores
from mimic.workspace.layout import Run, Workspace
from mimic.workspace.publish import read_parts
from mimic.workspace.samples import read_inputs
from tests.models.tiny_towers import open_clip_weights
from tests.runs.captioned import SWAPPED, Captioned, N, make

SHARDS = Path(__file__).resolve().parents[2] / "sample_data" / "captions"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Captioned:
    torch.set_num_threads(1)
    return make(tmp_path_factory.mktemp("captioned"))


@pytest.fixture
def workspace(tmp_path: Path, pairs: Captioned) -> Workspace:
    workspace = Workspace(tmp_path)
    pairs.dataset(workspace)
    return workspace


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "_LEAST_SHARD", 20)
    monkeypatch.setattr(manager, "BATCHES_A_SHARD", 1)


def scores(run: Run) -> pd.DataFrame:
    with duckdb.connect(str(run.scores_file), read_only=True) as connection:
        return connection.execute("SELECT * FROM scores ORDER BY sample").df()


def by_hand(pairs: Captioned, batch: np.ndarray, scope: str) -> np.ndarray:
    """⟨−∇ℓ_i, v⟩ / ‖v‖ by a backward pass of each pair's loss within the whole batch."""
    direction = Direction.between(pairs.start, pairs.reference.state_dict(), scope)
    parameters = dict(pairs.start.named_parameters())
    found = []
    for i in range(len(batch)):
        pairs.start.zero_grad()
        Clip()(pairs.start(pairs.images[batch], pairs.texts[batch]))[i].backward()
        found.append(-sum(float((parameters[name].grad * v).sum()) for name, v in direction.tensors.items()))
    pairs.start.zero_grad()
    return np.array(found) / direction.norm


@pytest.mark.parametrize("scope", ["image-last", "text-last", "projections", "full"])
@pytest.mark.usefixtures("small_shards")
def test_scores_are_those_of_a_backward_pass_a_pair(workspace: Workspace, pairs: Captioned, scope: str) -> None:
    run = manager.score(workspace, pairs.config(scopes=(scope,)))
    order = np.random.default_rng(4).permutation(N)
    expected = np.zeros((3, N))
    for shard in run.shards:
        members = np.sort(order[shard.first : shard.last])
        for draw in range(3):
            for batch in dealt(len(members), 10, [4, shard.index, draw]):
                expected[draw, members[batch]] = by_hand(pairs, members[batch], scope)
    got = scores(run)
    assert len(run.shards) == 3
    np.testing.assert_allclose(got["mimic"], expected.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(got[DRAW_ERROR], -expected.std(0, ddof=1) / np.sqrt(3), rtol=1e-3, atol=1e-6)


@pytest.mark.usefixtures("small_shards")
def test_whoever_scores_which_shard_when_gives_the_same(workspace: Workspace, tmp_path: Path, pairs: Captioned) -> None:
    class Stopped(Exception):
        pass

    def stop_after_two(make, shards):
        for done, step in enumerate(make()(list(shards)[::-1])):
            yield step
            if done == 4:
                raise Stopped

    with pytest.raises(Stopped):
        manager.score(workspace, pairs.config(), execute=stop_after_two)
    (begun,) = workspace.runs()
    assert 0 < len(begun.parts) < 3
    resumed = manager.score(workspace, pairs.config(), threads=3)
    other = Workspace(tmp_path / "other")
    pairs.dataset(other)
    whole = manager.score(other, pairs.config(), threads=1)
    assert resumed.id == whole.id
    pd.testing.assert_frame_equal(scores(resumed), scores(whole), check_exact=True)
    assert resumed.facts["draws"] == whole.facts["draws"]
    kept, again = read_embeddings(resumed), read_embeddings(whole)
    assert kept is not None
    assert again is not None
    np.testing.assert_array_equal(kept.image, again.image)


def test_what_a_run_says(workspace: Workspace, pairs: Captioned) -> None:
    run = manager.score(workspace, pairs.config())
    draws = run.facts["draws"]
    assert (draws["count"], draws["seed"], run.facts["loss"]) == (3, 4, "clip")
    got = scores(run)
    reliability = 1 - np.mean(got[DRAW_ERROR] ** 2) / got["mimic"].var(ddof=0)
    assert draws["reliability"] == pytest.approx(reliability, rel=1e-4)
    assert 0 < draws["correlation"] < draws["reliability"] < 1
    assert run.check["verdict"] == "Good"
    assert run.check["majority_class"] is run.check["majority_agreement"] is None
    assert "captions" in run.check["sentence"]
    assert run.check["reference_agreement"] > run.check["start_agreement"]
    wrong = np.arange(N) < SWAPPED
    assert roc_auc_score(wrong, -got["clip"]) > 0.9
    assert roc_auc_score(wrong, -got["mimic"]) > 0.8
    with torch.no_grad():
        image, text, _ = pairs.reference(pairs.images, pairs.texts)
    np.testing.assert_allclose(got["clip"], (image * text).sum(1), atol=1e-6)
    kept = read_embeddings(run)
    assert kept is not None
    assert kept.samples.tolist() == list(range(N))
    np.testing.assert_allclose(kept.image, image, atol=1e-3)
    one = manager.score(workspace, pairs.config(draws=1))
    assert DRAW_ERROR not in one.signals
    assert one.facts["draws"] == {"count": 1, "seed": 4}
    assert manager.score(workspace, pairs.config(draw_seed=5)).id != run.id


def test_a_pair_without_features_is_not_scored(tmp_path: Path, pairs: Captioned) -> None:
    workspace = Workspace(tmp_path)
    pairs.dataset(workspace, N + 2)
    run = manager.score(workspace, pairs.config())
    assert run.counts == {"scored": N, "not_scored": 2}
    with duckdb.connect(str(run.scores_file), read_only=True) as connection:
        reasons = connection.execute("SELECT id, reason FROM failures ORDER BY sample").fetchall()
    assert reasons == [(f"s{N + i}", "has no features in features.safetensors") for i in range(2)]


def test_further_signals(workspace: Workspace, pairs: Captioned) -> None:
    base = manager.score(workspace, pairs.config())
    assert set(possible(base)[0]) == set(FURTHER_PAIR_SIGNALS)
    run = add_signals(workspace, base, ["caption_knn", "specificity", "basic", "english", "caption_length"])
    got = scores(run)
    pd.testing.assert_frame_equal(got[scores(base).columns], scores(base))
    np.testing.assert_allclose(got["caption_knn"], neighbour_agreement(pairs.images.numpy(), pairs.texts.numpy()))
    assert got["specificity"].isna().sum() == 1  # sample 3 has no caption
    captions = [f"thing {i % 50}" for i in range(N) if i != 3]
    np.testing.assert_allclose(got["specificity"].dropna(), specificity(captions))
    assert run.facts["meanings"]["caption_knn"] == FURTHER_PAIR_SIGNALS["caption_knn"]
    with pytest.raises(MimicError, match="has no images, and sharpness is a picture's"):
        add_signals(workspace, base, ["sharpness"])
    with pytest.raises(MimicError, match="there is no further signal 'knn' of this run"):
        add_signals(workspace, base, ["knn"])


def test_pictures_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Workspace(tmp_path)
    demo.import_captions(place)
    base = manager.score(place, demo.captions_config().model_copy(update={"limit": 300}))
    first = add_signals(place, base, ["basic", "sharpness"])
    monkeypatch.setattr(caption_signals, "read_image", None)  # whoever calls it fails
    again = add_signals(place, base, ["sharpness", "basic"])
    assert again.id != first.id
    names = ["sharpness", "basic"]
    pd.testing.assert_frame_equal(*(read_parts(run, names).to_pandas() for run in (first, again)))


def test_training(workspace: Workspace, pairs: Captioned) -> None:
    asked = pairs.config().model_dump(include={"dataset", "model", "reference", "start", "loss", "features"})
    config = TrainConfig.checked(
        **asked, scope="projections", temperature=0.05, epochs=6, batch_size=20, lr=0.01, compare="uniform", seed=1
    )
    run = manage.train(workspace, config)
    with duckdb.connect(str(run.scores_file), read_only=True) as connection:
        means = connection.execute("SELECT sample, mimic_mean FROM scores ORDER BY sample").df()
        curves = connection.execute("SELECT arm, max(epoch) FROM curves GROUP BY arm ORDER BY arm").fetchall()
    assert [arm for arm, _ in curves] == ["grad_mimic", "uniform"]
    assert roc_auc_score(means["sample"] < SWAPPED, -means["mimic_mean"]) > 0.75


def test_pixels_and_tokens_of_open_clip(tmp_path: Path) -> None:
    """The same numbers as the library's own preprocessing and tokenizer give."""
    open_clip = open_clip_weights(tmp_path, "tiny-pairs")
    workspace = Workspace(tmp_path / "workspace")
    dataset = import_dataset(workspace, SHARDS, "emoji")[0]
    files = {name: str(tmp_path / f"{name}.safetensors") for name in ("start", "reference")}
    asked = {
        "dataset": "emoji",
        "model": "open_clip:tiny-pairs",
        "loss": "clip",
        "limit": 12,
        "batch_size": 4,
        "draws": 2,
    }
    run = manager.score(workspace, ScoreConfig.checked(**asked, **files))
    got = scores(run)
    assert run.counts == {"scored": 12, "not_scored": 0}
    reference, _, transform = open_clip.create_model_and_transforms("tiny-pairs")
    reference.load_state_dict(load_checkpoint(files["reference"]).tensors)
    inputs = read_inputs(dataset, got["sample"].to_numpy().astype(np.int32))
    images = torch.stack([transform(read_image(image_bytes(dataset.root, path))) for path in inputs.paths])
    with torch.no_grad():
        image, text, _ = reference.eval()(images, open_clip.get_tokenizer("tiny-pairs")(inputs.captions))
    np.testing.assert_allclose(got["clip"], (image * text).sum(1), atol=1e-5)
    assert run.facts["model"]["preprocess"]["size"] == [32, 32]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"loss": "cross_entropy", "signals": ("mimic",)}, "has captions, which loss cross_entropy does not read"),
        ({"features": None}, "brings no tokenizer, so it cannot read captions"),
        ({"model": "small:two-tower/9x5x4"}, "is of another architecture"),
        ({"model": "small:two-tower/9"}, "sizes are written small:two-tower/IMAGExTEXTxWIDTH"),
        ({"signals": ("mimic", "margin")}, "there is no signal 'margin'"),
        ({"scopes": ("last:1",)}, "two towers, so last:1 is unclear"),
    ],
)
def test_what_does_not_fit_is_said(workspace: Workspace, pairs: Captioned, settings, sentence: str) -> None:
    with pytest.raises(MimicError, match=sentence):
        manager.score(workspace, pairs.config(**settings))
    assert workspace.runs() == []


@pytest.mark.parametrize(("samples", "least"), [(1, 256), (257, 256), (1025, 256), (256_500, 257), (5000, 4999)])
def test_no_shard_is_much_smaller_than_the_others(samples: int, least: int) -> None:
    size = shard_size(samples, least)
    assert min(least, samples) <= size <= samples
    assert 2 * (samples % size or size) >= size


@pytest.mark.parametrize(("count", "size"), [(2, 128), (3, 1), (130, 128), (300, 128), (7, 2)])
def test_every_pair_is_dealt_once_a_draw(count: int, size: int) -> None:
    batches = dealt(count, size, [1, 2, 3])
    assert sorted(np.concatenate(batches)) == list(range(count))
    sizes = {len(batch) for batch in batches}
    assert min(sizes) >= 2
    assert max(sizes) - min(sizes) <= 1


def test_agreement_needs_half_of_the_draws() -> None:
    never, none = torch.tensor([False, False]), torch.full((2, 3), -1)
    draws = Draws(2)
    for agrees in ([True, False], [True, True], [False, False]):
        scored = BatchScores({"mimic": torch.zeros(2)}, none, none.float(), torch.tensor(agrees), never, (None, None))
        draws.add(np.array([0, 1]), scored)
    assert draws.reference_agrees.tolist() == [True, False]
    assert json.dumps(pair_worker.dependence(Run(Path("r"), {"signals": []}))) == "{}"
