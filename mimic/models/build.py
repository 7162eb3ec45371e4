"""From a spec, one string, to a model with its preprocessing. The weights come afterwards, from a checkpoint.

- ``small:NAME``: one of our small networks, see `mimic.models.small`; ``small:two-tower``: see `mimic.models.two_tower`
- ``module:pkg.mod:factory``: anybody's code; factory(num_classes) or factory() gives a module, or (module, Preprocess)
- ``timm:NAME``, ``torchvision:NAME[/WEIGHTS]``, ``open_clip:NAME[/PRETRAINED]``, ``hf:FOLDER-OR-ID``:
  other libraries' models, see `mimic.models.hub`
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from mimic.errors import MimicError
from mimic.models.hub import Built, Tokenize, build_hf, build_open_clip, build_timm, build_torchvision
from mimic.models.preprocess import Preprocess
from mimic.models.small import SMALL, small_preprocess
from mimic.models.two_tower import SMALL_TWO_TOWER, build_two_tower


@dataclass(frozen=True)
class BuiltModel:
    """A model in eval mode, what it expects of its pixels, and the spec that names it.

    `preprocess` is None where nothing says it: whoever reads images then has to ask for it. `tokenize` turns captions
    into (B, T) int64 for models that take them, and is None for others.
    """

    module: nn.Module
    preprocess: Preprocess | None
    spec: str
    tokenize: Tokenize | None = None


def build_model(spec: str, num_classes: int, pretrained: bool = False) -> BuiltModel:
    """Builds a model: with freshly initialised weights, or with those that its library has for it.

    Args:
        spec: ``PREFIX:REST``, see the module's list.
        num_classes: K, the number of outputs wanted; 0 for images with captions, which have no classes. Weights of a
            library keep the outputs they were trained for.
        pretrained: whether to fetch the library's weights, from its cache or the network.

    Returns:
        The model, in eval mode, on the CPU.

    Raises:
        MimicError: the spec does not parse, import or build.
    """
    prefix, _, rest = spec.partition(":")
    if prefix not in SPECS or not rest:
        known = ", ".join(f"{each}:…" for each in SPECS)
        raise MimicError(f"{spec!r} names no model: a spec is one of {known}")
    module, preprocess, tokenize = SPECS[prefix](rest, num_classes, pretrained)
    return BuiltModel(module.eval(), preprocess, spec, tokenize)


def _build_small(name: str, num_classes: int, pretrained: bool) -> Built:
    towers = name.partition("/")[0] == SMALL_TWO_TOWER
    if name not in SMALL and not towers:
        raise MimicError(f"there is no small network {name!r}: one of {', '.join([*SMALL, SMALL_TWO_TOWER])}")
    if pretrained:
        raise MimicError(f"small:{name} has no pretrained weights of its own: give a checkpoint")
    if towers:
        return build_two_tower(name), None, None
    return SMALL[name](num_classes), small_preprocess(name), None


def _build_imported(path: str, num_classes: int, pretrained: bool) -> Built:
    spec = f"module:{path}"
    factory = _import_factory(spec, path)
    offered = {"num_classes": num_classes, "pretrained": pretrained}
    takes = inspect.signature(factory).parameters
    if pretrained and "pretrained" not in takes:
        raise MimicError(f"{spec}: the factory takes no `pretrained`, so it has no weights to give: give a checkpoint")
    try:
        made = factory(**{name: value for name, value in offered.items() if name in takes})
    except Exception as error:  # anybody's code may raise anything
        raise MimicError(f"{spec}: the factory failed ({type(error).__name__}: {error})") from error
    module, preprocess = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, nn.Module):
        raise MimicError(f"{spec}: the factory gave {type(module).__name__}, not a torch.nn.Module")
    if preprocess is not None and not isinstance(preprocess, Preprocess):
        raise MimicError(f"{spec}: the factory's second value is {type(preprocess).__name__}, not a mimic Preprocess")
    return module, preprocess, None


def _import_factory(spec: str, path: str) -> Callable[..., Any]:
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise MimicError(f"{spec}: written module:package.module:factory")
    try:
        factory = getattr(importlib.import_module(module_name), name, None)
    except Exception as error:  # importing anybody's code may raise anything
        raise MimicError(
            f"{spec}: {module_name} does not import ({type(error).__name__}: {error}): "
            "run the command in the folder that holds it, or name that folder in PYTHONPATH"
        ) from error
    if not callable(factory):
        raise MimicError(f"{spec}: {module_name} has no function {name!r}")
    return factory  # type: ignore[no-any-return]


# prefix → builder(rest of the spec, num_classes, pretrained) -> (module, preprocess, tokenize)
SPECS: dict[str, Callable[[str, int, bool], Built]] = {
    "small": _build_small,
    "module": _build_imported,
    "timm": build_timm,
    "torchvision": build_torchvision,
    "open_clip": build_open_clip,
    "hf": build_hf,
}
