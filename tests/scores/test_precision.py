"""Half precision: how it is compared, when it is refused, and that it computes the same thing."""

from __future__ import annotations

import copy

import pytest
import torch

from mimic import Direction, mimic_scores
from mimic.errors import MimicError
from mimic.scores.precision import Agreement, agreement, check_agreement
from mimic.scores.scorer import SignalScorer


def test_agreement_counts_what_both_have():
    full = torch.tensor([1.0, 2.0, 3.0, 4.0, torch.nan])
    half = torch.tensor([1.0, 2.0, 3.0, 5.0, 9.0])
    got = agreement(half, full)
    assert got.samples == 4
    assert got.spearman == pytest.approx(1)
    assert got.relative_error == pytest.approx(1 / 30**0.5)
    assert agreement(-full, full).spearman == pytest.approx(-1)
    tied = agreement(torch.tensor([1.0, 1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 2.0, 3.0]))
    assert tied.spearman == pytest.approx(5 / 6)  # ranks ½ ½ 2 3 against 0 1½ 1½ 3, worked out by hand


def test_refusal_names_the_worst_signal():
    good, bad = Agreement(0.999, 0.01, 64), Agreement(0.97, 0.2, 64)
    check_agreement({"mimic": good})
    with pytest.raises(MimicError, match=r"64 samples by mimic_path otherwise .*Spearman 0\.970"):
        check_agreement({"mimic": good, "mimic_path": bad})


@pytest.mark.parametrize("scope", ["last", "full"])
@pytest.mark.parametrize("name", ["convnet", "attention"])
def test_bf16_ranks_like_fp32_and_says_so(make_case, name, scope):
    case = make_case(name, seed=1, batch=48)
    state = case.reference.state_dict()
    full = SignalScorer(case.start, state, scope)(case.images, case.labels).signals
    scorer = SignalScorer(case.start, state, scope, example=case.images, precision="bf16", force=True)
    assert scorer.agreements == {}  # one example is no comparison
    half = scorer(case.images, case.labels).signals
    assert set(scorer.agreements) == set(half)
    got = scorer.agreements["mimic"]
    assert (got.samples, got.spearman > 0.99, 1e-5 < got.relative_error < 0.05) == (48, True, True)
    torch.testing.assert_close(half["mimic"], full["mimic"], rtol=0.2, atol=0.1 * float(full["mimic"].std()))
    assert all(each.dtype == torch.float32 for each in case.start.parameters())


def test_the_direction_keeps_its_digits_in_a_half_precision_model(make_case):
    """v is taken from the full weights: rounding them first would bury a reference that lies near the start."""
    case = make_case("attention", seed=2, batch=48)
    near = {
        name: (each + 1e-3 * (case.reference.state_dict()[name] - each)) if each.is_floating_point() else each
        for name, each in case.start.state_dict().items()
    }
    direction = Direction.between(case.start, near, "full")
    full = mimic_scores(case.start, case.images, case.labels, direction)
    half = mimic_scores(copy.deepcopy(case.start).bfloat16(), case.images.bfloat16(), case.labels, direction)
    assert agreement(half, full).spearman > 0.99


def test_a_path_that_drowns_in_rounding_is_refused_unless_forced(make_case):
    case = make_case("attention", seed=3, batch=32)
    near = {
        name: (each + 1e-4 * (case.reference.state_dict()[name] - each)) if each.is_floating_point() else each
        for name, each in case.start.state_dict().items()
    }
    scorer = SignalScorer(case.start, near, "full", precision="bf16")
    with pytest.raises(MimicError, match="bf16 ranks 32 samples by mimic_path otherwise"):
        scorer(case.images, case.labels)
    with pytest.raises(MimicError, match="bf16 ranks 32 samples"):
        scorer(case.images, case.labels)  # and again: nothing slips through
    forced = SignalScorer(case.start, near, "full", precision="bf16", force=True)
    forced(case.images, case.labels)
    assert forced.agreements["mimic_path"].spearman < 0.99


def test_too_few_samples_check_nothing(make_case):
    case = make_case("attention", seed=3, batch=8)
    scorer = SignalScorer(case.start, case.reference.state_dict(), precision="bf16", force=True)
    scorer(case.images[:2], case.labels[:2])
    assert scorer.agreements == {}
    scorer(case.images, case.labels)
    assert scorer.agreements["mimic"].samples == 8


def test_unknown_precision(make_case):
    case = make_case("mlp", seed=4)
    with pytest.raises(MimicError, match="no precision 'fp8': one of fp32, bf16"):
        SignalScorer(case.start, case.reference.state_dict(), precision="fp8")
