"""All signals of one batch: each equal to its own definition, at no more passes than needed."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from mimic import Direction, mimic_scores
from mimic.errors import MimicError
from mimic.scores import DEFAULT_SIGNALS, SIGNALS
from mimic.scores.logits import BATCH_SIGNALS
from mimic.scores.scorer import SignalScorer


def count_passes(module):
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize("scope", ["last", "last-weight", "full"])
@pytest.mark.parametrize("name", ["mlp", "convnet", "attention"])
@pytest.mark.parametrize("head_only", [True, False])
def test_every_signal_is_its_definition(make_case, name, scope, head_only):
    case = make_case(name, seed=1, head_only=head_only)
    scorer = SignalScorer(case.start, case.reference.state_dict(), scope, example=case.images)
    got = scorer(case.images, case.labels)
    assert tuple(got.signals) == DEFAULT_SIGNALS
    assert all(each.dtype == torch.float32 for each in got.signals.values())
    assert got.reasons == (None,) * 5
    direction = Direction.between(case.start, case.reference.state_dict(), scope)
    end = copy.deepcopy(case.start)
    end.load_state_dict({name: case.reference.state_dict()[name] for name in direction.tensors}, strict=False)
    rows = torch.arange(5)
    with torch.no_grad():
        start, reference, end = (model(case.images) for model in (case.start, case.reference, end))
    others = start.clone()
    others[rows, case.labels] = -torch.inf
    saved = F.cross_entropy(start, case.labels, reduction="none") - F.cross_entropy(end, case.labels, reduction="none")
    expected = {
        "mimic": mimic_scores(case.start, case.images, case.labels, direction),
        "ref_logprob": reference.log_softmax(1)[rows, case.labels],
        "logprob": start.log_softmax(1)[rows, case.labels],
        "margin": start[rows, case.labels] - others.max(1).values,
        "mimic_path": saved / direction.norm,
    }
    for signal, values in expected.items():
        torch.testing.assert_close(got.signals[signal], values, rtol=1e-5, atol=1e-6, msg=signal)
    top = reference.log_softmax(1).topk(3)
    assert torch.equal(got.codes, top.indices)
    torch.testing.assert_close(got.logprobs, top.values)
    assert torch.equal(got.reference_agrees, top.indices[:, 0] == case.labels)
    assert torch.equal(got.start_agrees, start.argmax(1) == case.labels)


def test_signals_of_the_last_layer_come_from_the_same_pass(make_case):
    case = make_case("convnet", seed=9)
    scorer = SignalScorer(case.start, case.reference.state_dict(), signals=list(SIGNALS), example=case.images)
    passes = count_passes(case.start.head)
    got = scorer(case.images, case.labels).signals
    assert (set(got), len(passes)) == (set(SIGNALS), 2)
    head = list(case.start.head.parameters())
    for i in range(5):
        loss = F.cross_entropy(case.start(case.images[i : i + 1]), case.labels[i : i + 1])
        g, w = (torch.cat([t.flatten() for t in each]) for each in (torch.autograd.grad(loss, head), head))
        assert got["neg_grad_norm"][i].item() == pytest.approx(-g.norm().item(), rel=1e-5)
        assert got["alignment_self"][i].item() == pytest.approx(-F.cosine_similarity(g, w, dim=0).item(), abs=1e-5)


def test_a_shared_backbone_costs_one_pass(make_case):
    case = make_case("attention", seed=2, head_only=True)
    scorer = SignalScorer(case.start, case.reference.state_dict(), ["last", "full"], example=case.images)
    passes = count_passes(case.start.head)
    scorer(case.images, case.labels)
    assert len(passes) == 1


def test_another_backbone_costs_one_more(make_case):
    case = make_case("attention", seed=2)
    scorer = SignalScorer(case.start, case.reference.state_dict(), ["last", "full"], example=case.images)
    passes = count_passes(case.start.head)
    scorer(case.images, case.labels)  # the path of scope full ends at the reference itself
    assert len(passes) == 2


def test_further_scopes_add_named_columns(make_case):
    case = make_case("convnet", seed=3)
    state = case.reference.state_dict()
    got = SignalScorer(case.start, state, ["last", "full", "last-weight"])(case.images, case.labels).signals
    assert set(got) == set(DEFAULT_SIGNALS) | {
        "mimic_full", "mimic_path_full", "mimic_last_weight", "mimic_path_last_weight"
    }  # fmt: skip
    for scope, name in [("full", "mimic_full"), ("last-weight", "mimic_last_weight")]:
        alone = SignalScorer(case.start, state, scope)(case.images, case.labels).signals
        torch.testing.assert_close(got[name], alone["mimic"])
        torch.testing.assert_close(got[name.replace("mimic", "mimic_path")], alone["mimic_path"])


def test_method_is_settled_by_an_example(make_case):
    case = make_case("convnet", seed=4)
    state = case.reference.state_dict()
    closed = SignalScorer(case.start, state, "last", example=torch.zeros(1, 1, 12, 12))
    assert (closed.method, "'head'" in closed.method_reason) == ("closed", True)
    full = SignalScorer(case.start, state, "full", example=torch.zeros(1, 1, 12, 12))
    assert (full.method, full.method_reason.split(",")[0]) == ("jvp", "forward mode")
    assert SignalScorer(case.start, state, "last", ["margin"]).method == ""


def test_columns_are_known_before_any_batch(make_case):
    case = make_case("mlp", seed=4)
    scorer = SignalScorer(case.start, case.reference.state_dict(), ["last", "full"], ["margin", "mimic"])
    assert scorer.columns == ["margin", "mimic", "mimic_full"] == list(scorer(case.images, case.labels).signals)


def test_an_example_decides_nothing_that_depends_on_data(make_case):
    """The step of a difference comes from the first samples given, so whoever resumes gives those first again."""
    case = make_case("convnet-group", seed=4, batch=12)
    state, blank = case.reference.state_dict(), torch.zeros(1, 1, 12, 12)
    first, later = slice(0, 6), slice(6, 12)
    uninterrupted = SignalScorer(case.start, state, "full", method="difference", example=blank)
    assert "step" not in uninterrupted.method_reason
    uninterrupted(case.images[first], case.labels[first])
    assert "step" in uninterrupted.method_reason
    expected = uninterrupted(case.images[later], case.labels[later]).signals["mimic"]
    resumed = SignalScorer(case.start, state, "full", method="difference", example=blank)
    resumed(case.images[first], case.labels[first])
    assert torch.equal(resumed(case.images[later], case.labels[later]).signals["mimic"], expected)


def test_the_path_says_where_it_ends(make_case):
    torch.manual_seed(0)
    case = make_case("convnet", seed=5)
    case.reference.train()(torch.randn(8, 1, 12, 12))  # its running statistics move
    state = case.reference.eval().state_dict()
    assert "start's running statistics" in SignalScorer(case.start, state, "full").path_note
    assert "scope last replaced" in SignalScorer(case.start, state, "last").path_note
    group = make_case("convnet-group", seed=5)
    assert SignalScorer(group.start, group.reference.state_dict(), "full").path_note is None
    head_only = make_case("convnet", seed=5, head_only=True)
    assert SignalScorer(head_only.start, head_only.reference.state_dict(), "last").path_note is None


def test_unscored_samples_get_nan_and_a_reason(make_case):
    case = make_case("mlp", seed=6)
    labels = case.labels.clone()
    labels[0] = -1
    case.images[2] = torch.nan
    scorer = SignalScorer(case.start, case.reference.state_dict())
    got = scorer(case.images, labels)
    assert got.reasons == ("has no label", None, "the model gave no finite value", None, None)
    for values in got.signals.values():
        assert values.isnan().tolist() == [True, False, True, False, False]
    assert got.codes[0].min() >= 0  # what the reference sees needs no label
    assert got.codes[2].tolist() == [-1, -1, -1]
    assert got.logprobs[2].isnan().all()


def test_two_classes_have_two_predictions(make_case):
    case = make_case("mlp", seed=7, classes=2)
    got = SignalScorer(case.start, case.reference.state_dict())(case.images, case.labels)
    assert (got.codes[:, 2] == -1).all()
    assert got.logprobs[:, 2].isnan().all()
    assert sorted(got.codes[0, :2].tolist()) == [0, 1]


def test_refusals(make_case):
    case = make_case("mlp", seed=8)
    with pytest.raises(MimicError, match="no signal 'luck': one of mimic, mimic_path, ref_logprob"):
        SignalScorer(case.start, case.reference.state_dict(), signals=["luck"])
    with pytest.raises(MimicError, match="reference equals the start over scope last"):
        SignalScorer(case.start, case.start.state_dict())
    with pytest.raises(MimicError, match="label 9 has no output: the model has 7"):
        SignalScorer(case.start, case.reference.state_dict())(case.images, torch.full((5,), 9))


def test_every_signal_has_a_meaning_and_a_function():
    assert set(SIGNALS) == set(BATCH_SIGNALS) | {"mimic", "mimic_path"}
