"""Signals of images with captions: each its own definition, the Mimic Score a loop of backward() over whole batches."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mimic.errors import MimicError
from mimic.losses import LOSSES
from mimic.scores import DEFAULT_PAIR_SIGNALS, DRAW_ERROR, PAIR_SIGNALS
from mimic.scores.pairs import BATCH_PAIR_SIGNALS, Embedded
from mimic.scores.scorer import SignalScorer

PAIRS = 6
OF_A_BATCH = [name for name in PAIR_SIGNALS if name != DRAW_ERROR]


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8)
        self.mlp = nn.Sequential(nn.Linear(8, 10), nn.GELU(), nn.Linear(10, 5))

    def forward(self, texts):
        return self.mlp(self.words(texts).mean(dim=1))


class TwoTowers(nn.Module):
    """Images of 9 numbers, texts of 4 words; features of 5."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Sequential(nn.Linear(9, 12), nn.Tanh(), nn.Linear(12, 5))
        self.text = Text()
        self.logit_scale, self.logit_bias = nn.Parameter(torch.tensor(1.5)), nn.Parameter(torch.tensor(-2.0))

    def forward(self, images, texts):
        features = F.normalize(self.visual(images), dim=1), F.normalize(self.text(texts), dim=1)
        return *features, self.logit_scale.exp(), self.logit_bias


@pytest.fixture
def towers():
    torch.manual_seed(0)
    start = TwoTowers()
    reference = copy.deepcopy(start)
    with torch.no_grad():
        for each in reference.parameters():
            each += 0.3 * torch.randn_like(each)
    return start, reference, (torch.randn(PAIRS, 9), torch.randint(11, (PAIRS, 4)))


def backward_scores(start, reference, inputs, loss, names):
    """⟨−∇ℓ_i, v⟩ / ‖v‖ in float64: every pair's loss is the whole batch's, so one backward() a pair over all of it."""
    start, reference = copy.deepcopy(start).double(), copy.deepcopy(reference).double()
    here, there = dict(start.named_parameters()), dict(reference.named_parameters())
    v = {name: (there[name] - here[name]).detach() for name in names}
    norm = torch.sqrt(sum(each.square().sum() for each in v.values()))
    losses = loss(start(inputs[0].double(), inputs[1]), None)
    weights = [here[name] for name in v]
    gradients = [torch.autograd.grad(each, weights, retain_graph=True, materialize_grads=True) for each in losses]
    return torch.stack(
        [-sum((g * each).sum() for g, each in zip(one, v.values(), strict=True)) / norm for one in gradients]
    )


def in_scope(scope, module):
    inside = {
        "image-last": "visual.2.",
        "text-last": "text.mlp.2.",
        "full": "",
        "re:logit|visual.0": ("logit", "visual.0"),
    }
    return [name for name, _ in module.named_parameters() if name.startswith(inside[scope])]


@pytest.mark.parametrize("loss", ["clip", "siglip"])
@pytest.mark.parametrize("scope", ["image-last", "text-last", "full", "re:logit|visual.0"])
def test_every_signal_is_its_definition(towers, loss, scope):
    start, reference, inputs = towers
    scorer = SignalScorer(start, reference.state_dict(), scope, OF_A_BATCH, loss, example=inputs)
    got = scorer(inputs)
    names = in_scope(scope, start)
    assert set(scorer.directions[0].tensors) == set(names)
    expected = backward_scores(start, reference, inputs, LOSSES[loss], names)
    torch.testing.assert_close(got.signals["mimic"].double(), expected, rtol=1e-5, atol=1e-6)
    end = copy.deepcopy(start)
    end.load_state_dict({name: reference.state_dict()[name] for name in names}, strict=False)
    with torch.no_grad():
        here, there, end = (model(*inputs) for model in (start, reference, end))
    sums = {name: LOSSES[loss](each, None) for name, each in {"start": here, "reference": there, "end": end}.items()}
    cosines = there[0] @ there[1].T
    others = (cosines * there[2]).logsumexp(1) / 2 + (cosines * there[2]).logsumexp(0) / 2
    expected = {
        "clip": cosines.diagonal(),
        "clip_start": (here[0] * here[1]).sum(1),
        "neg_clip_loss": cosines.diagonal() - others / there[2],
        "ref_logprob": -sums["reference"],
        "logprob": -sums["start"],
        "rho": sums["start"] - sums["reference"],
        "mimic_path": (sums["start"] - sums["end"]) / scorer.directions[0].norm,
    }
    assert set(expected) | {"mimic"} == set(got.signals)
    for name, values in expected.items():
        torch.testing.assert_close(got.signals[name], values, rtol=1e-5, atol=1e-6, msg=name)


def test_pairs_have_no_predictions(towers):
    start, reference, inputs = towers
    got = SignalScorer(start, reference.state_dict(), ["image-last", "text-last"], loss="clip")(inputs)
    both = {"mimic", "mimic_path", "mimic_text_last", "mimic_path_text_last"}
    assert set(got.signals) == set(DEFAULT_PAIR_SIGNALS) | both
    assert (got.codes == -1).all()
    assert got.logprobs.isnan().all()
    assert got.reasons == (None,) * PAIRS
    assert got.codes.shape == got.logprobs.shape == (PAIRS, 3)


@pytest.mark.parametrize(("method", "error"), [("auto", 1e-5), ("difference", 1e-2)])  # rounding by a short step
def test_embedded_pairs_can_be_regrouped(towers, method, error):
    start, reference, _ = towers
    inputs = torch.randn(9, 9), torch.randint(11, (9, 4))
    scorer = SignalScorer(start, reference.state_dict(), ["full", "image-last"], OF_A_BATCH, "clip", method)
    pieces = [scorer.embed(tuple(each[some] for each in inputs)) for some in (slice(0, 4), slice(4, 9))]
    together = Embedded.joined(pieces)
    assert (len(together), [len(each) for each in pieces]) == (9, [4, 5])
    drawn = torch.tensor([8, 0, 3, 5])
    expected = scorer(tuple(each[drawn] for each in inputs))
    got = scorer.judge(together.rows(drawn))
    for name, values in expected.signals.items():
        torch.testing.assert_close(got.signals[name], values, rtol=error, atol=error * float(values.abs().max()))
    assert torch.equal(got.reference_agrees, expected.reference_agrees)


def test_a_model_agrees_where_the_own_caption_is_nearest(towers):
    start, reference, inputs = towers
    got = SignalScorer(start, reference.state_dict(), "full", loss="clip")(inputs)
    for model, agrees in ((start, got.start_agrees), (reference, got.reference_agrees)):
        images, texts, *_ = model(*inputs)
        assert agrees.tolist() == [int((texts @ image).argmax()) == i for i, image in enumerate(images)]


def test_half_precision_leaves_words_whole(towers):
    start, reference, inputs = towers
    scorer = SignalScorer(start, reference.state_dict(), "full", loss="clip", precision="bf16", force=True)
    full = SignalScorer(start, reference.state_dict(), "full", loss="clip")(inputs).signals["mimic"]
    torch.testing.assert_close(scorer(inputs).signals["mimic"], full, rtol=0.1, atol=0.1 * float(full.abs().max()))
    assert set(scorer.agreements) == set(DEFAULT_PAIR_SIGNALS)


def test_refusals(towers):
    start, reference, inputs = towers
    state = reference.state_dict()
    with pytest.raises(MimicError, match="no signal 'margin': one of mimic, mimic_path, clip, "):
        SignalScorer(start, state, "full", ["margin"], "clip")
    with pytest.raises(MimicError, match="a loss of pairs takes no labels"):
        SignalScorer(start, state, "full", loss="clip")(inputs, torch.zeros(PAIRS, dtype=torch.long))
    with pytest.raises(MimicError, match="the loss reads labels: give them"):
        SignalScorer(start.visual, reference.visual.state_dict())(inputs[0])


def test_every_signal_has_a_meaning_and_a_function():
    assert set(OF_A_BATCH) == set(BATCH_PAIR_SIGNALS) | {"mimic", "mimic_path"}
    assert set(DEFAULT_PAIR_SIGNALS) <= set(PAIR_SIGNALS)
