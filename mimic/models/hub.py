"""Models of other libraries by name: timm, torchvision, open_clip, Hugging Face; each with its own preprocessing.

Built without weights unless asked for them, so that nothing is downloaded unasked. Where a model's preprocessing has a
rule that `Preprocess` does not know, the spec gives None and whoever reads images has to say one.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import ValidationError
from torch import Tensor, nn

from mimic.errors import MimicError, MissingExtra
from mimic.models.preprocess import Preprocess
from mimic.models.two_tower import HuggingFaceTowers, hugging_face_tokenizer

# Pillow's numbers of its filters, as Hugging Face writes them.
_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}

# Hugging Face's two-tower models that are called with token ids and pixels and give both sides' embeddings.
_HF_TOWERS = ("clip", "siglip")

# Captions → (B, T) int64, padded and cut to what the model takes.
Tokenize: TypeAlias = Callable[[list[str]], Tensor]
Built: TypeAlias = tuple[nn.Module, Preprocess | None, Tokenize | None]


def build_timm(name: str, num_classes: int, pretrained: bool) -> Built:
    """`timm:NAME`; with weights it keeps the outputs that they were trained for."""
    spec = f"timm:{name}"
    timm = _library("timm", spec, "models")
    if not timm.is_model(name.partition(".")[0]):
        raise _unknown(spec, timm.list_models(f"*{name}*"))
    options = {} if pretrained else {"num_classes": num_classes}
    module = _made(spec, lambda: timm.create_model(name, pretrained=pretrained, **options))
    rule = timm.data.resolve_model_data_config(module)
    height, width = rule["input_size"][1:]
    pct = float(rule["crop_pct"])
    settings: dict[str, Any] = {"size": (height, width), "interpolation": rule["interpolation"]}
    settings |= {"mode": "L" if rule["input_size"][0] == 1 else "RGB", "mean": rule["mean"], "std": rule["std"]}
    if rule["crop_mode"] == "squash" and pct == 1:
        settings["resize"] = "squash"
    elif rule["crop_mode"] == "center" and height == width:
        settings |= {"resize": "crop", "shorter": math.floor(height / pct)}
    else:
        return module, None, None
    return module, _preprocess(settings), None


def build_torchvision(name: str, num_classes: int, pretrained: bool) -> Built:
    """`torchvision:NAME[/WEIGHTS]`, a classifier; the default weights' preprocessing unless others are named."""
    spec = f"torchvision:{name}"
    models = _library("torchvision.models", spec, "models")
    architecture, _, tag = name.partition("/")
    if architecture not in models.list_models(module=models):
        raise _unknown(spec, [each for each in models.list_models(module=models) if architecture in each])
    known = models.get_model_weights(architecture)
    if tag and tag not in known.__members__:
        raise _unknown(spec, [f"{architecture}/{each}" for each in known.__members__])
    weights = known[tag] if tag else known.DEFAULT
    options = {"weights": weights} if pretrained or tag else {"weights": None, "num_classes": num_classes}
    module = _made(spec, lambda: models.get_model(architecture, **options))
    rule = weights.transforms()
    (crop,), (shorter,) = rule.crop_size, rule.resize_size
    settings = {"size": (crop, crop), "resize": "crop", "shorter": shorter, "mean": rule.mean, "std": rule.std}
    return module, _preprocess(settings | {"interpolation": rule.interpolation.value}), None


def build_open_clip(name: str, num_classes: int, pretrained: bool) -> Built:
    """`open_clip:NAME[/PRETRAINED]`: model(images, texts) → (image features, text features, scale[, bias])."""
    spec = f"open_clip:{name}"
    open_clip = _library("open_clip", spec, "models")
    architecture, _, tag = name.partition("/")
    if architecture not in open_clip.list_models():
        raise _unknown(spec, [each for each in open_clip.list_models() if architecture.lower() in each.lower()])
    if pretrained and not tag:
        tags = [f"{architecture}/{each}" for each in open_clip.list_pretrained_tags_by_model(architecture)]
        raise MimicError(f"{spec} does not say which weights: one of {_some(tags) or 'none that open_clip knows'}")
    module = _made(spec, lambda: open_clip.create_model(architecture, pretrained=tag or None, output_dict=False))
    rule = open_clip.get_model_preprocess_cfg(module)
    size = rule["size"] if isinstance(rule["size"], tuple | list) else (rule["size"], rule["size"])
    fits = {"shortest": "crop", "squash": "squash"}.get(rule["resize_mode"])
    settings = {"size": size, "resize": fits, "mean": rule["mean"], "std": rule["std"]}
    preprocess = _preprocess(settings | {"interpolation": rule["interpolation"]}) if fits else None
    return module, preprocess, open_clip.get_tokenizer(architecture)


def build_hf(name: str, num_classes: int, pretrained: bool) -> Built:
    """`hf:FOLDER-OR-ID`, a classifier, or CLIP for no classes; a folder is never looked up elsewhere."""
    spec = f"hf:{name}"
    transformers = _library("transformers", spec, "hf")
    local = {"local_files_only": True} if Path(name).exists() or os.environ.get("HF_HUB_OFFLINE") == "1" else {}
    if num_classes == 0:
        return _hf_towers(spec, name, pretrained, transformers, local)
    classifier = transformers.AutoModelForImageClassification
    if pretrained:
        module = _made(spec, lambda: classifier.from_pretrained(name, **local))
    else:
        config = _made(spec, lambda: transformers.AutoConfig.from_pretrained(name, **local))
        config.num_labels = num_classes
        module = _made(spec, lambda: classifier.from_config(config))
    return module, _hf_processor(name, transformers, local), None


def _hf_towers(spec: str, name: str, pretrained: bool, transformers: Any, local: dict[str, Any]) -> Built:
    config = _made(spec, lambda: transformers.AutoConfig.from_pretrained(name, **local))
    if config.model_type not in _HF_TOWERS:
        raise MimicError(
            f"{spec} is a {config.model_type} model, and images with captions need two towers: one of "
            f"{', '.join(_HF_TOWERS)}"
        )
    made = transformers.AutoModel
    if pretrained:
        module = _made(spec, lambda: made.from_pretrained(name, **local))
    else:
        module = _made(spec, lambda: made.from_config(config))
    tokenizer = _made(spec, lambda: transformers.AutoTokenizer.from_pretrained(name, **local))
    length = int(config.text_config.max_position_embeddings)
    tokenize = hugging_face_tokenizer(tokenizer, length)
    return HuggingFaceTowers(module), _hf_processor(name, transformers, local), tokenize


def _hf_processor(name: str, transformers: Any, local: dict[str, Any]) -> Preprocess | None:
    try:
        rule = transformers.AutoImageProcessor.from_pretrained(name, **local).to_dict()
    except Exception:  # a folder without a processor, or one whose own packages are missing
        return None
    return _hf_preprocess(rule)


def _hf_preprocess(rule: dict[str, Any]) -> Preprocess | None:
    size, crop = rule.get("size") or {}, rule.get("crop_size") or {}
    settings: dict[str, Any] = {"interpolation": _RESAMPLE.get(int(rule.get("resample", 2)), "")}
    usual = rule.get("do_resize") and rule.get("do_rescale") and abs(rule["rescale_factor"] * 255 - 1) < 1e-6
    if not usual or rule.get("crop_pct") is not None:
        return None
    if {"height", "width"} <= set(size) and not rule.get("do_center_crop"):
        settings |= {"size": (size["height"], size["width"]), "resize": "squash"}
    elif "shortest_edge" in size and rule.get("do_center_crop") and {"height", "width"} <= set(crop):
        settings |= {"size": (crop["height"], crop["width"]), "resize": "crop", "shorter": size["shortest_edge"]}
    else:
        return None
    normal = rule.get("do_normalize")
    settings |= {"mean": rule["image_mean"] if normal else [0.0] * 3, "std": rule["image_std"] if normal else [1.0] * 3}
    return _preprocess(settings)


def _library(module: str, spec: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtra(spec, extra) from None


def _made(spec: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:  # other libraries raise anything, from a missing network to a missing file
        reason = next(iter(str(error).splitlines()), "")[:200]
        raise MimicError(f"{spec} could not be built ({type(error).__name__}: {reason})") from error


def _preprocess(settings: dict[str, Any]) -> Preprocess | None:
    try:
        return Preprocess.model_validate({**settings, "mean": tuple(settings["mean"]), "std": tuple(settings["std"])})
    except ValidationError:
        return None


def _unknown(spec: str, alike: Iterable[str]) -> MimicError:
    prefix, _, name = spec.partition(":")
    close = _some(sorted(alike, key=lambda each: not each.startswith(name)))
    return MimicError(f"{prefix} has no model {name!r}" + (f": did you mean {close}?" if close else ""))


def _some(names: Iterable[str]) -> str:
    return ", ".join(list(names)[:5])
