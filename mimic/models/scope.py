"""Scopes: which parameters the direction and the gradient are taken over. Every scope is parsed here and nowhere else.

- ``last``: the final linear layer, weight and bias (the default)
- ``last-weight``: its weight matrix alone, as in the paper
- ``full``: every floating-point parameter; never a buffer, so running statistics stay the start's
"""

from __future__ import annotations

from torch import nn

from mimic.errors import MimicError

SCOPES = ("last", "last-weight", "full")


def check_scope(scope: str) -> None:
    """Refuses a scope that no model could have.

    Raises:
        MimicError: the scope is unknown; the message names what works.
    """
    if scope not in SCOPES:
        raise MimicError(f"there is no scope {scope!r}: one of {', '.join(SCOPES)}")


def needs_head(scope: str) -> bool:
    """Whether the scope is about the final linear layer."""
    return scope in ("last", "last-weight")


def scope_parameters(module: nn.Module, scope: str, head: str | None = None) -> list[str]:
    """The names of a scope's parameters, as in `module.named_parameters()`: a tied weight counts once.

    Args:
        module: the model.
        scope: see the module's list.
        head: the name of the final linear layer, for the scopes that are about it.

    Returns:
        Names in the model's own order; parameters with `requires_grad=False` belong to a scope like any other.

    Raises:
        MimicError: the scope is unknown, or the model has nothing in it.
    """
    check_scope(scope)
    if scope == "full":
        names = [name for name, each in module.named_parameters() if each.is_floating_point()]
    else:
        if head is None:
            raise MimicError(f"scope {scope} needs the name of the final linear layer")
        layer = module.get_submodule(head)
        members = {id(each) for name, each in layer.named_parameters() if scope == "last" or name == "weight"}
        names = [name for name, each in module.named_parameters() if id(each) in members]
    if not names:
        raise MimicError(f"{type(module).__name__} has no parameters in scope {scope}")
    return names
