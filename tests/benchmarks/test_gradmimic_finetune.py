"""Full fine-tuning: every arm runs with the product's own re-weighter, and the scores' table is right by hand."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from benchmarks import gradmimic_finetune as tuning
from benchmarks import gradmimic_report as reports
from benchmarks.gradmimic_data import Pictures
from mimic import Direction, mimic_scores

torch.set_num_threads(1)
RECIPE = tuning.Recipe(photos=40, tested=20, looked=30, start=1, further=1, epochs=1, batch=20, rate=1e-2)


def pictures() -> Pictures:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 10, 160)
    pixels = (rng.integers(0, 60, (160, 12, 12)) + 15 * truth[:, None, None]).astype(np.uint8)
    return Pictures("fashion", pixels, truth, 10, 20, {})


@pytest.fixture(scope="module")
def setups():
    return tuning.prepare(pictures(), "convnet", 0, RECIPE)


def test_parts_do_not_overlap_and_the_test_photos_keep_their_labels(setups):
    given = pictures()
    for version, setup in setups.items():
        assert len(setup.judged.labels) == 40
        assert setup.wrong.mean() == pytest.approx(0.5 if version.startswith("sym") else 0.25, abs=0.2)
        assert setup.test.labels.tolist() == given.truth[140:].tolist()
    one, two = setups.values()
    assert one.start is two.start
    order = np.random.default_rng(1).permutation(140)
    assert len(set(order[:40]) | set(order[40:80]) | set(order[80:120])) == 120


def test_the_heads_cosine_is_the_score_over_the_gradients_length(setups):
    setup = setups["symmetric 0.5"]
    images, labels = setup.judged.images[:6], setup.judged.labels[:6]
    model = copy.deepcopy(setup.start).eval()
    direction = Direction.between(model, setup.reference.state_dict(), scope="last")
    scores = mimic_scores(model, images, labels, direction)
    lengths = []
    for i in range(6):
        loss = F.cross_entropy(model(images[i : i + 1]), labels[i : i + 1])
        found = torch.autograd.grad(loss, list(model.head.parameters()))
        lengths.append(torch.cat([each.flatten() for each in found]).norm())
    cosine = tuning.last_cosine(model, setup.reference.head, images, labels)
    torch.testing.assert_close(cosine, scores / torch.stack(lengths), rtol=1e-4, atol=1e-5)


def test_every_arm_and_every_look():
    found = tuning.finetune(pictures(), "convnet", 0, RECIPE)
    names = [row["arm"] for row in found["arms"] if row["labels"] == "symmetric 0.5"]
    assert len(names) == len(set(names))
    assert {"SGD", "start", "reference", "RHO-loss", "distilled", "Grad-Mimic, full", "Grad-Mimic, last"} <= set(names)
    assert all(0 <= row["accuracy"] <= 100 for row in found["arms"])
    looked = [row for row in found["scores"] if row["labels"] == "symmetric 0.5"]
    assert {row["epoch"] for row in looked} == {0, 1}
    assert {"full", "last, cosine", "full, the reference's statistics"} <= {row["score"] for row in looked}
    arms, scores = pd.DataFrame(found["arms"]), pd.DataFrame(found["scores"])
    shown = reports.finetuning(arms.assign(exhausted=None), scores, write=False)
    assert "| Grad-Mimic, full |" in shown
    assert "it never happened" in shown


def test_the_reference_s_statistics_are_taken_over(setups):
    setup = setups["symmetric 0.5"]
    changed = tuning.with_statistics(setup.start, setup.reference)
    assert torch.equal(changed.body[1].running_mean, setup.reference.body[1].running_mean)
    assert torch.equal(changed.body[0].weight, setup.start.body[0].weight)
    assert not torch.equal(changed.body[1].running_mean, setup.start.body[1].running_mean)
