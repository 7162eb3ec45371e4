import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mimic.errors import MimicError
from mimic.training.weights import Policy, geometric, uniform

SCORES = st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=24).map(
    lambda values: torch.tensor(values, dtype=torch.float64)
)
POLICIES = st.builds(
    Policy,
    name=st.sampled_from(["softmax", "clamp", "top", "uniform"]),
    temperature=st.floats(0.01, 100),
    share=st.floats(0.01, 1),
)


@settings(max_examples=200, deadline=None)
@given(POLICIES, SCORES)
def test_weights_are_a_distribution_that_grows_with_the_score(policy: Policy, scores: torch.Tensor) -> None:
    weights = policy(scores)
    assert (weights >= 0).all()
    assert math.isclose(float(weights.sum()), 1, rel_tol=1e-9)
    in_order = weights[scores.argsort()]
    assert (in_order.diff() >= -1e-12).all()
    for score in scores.unique():
        assert len(weights[scores == score].unique()) == 1  # equal samples are never told apart


@settings(max_examples=100, deadline=None)
@given(POLICIES, SCORES, st.randoms())
def test_the_order_of_the_batch_does_not_matter(policy: Policy, scores: torch.Tensor, random: object) -> None:
    order = torch.tensor(random.sample(range(len(scores)), len(scores)))  # type: ignore[attr-defined]
    torch.testing.assert_close(policy(scores[order]), policy(scores)[order])


@settings(max_examples=100, deadline=None)
@given(SCORES, st.floats(0.01, 10), st.floats(-20, 20), st.floats(0.1, 10))
def test_softmax_knows_differences_in_units_of_the_temperature(
    scores: torch.Tensor, temperature: float, shift: float, scale: float
) -> None:
    weights = Policy(temperature=temperature)(scores)
    torch.testing.assert_close(Policy(temperature=temperature)(scores + shift), weights, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(Policy(temperature=scale * temperature)(scale * scores), weights, rtol=1e-6, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(SCORES, st.floats(0.1, 10), st.sampled_from(["clamp", "top"]))
def test_clamp_and_top_know_no_unit(scores: torch.Tensor, scale: float, name: str) -> None:
    policy = Policy(name)  # type: ignore[arg-type]
    torch.testing.assert_close(policy(scale * scores), policy(scores))


def test_each_policy_by_hand() -> None:
    scores = torch.tensor([2.0, -1.0, 1.0, 1.0])
    torch.testing.assert_close(Policy("clamp")(scores), torch.tensor([0.5, 0.0, 0.25, 0.25]))
    torch.testing.assert_close(Policy("top", share=0.25)(scores), torch.tensor([1.0, 0.0, 0.0, 0.0]))
    torch.testing.assert_close(Policy("top", share=0.5)(scores), torch.tensor([1 / 3, 0.0, 1 / 3, 1 / 3]))  # a tie
    torch.testing.assert_close(Policy("uniform")(scores), torch.full((4,), 0.25))
    torch.testing.assert_close(Policy(temperature=1e-3)(scores), torch.tensor([1.0, 0.0, 0.0, 0.0]))
    torch.testing.assert_close(Policy(temperature=1e6)(scores), uniform(scores))
    torch.testing.assert_close(Policy("clamp")(-scores.abs()), uniform(scores))


def test_top_keeps_the_share_that_was_asked_for_despite_rounding() -> None:
    scores = torch.arange(10.0)
    assert [(Policy("top", share=tenths / 10)(scores) > 0).sum().item() for tenths in range(1, 11)] == [*range(1, 11)]


@pytest.mark.parametrize("name", ["softmax", "clamp", "top", "uniform"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_broken_score_is_not_swallowed(name: str, bad: float) -> None:
    weights = Policy(name)(torch.tensor([1.0, bad, 2.0]))  # type: ignore[arg-type]
    assert weights.isnan().any() or (name, bad) == ("softmax", -math.inf)


def test_the_temperature_can_move() -> None:
    policy = Policy(temperature=geometric(1.0, 0.01, steps=100))
    assert policy.temperature_at(0) == 1.0
    assert math.isclose(policy.temperature_at(50), 0.1)
    assert math.isclose(policy.temperature_at(500), 0.01)
    scores = torch.tensor([0.0, 0.1])
    assert policy(scores, 100)[1] > policy(scores, 0)[1]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"name": "soft"}, "softmax, clamp, top, uniform"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"share": 0.0}, "share"),
        ({"share": 1.5}, "share"),
    ],
)
def test_a_senseless_policy_is_refused(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(MimicError, match=named):
        Policy(**wrong)  # type: ignore[arg-type]


def test_a_schedule_that_turns_senseless_is_refused() -> None:
    with pytest.raises(MimicError, match="temperature is -1"):
        Policy(temperature=lambda step: 1.0 - step)(torch.zeros(3), step=2)
