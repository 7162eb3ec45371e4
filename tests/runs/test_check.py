"""The reference check on references whose worth is known: only the good one may pass."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from mimic.errors import MimicError
from mimic.evaluation.reference_check import check_reference
from mimic.models.build import build_model
from mimic.models.checkpoint import load_checkpoint, load_into
from mimic.runs.manager import score
from mimic.scores.scorer import SignalScorer
from mimic.workspace.layout import Workspace
from mimic.workspace.publish import read_parts
from tests.runs.conftest import JUDGED, MODEL, Digits, train

Save = Callable[[str, nn.Module], str]


def verdict(workspace: Workspace, digits: Digits, reference: str, **settings: object) -> str:
    check = score(workspace, digits.config(reference=reference, **settings)).check
    assert check is not None
    assert check["samples"] == JUDGED
    return str(check["verdict"])


def loaded(path: str) -> nn.Module:
    module = build_model(MODEL, 10).module
    load_into(module, load_checkpoint(path))
    return module


@pytest.mark.parametrize("scope", ["last", "full"])
def test_a_good_reference_is_good(scope: str, workspace: Workspace, digits: Digits) -> None:
    run = score(workspace, digits.config(scopes=(scope,)))
    check = run.check
    assert check is not None
    assert check["verdict"] == "Good"
    assert 0 < check["mean_low"] < check["mean"] < check["mean_high"]
    # cos(−ḡ, v) = mean score / ‖ḡ‖, exact on the samples that were drawn.
    assert check["gradient_samples"] == 64
    drawn = np.random.default_rng(0).permutation(JUDGED)[:64]
    scores = read_parts(run, ["sample", "mimic"]).sort_by("sample")["mimic"].to_numpy()
    assert check["cosine"] * check["gradient_norm"] == pytest.approx(scores[drawn].mean(), rel=1e-3)
    reference, given = loaded(digits.reference)(digits.pixels).argmax(1), digits.given
    assert check["reference_agreement"] == pytest.approx((reference == given).float().mean().item())
    start = loaded(digits.start)(digits.pixels).argmax(1)
    assert check["start_agreement"] == pytest.approx((start == given).float().mean().item())
    counts = np.bincount(given)
    assert check["majority_agreement"] == pytest.approx(counts.max() / JUDGED)
    assert check["majority_class"] == str(counts.argmax())


def test_none_of_twenty_random_references_passes(digits: Digits) -> None:
    start, labels = loaded(digits.start), digits.given.numpy()
    downhill = 0
    for seed in range(20):
        torch.manual_seed(seed)
        module = loaded(digits.start)
        scale = 10 ** np.random.default_rng(seed).uniform(-1.5, 0.5)
        module.head.weight.data += scale * torch.randn_like(module.head.weight)
        scorer = SignalScorer(start, module.state_dict(), "last", ("mimic", "margin"))
        found = scorer(digits.pixels, digits.given)
        check = check_reference(
            found.signals["mimic"].numpy(),
            (found.codes[:, 0] == digits.given).numpy(),
            (found.signals["margin"] > 0).numpy(),
            labels,
            scorer.directions[0].norm,
        )
        assert check.verdict == "Do not use"
        downhill += check.mean > 0
    assert downhill >= 4  # the mean score alone would have let these pass


def test_one_worse_than_the_start_is_refused(workspace: Workspace, digits: Digits, save: Save) -> None:
    worse = loaded(digits.reference)
    train(worse, digits.pixels, digits.truth - digits.truth % 3, epochs=6)  # knows four of the ten digits
    run = score(workspace, digits.config(reference=save("worse", worse)))
    assert run.check is not None
    assert run.check["reference_agreement"] < run.check["start_agreement"]
    assert run.check["verdict"] == "Do not use"


@pytest.mark.parametrize("scope", ["last", "full"])
def test_an_unrelated_training_run_is_refused(scope: str, workspace: Workspace, digits: Digits, save: Save) -> None:
    torch.manual_seed(1)
    unrelated = build_model(MODEL, 10).module  # an initialisation of its own: its weights mean something else
    train(unrelated, digits.pixels, digits.truth, epochs=6, seed=1)
    check = score(workspace, digits.config(reference=save("unrelated", unrelated), scopes=(scope,))).check
    assert check is not None
    assert check["verdict"] == "Do not use"
    assert abs(check["weights_cosine"]) < 0.2
    assert "share no coordinate system" in check["sentence"]


def test_from_another_start_even_downhill_is_refused(workspace: Workspace, digits: Digits, save: Save) -> None:
    torch.manual_seed(2)
    other = train(build_model(MODEL, 10).module, digits.pixels, digits.given, epochs=1)
    check = score(workspace, digits.config(start=save("other", other))).check
    assert check is not None
    assert (check["verdict"], "share no coordinate system" in check["sentence"]) == ("Do not use", True)


def test_a_start_that_knows_nothing_is_weak_at_most(workspace: Workspace, digits: Digits, save: Save) -> None:
    ignorant = loaded(digits.reference)
    nn.init.zeros_(ignorant.head.weight)
    check = score(workspace, digits.config(start=save("ignorant", ignorant))).check
    assert check is not None
    assert check["start_agreement"] <= check["majority_agreement"]
    assert check["weights_cosine"] is None  # the head is all that differs
    assert (check["verdict"], "the start knows no more" in check["sentence"]) == ("Weak", True)


def test_the_start_itself_is_an_error(workspace: Workspace, digits: Digits) -> None:
    with pytest.raises(MimicError, match="equals the start"):
        score(workspace, digits.config(reference=digits.start))
    assert workspace.runs() == []
