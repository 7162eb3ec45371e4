"""Scopes: which parameters the direction and the gradient are taken over. Every scope is parsed here and nowhere else.

- ``last``: the final linear layer, weight and bias (the default)
- ``last-weight``: its weight matrix alone, as in the paper
- ``last:K``: the last K blocks of the network and everything behind them; the layers before run without tangents
- ``full``: every floating-point parameter; never a buffer, so running statistics stay the start's
- ``re:PATTERN``: every parameter whose name the regular expression finds, e.g. ``re:layer4.*conv``
- ``image-last``, ``text-last``: the last MLP layer in a two-tower model's image or text tower, weight and bias, as in
  the paper; in a tower without MLPs its last linear layer
- ``projections``: what brings a two-tower model's towers into their common space, one matrix each as a rule
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import nn

from mimic.errors import MimicError

SCOPES = ("last", "last-weight", "last:K", "full", "re:PATTERN", "image-last", "text-last", "projections")

# Where open_clip and Hugging Face keep their towers, open_clip's newer layout first.
_TOWERS = {"image-last": ("visual", "vision_model"), "text-last": ("text", "transformer", "text_model")}
# The last step into the common space: of open_clip's ViT, ResNet and timm towers, its text towers, Hugging Face's CLIP.
_PROJECTIONS = re.compile(
    r"(visual\.(proj|attnpool\.c_proj|head\.proj|head\.mlp\.fc2)|visual_projection"
    r"|(text\.)?text_projection|text\.proj(\.2)?)(\.weight|\.bias)?"
)


def check_scope(scope: str) -> None:
    """Refuses a scope that no model could have.

    Raises:
        MimicError: the scope is unknown, or its number or pattern is none; the message names what works.
    """
    if scope.startswith("last:"):
        if not re.fullmatch(r"last:[1-9][0-9]*", scope):
            raise MimicError(f"scope {scope!r} does not say how many blocks: last:1, last:2, …")
    elif scope.startswith("re:"):
        try:
            re.compile(scope[3:])
        except re.error as error:
            raise MimicError(f"scope {scope!r} is no regular expression ({error})") from None
    elif scope not in SCOPES:
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
    floating = [name for name, each in module.named_parameters() if each.is_floating_point()]
    if scope == "full":
        names = floating
    elif scope.startswith("re:"):
        names = [name for name in floating if re.search(scope[3:], name)]
    elif scope == "projections":
        names = [name for name in floating if _PROJECTIONS.fullmatch(name)]
    elif scope.startswith("last:"):
        names = _behind(module, int(scope[5:]), floating)
    else:
        layer = _linear_of(module, scope, head)
        members = {id(each) for name, each in layer.named_parameters() if scope != "last-weight" or name == "weight"}
        names = [name for name, each in module.named_parameters() if id(each) in members]
    if not names:
        raise MimicError(
            f"{type(module).__name__} has no parameters in scope {scope}: they are called {_some(floating)}"
        )
    return names


def blocks(module: nn.Module) -> list[str]:
    """Names of the network's blocks, in order: the compound members of its sequences, the outermost ones."""

    def walk(parent: nn.Module, prefix: str) -> Iterator[str]:
        for name, child in parent.named_children():
            full = f"{prefix}{name}"
            sequence = type(parent) in (nn.Sequential, nn.ModuleList)
            if sequence and type(child) not in (nn.Sequential, nn.ModuleList) and any(True for _ in child.children()):
                yield full
            else:
                yield from walk(child, f"{full}.")

    return list(walk(module, ""))


def _behind(module: nn.Module, count: int, floating: list[str]) -> list[str]:
    """The parameters registered from the count-th last block on."""
    if _tower(module, "image-last") is not None:
        raise MimicError(
            f"{type(module).__name__} has two towers, so last:{count} is unclear: image-last, text-last or re:…"
        )
    known = blocks(module)
    if len(known) < count:
        raise MimicError(
            f"{type(module).__name__} has {len(known) or 'no'} blocks, so there is no scope last:{count}: "
            f"use re:PATTERN over its parameters, called {_some(floating)}"
        )
    first = next(place for place, name in enumerate(floating) if name.startswith(f"{known[-count]}."))
    return floating[first:]


def _linear_of(module: nn.Module, scope: str, head: str | None) -> nn.Module:
    if needs_head(scope):
        if head is None:
            raise MimicError(f"scope {scope} needs the name of the final linear layer")
        return module.get_submodule(head)
    tower = _tower(module, scope)
    linear = [(name, each) for name, each in tower.named_modules() if isinstance(each, nn.Linear)] if tower else []
    if _tower(module, "image-last") is None or not linear:
        raise MimicError(
            f"{type(module).__name__} is no two-tower model with linear layers, so it has no scope {scope}"
        )
    return ([each for name, each in linear if "mlp" in name.split(".")] or [linear[-1][1]])[-1]


def _tower(module: nn.Module, scope: str) -> nn.Module | None:
    """A two-tower model's tower of images or texts; None where there is none."""
    found = (getattr(module, name, None) for name in _TOWERS[scope])
    return next((each for each in found if isinstance(each, nn.Module)), None)


def _some(names: list[str]) -> str:
    return ", ".join([*names[:2], "…", *names[-1:]]) if len(names) > 3 else ", ".join(names) or "nothing"
