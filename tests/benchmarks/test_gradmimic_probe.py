"""Heads trained side by side are the heads that an ordinary loop trains, with the product's own GradMimic in it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from benchmarks.gradmimic_probe import Data, Recipe, blurred, train
from benchmarks.gradmimic_weights import Arm, matching
from mimic import GradMimic
from mimic.scores.heads import Head
from mimic.training.weights import Policy

torch.set_num_threads(1)
RECIPE = Recipe(epochs=2, batch=8, rate=1e-2, points=4)


def small_data() -> Data:
    made = torch.Generator().manual_seed(0)
    features, labels = torch.randn(28, 6, generator=made), torch.randint(3, (28,), generator=made)
    references = {
        name: Head(torch.randn(3, 6, generator=made), torch.randn(3, generator=made)) for name in ("one", "two")
    }
    other = torch.randint(3, (28,), generator=made)
    validation = (torch.randn(20, 6, generator=made), torch.randint(3, (20,), generator=made))
    return Data(
        features,
        {"given": labels, "other": other},
        3,
        torch.randn(15, 6, generator=made),
        {"": torch.randint(3, (15,), generator=made)},
        references,
        {"one": validation},
        {"kept": torch.arange(28) % 3 > 0},
    )


def ordinary(data: Data, arm: Arm) -> tuple[torch.nn.Linear, torch.Tensor]:
    """The same in a loop as anyone would write it; also the scores (N, epochs)."""
    model = torch.nn.Linear(6, 3)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    reference = data.references[arm.reference]
    reweight = GradMimic(
        model, {"weight": reference.weight, "bias": reference.bias}, temperature=arm.policy.temperature,
        scope=arm.scope, policy=arm.policy.name, share=arm.policy.share,
    )  # fmt: skip
    optimiser = torch.optim.AdamW(model.parameters(), lr=RECIPE.rate)
    order = torch.Generator().manual_seed(7)
    scores = torch.zeros(len(data.features), RECIPE.epochs)
    for epoch in range(RECIPE.epochs):
        for rows in torch.randperm(len(data.features), generator=order).split(RECIPE.batch):
            losses = F.cross_entropy(model(data.features[rows]), data.labels[arm.labels][rows], reduction="none")
            optimiser.zero_grad()
            reweight(losses).backward()
            scores[rows, epoch] = reweight.scores
            optimiser.step()
    return model, scores


@pytest.mark.filterwarnings("ignore:the mean Mimic Score")
def test_every_policy_and_scope_is_what_gradmimic_does_in_an_ordinary_loop():
    data = small_data()
    policies = [Policy(), Policy(temperature=0.2), Policy("clamp"), Policy("top", share=0.3), Policy("uniform")]
    arms = [
        Arm("", "mimic", labels, reference, policy, scope=scope, record=True)
        for policy in policies
        for labels, reference, scope in (("given", "one", "last"), ("other", "two", "last-weight"))
    ]
    for trained in train(data, arms, RECIPE, seed=7):
        model, scores = ordinary(data, trained.arm)
        torch.testing.assert_close(trained.head.weight, model.weight.detach(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(trained.head.bias, model.bias.detach(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(trained.scores, scores, rtol=1e-4, atol=1e-5)
        right = (model(data.test_features).argmax(dim=1) == data.test_labels[""]).float().mean()
        assert trained.accuracy == pytest.approx(float(right))


def test_an_arm_does_not_depend_on_its_neighbours():
    data = small_data()
    asked = [Arm("a", "mimic", "given", "one"), Arm("b", "uniform", "other"), Arm("c", "agra", "given")]
    asked += [Arm("d", "influence", "given", "one", Policy("clamp")), Arm("e", "rho", "given", "two")]
    together = {each.arm.name: each for each in train(data, asked, RECIPE, seed=7)}
    for arm in asked:
        (alone,) = train(data, [arm], RECIPE, seed=7)
        torch.testing.assert_close(alone.head.weight, together[arm.name].head.weight, rtol=1e-4, atol=1e-6)
        assert alone.losses == pytest.approx(together[arm.name].losses, rel=1e-4)


def gradients(model: torch.nn.Linear, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(B, P), one backward a sample."""
    rows = []
    for h, y in zip(features, labels, strict=True):
        found = torch.autograd.grad(F.cross_entropy(model(h[None]), y[None]), list(model.parameters()))
        rows.append(torch.cat([each.flatten() for each in found]))
    return torch.stack(rows)


@pytest.mark.parametrize("kind", ["influence", "agra", "grand", "cosine", "rho", "reference_loss"])
def test_the_rivals_weights_by_brute_force(kind, monkeypatch):
    from benchmarks import gradmimic_probe, gradmimic_weights

    data, seen = small_data(), []
    own = "mimic" if kind == "cosine" else kind
    plain = gradmimic_weights.WEIGHERS[own]

    def spy(batch):
        weights = plain(batch)
        seen.append((batch, batch.compare(batch.arms[0]), [each.clone() for each in batch.own], weights))
        return weights

    monkeypatch.setitem(gradmimic_probe.WEIGHERS, own, spy)
    train(data, [Arm("", own, "given", "one", Policy(), cosine=kind == "cosine")], RECIPE, seed=7)
    batch, (features, labels), (weight, bias), weights = seen[-1]
    model = torch.nn.Linear(6, 3)
    model.load_state_dict({"weight": weight[0], "bias": bias[0]})
    given = data.labels["given"][batch.rows]
    per_sample = gradients(model, batch.features, given)
    reference = data.references["one"]
    their_losses = F.cross_entropy(reference(batch.features), given, reduction="none")
    losses = F.cross_entropy(model(batch.features), given, reduction="none").detach()
    if kind in ("influence", "agra"):
        inner = per_sample @ gradients(model, features, labels).mean(dim=0)
        kept = (inner > 0).float()
        expected = inner.softmax(dim=0) if kind == "influence" else kept / kept.sum().clamp_min(1)
    elif kind == "grand":
        expected = (per_sample.norm(dim=1) / per_sample.norm(dim=1).mean()).softmax(dim=0)
    elif kind == "cosine":
        v = torch.cat([(reference.weight - weight[0]).flatten(), reference.bias - bias[0]])
        expected = (-F.cosine_similarity(per_sample, v[None])).softmax(dim=0)
    else:
        expected = ((losses if kind == "rho" else 0) - their_losses).softmax(dim=0)
    torch.testing.assert_close(weights[0], expected, rtol=1e-4, atol=1e-5)


def test_matching_pursuit_finds_the_samples_that_a_gradient_was_made_of():
    made = torch.Generator().manual_seed(1)
    samples = torch.linalg.qr(torch.randn(12, 12, generator=made))[0]
    wanted = torch.zeros(12)
    wanted[[2, 5, 9]] = torch.tensor([0.5, 0.3, 0.2])
    target = wanted @ samples
    weights = matching((samples @ samples.T)[None], (samples @ target)[None], picks=3)[0]
    torch.testing.assert_close(weights, wanted, atol=1e-5, rtol=0)
    assert matching(torch.eye(4)[None], -torch.ones(1, 4), picks=2)[0].tolist() == [0.25] * 4


def test_a_subset_trains_on_its_own_samples_only():
    data = small_data()
    kept = data.kept["kept"]
    arm = Arm("", "subset", "given", "kept")
    (first,) = train(data, [arm], RECIPE, seed=7)
    changed = torch.where(kept, data.labels["given"], (data.labels["given"] + 1) % 3)
    (second,) = train(replace(data, labels={"given": changed}), [arm], RECIPE, seed=7)
    torch.testing.assert_close(first.head.weight, second.head.weight)


def test_distilling_fully_ignores_the_labels_and_blurring_adds_what_it_says():
    data = small_data()
    pair = [Arm(labels, "uniform", labels, "one", taught=1.0) for labels in ("given", "other")]
    first, second = train(data, pair, RECIPE, seed=7)
    torch.testing.assert_close(first.head.weight, second.head.weight)
    head = Head(torch.randn(10, 500), torch.zeros(10))
    assert float((blurred(head, 0.5, 0).weight - head.weight).std()) == pytest.approx(0.5, rel=0.05)
