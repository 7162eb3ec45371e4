import torch
from torch import Tensor, nn

from mimic.models.substitute import call_with


class Aliased(nn.Module):
    """A layer under two names, a weight in two layers, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        self.head = self.body[1]
        self.body[0].weight = self.head.weight
        self.register_buffer("shift", torch.zeros(4))

    def forward(self, x: Tensor, factor: float = 1.0) -> Tensor:
        return factor * self.body(x) + self.shift


def test_every_use_is_replaced_and_the_model_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    model, other = Aliased(), Aliased()
    x = torch.randn(3, 4)
    before = {name: id(each) for name, each in model.named_parameters(remove_duplicate=False)}
    plain = model(x)
    state = {name: each.detach() for name, each in other.named_parameters()} | {"shift": torch.ones(4)}
    other.shift.fill_(1)
    torch.testing.assert_close(call_with(model, state, (x,), {"factor": 2.0}), other(x, 2.0))
    assert {name: id(each) for name, each in model.named_parameters(remove_duplicate=False)} == before
    assert all(each.requires_grad for each in model.parameters())
    torch.testing.assert_close(model(x), plain)
