"""The cosine variant: the score over the length of each sample's own gradient, against one backward() a sample."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimic import GradMimic
from mimic.errors import MimicError

from .conftest import Case, Step, brute_force, make_case, nearby


def cosines(step: Step, names: list[str]) -> Tensor:
    lengths = [torch.sqrt(sum(gradient[name].square().sum() for name in names)) for gradient in step.gradients]
    return step.scores / torch.stack(lengths)


def expected(case: Case, names: list[str]) -> Tensor:
    def losses(model: nn.Module) -> Tensor:
        return F.cross_entropy(model(case.images), case.labels, reduction="none")

    return cosines(brute_force(case.model, case.reference, names, losses), names)


@pytest.mark.parametrize("network", ["mlp", "convnet-group", "attention"])
@pytest.mark.parametrize(("scope", "names"), [("last", ["head.weight", "head.bias"]), ("last-weight", ["head.weight"])])
def test_the_last_layer_has_a_closed_form(network: str, scope: str, names: list[str]) -> None:
    case = make_case(network)
    reweight = GradMimic(case.model, case.state, scope=scope, variant="cosine")
    reweight(case.losses()).backward()
    assert reweight.method == "closed"
    torch.testing.assert_close(reweight.scores, expected(case, names), rtol=1e-9, atol=1e-12)
    assert reweight.scores.abs().max() <= 1


@pytest.mark.parametrize("network", ["mlp", "convnet", "convnet-group", "resnet20", "attention"])
def test_the_whole_model_by_one_backward_pass(network: str) -> None:
    """The first batch tries the methods, the second goes by the one that is kept."""
    case = make_case(network)
    names = [name for name, _ in case.model.named_parameters()]
    reweight = GradMimic(case.model, case.state, scope="full", variant="cosine")
    for _ in range(2):
        case.model.zero_grad()
        reweight.backward(case.losses())
        torch.testing.assert_close(reweight.scores, expected(case, names), rtol=1e-7, atol=1e-10)
    assert reweight.method == "backward"


@pytest.mark.parametrize("budget", [0, 2**30])
def test_whether_per_sample_gradients_are_made_or_not(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimic.training.bookkeeping.MEMORY", budget)
    monkeypatch.setattr("mimic.training.layers.POSITIONS", 2)
    monkeypatch.setattr("mimic.training.layers.CONVOLVED", 2)
    case = make_case("convnet-group")
    names = [name for name, _ in case.model.named_parameters()]
    reweight = GradMimic(case.model, case.state, scope="full", variant="cosine", method="backward")
    reweight.backward(case.losses())
    torch.testing.assert_close(reweight.scores, expected(case, names), rtol=1e-9, atol=1e-12)


def test_an_embedding_read_twice_in_a_text() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(12, 3)).double()
    case = Case(model, nearby(model), torch.tensor([[0, 0, 1], [2, 3, 4], [1, 1, 1]]), torch.tensor([0, 1, 2]))
    names = [name for name, _ in model.named_parameters()]
    reweight = GradMimic(model, case.state, scope="full", variant="cosine", method="backward")
    reweight.backward(case.losses())
    torch.testing.assert_close(reweight.scores, expected(case, names), rtol=1e-9, atol=1e-12)


def test_a_head_at_several_positions() -> None:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.tanh(self.body(x)))  # (B, T, K)

    torch.manual_seed(0)
    model = Tagger().double()
    reference, x, y = nearby(model), torch.randn(5, 7, 4).double(), torch.randint(3, (5, 7))

    def losses(model: nn.Module) -> Tensor:
        return F.cross_entropy(model(x).transpose(1, 2), y, reduction="none").mean(dim=1)

    names = ["head.weight", "head.bias"]
    reweight = GradMimic(model, reference.state_dict(), variant="cosine")
    reweight(losses(model))
    found = cosines(brute_force(model, reference, names, losses), names)
    torch.testing.assert_close(reweight.scores, found, rtol=1e-9, atol=1e-12)


def test_a_loss_that_couples_the_batch() -> None:
    case = make_case("mlp")

    def losses(model: nn.Module) -> Tensor:
        z = F.normalize(model(case.images), dim=1)
        return -(z @ z.T.roll(1, 1) * 3).log_softmax(dim=1).diagonal()

    names = ["head.weight", "head.bias"]
    reweight = GradMimic(case.model, case.state, variant="cosine")
    reweight(losses(case.model)).backward()
    found = cosines(brute_force(case.model, case.reference, names, losses), names)
    torch.testing.assert_close(reweight.scores, found, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("scope", ["last", "full"])
def test_a_scaler_changes_nothing(scope: str) -> None:
    case = make_case("mlp")
    scores = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=1024.0)):
        method = {"method": "backward"} if scope == "full" else {}
        reweight = GradMimic(case.model, case.state, scope=scope, variant="cosine", **method)
        reweight.backward(case.losses(), scaler=scaler)
        scores.append(reweight.scores)
        reweight.close()
        case.model.zero_grad()
    torch.testing.assert_close(*scores, rtol=1e-9, atol=1e-12)


def test_a_sample_without_a_gradient_scores_nought() -> None:
    case = make_case("mlp")
    reweight = GradMimic(case.model, case.state, variant="cosine")
    mask = torch.tensor([0.0, 1, 1, 1, 1, 1]).double()
    reweight(case.losses() * mask)
    assert reweight.scores[0] == 0
    assert reweight.scores[1:].abs().min() > 0


def test_where_no_sample_s_own_gradient_is_at_hand_it_says_so() -> None:
    case = make_case("convnet")
    case.model.train()  # batch statistics couple the samples
    reweight = GradMimic(case.model, case.state, scope="full", variant="cosine")
    with pytest.raises(MimicError, match="use scope last, or variant='mimic'"):
        reweight.backward(case.losses())
    with pytest.raises(MimicError, match="no variant='angle'"):
        GradMimic(case.model, case.state, variant="angle")
