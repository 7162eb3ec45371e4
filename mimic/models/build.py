"""From a spec, one string, to a model with its preprocessing. The weights come afterwards, from a checkpoint.

- ``small:NAME``: one of our small networks, see `mimic.models.small`
- ``module:pkg.mod:factory``: anybody's code; factory(num_classes) or factory() gives a module, or (module, Preprocess)
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from mimic.errors import MimicError
from mimic.models.preprocess import Preprocess
from mimic.models.small import SMALL, small_preprocess


@dataclass(frozen=True)
class BuiltModel:
    """A model in eval mode, what it expects of its pixels, and the spec that names it.

    `preprocess` is None where somebody's factory gives none: whoever reads images then has to ask for it.
    """

    module: nn.Module
    preprocess: Preprocess | None
    spec: str


def build_model(spec: str, num_classes: int) -> BuiltModel:
    """Builds a model with freshly initialised weights.

    Args:
        spec: ``PREFIX:REST``, see the module's list.
        num_classes: K, the number of outputs wanted.

    Returns:
        The model, in eval mode, on the CPU.

    Raises:
        MimicError: the spec does not parse, import or build.
    """
    prefix, _, rest = spec.partition(":")
    if prefix not in SPECS or not rest:
        known = ", ".join(f"{each}:…" for each in SPECS)
        raise MimicError(f"{spec!r} names no model: a spec is one of {known}")
    module, preprocess = SPECS[prefix](rest, num_classes)
    return BuiltModel(module.eval(), preprocess, spec)


def _build_small(name: str, num_classes: int) -> tuple[nn.Module, Preprocess | None]:
    if name not in SMALL:
        raise MimicError(f"there is no small network {name!r}: one of {', '.join(SMALL)}")
    return SMALL[name](num_classes), small_preprocess(name)


def _build_imported(path: str, num_classes: int) -> tuple[nn.Module, Preprocess | None]:
    spec = f"module:{path}"
    factory = _import_factory(spec, path)
    takes = inspect.signature(factory).parameters
    try:
        made = factory(num_classes=num_classes) if "num_classes" in takes else factory()
    except Exception as error:  # anybody's code may raise anything
        raise MimicError(f"{spec}: the factory failed ({type(error).__name__}: {error})") from error
    module, preprocess = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, nn.Module):
        raise MimicError(f"{spec}: the factory gave {type(module).__name__}, not a torch.nn.Module")
    if preprocess is not None and not isinstance(preprocess, Preprocess):
        raise MimicError(f"{spec}: the factory's second value is {type(preprocess).__name__}, not a mimic Preprocess")
    return module, preprocess


def _import_factory(spec: str, path: str) -> Callable[..., Any]:
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise MimicError(f"{spec}: written module:package.module:factory")
    try:
        factory = getattr(importlib.import_module(module_name), name, None)
    except Exception as error:  # importing anybody's code may raise anything
        raise MimicError(f"{spec}: {module_name} does not import ({type(error).__name__}: {error})") from error
    if not callable(factory):
        raise MimicError(f"{spec}: {module_name} has no function {name!r}")
    return factory  # type: ignore[no-any-return]


# prefix → builder(rest of the spec, num_classes) -> (module, preprocess)
SPECS: dict[str, Callable[[str, int], tuple[nn.Module, Preprocess | None]]] = {
    "small": _build_small,
    "module": _build_imported,
}
