"""COCO's captions: one JSON file with images and annotations, beside a folder of the images.

{"images": [{"id": 1, "file_name": "000000000001.jpg", "width": 640, …}, …],
 "annotations": [{"id": 9, "image_id": 1, "caption": "A cat on a mat."}, …]}

An annotation is a sample; those of one image are a group. An image without a caption is left out and counted.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from mimic.errors import MimicError
from mimic.sources.listing import Found, Listing
from mimic.sources.manifest import listing_of
from mimic.storage import Location

_FACTS = {"width": pa.int32(), "height": pa.int32()}


def is_coco(path: Path) -> bool:
    """Whether a path is a JSON file: no other source is one."""
    return path.suffix.lower() == ".json" and path.is_file()


def read_coco(path: Path, root: Location | None = None) -> Listing:
    """The captions of the file, in its order.

    Args:
        path: the JSON file.
        root: the folder of the images; by default the file's own.

    Raises:
        MimicError: no JSON of that kind; no captions in it; none of the first images below the root.
    """
    told = _read(path)
    images = {each["id"]: each for each in _rows(told, "images") if isinstance(each.get("file_name"), str)}
    found, kept = Found(), []
    for each in _rows(told, "annotations"):
        if not isinstance(each.get("caption"), str):
            found.add("annotations without a caption", f"annotation {each['id']}")
        elif each.get("image_id") not in images:
            found.add("captions of an image that the file does not name", f"annotation {each['id']}")
        else:
            kept.append(each)
    if not kept:
        raise MimicError(f"{path} holds no captions of images: COCO's are in captions_train2017.json and its like")
    for lonely in sorted(images.keys() - {each["image_id"] for each in kept}):
        found.add("images without a caption", images[lonely]["file_name"])
    owners = [images[each["image_id"]] for each in kept]
    columns: dict[str, pa.Array] = {
        "id": pa.array([str(each["id"]) for each in kept], pa.string()),
        "path": pa.array([owner["file_name"] for owner in owners], pa.string()),
        "caption": pa.array([each["caption"] for each in kept], pa.string()),
    }
    for name, kind in _FACTS.items():
        columns[name] = pa.array([_size(owner.get(name)) for owner in owners], kind)
    return replace(listing_of(path, pa.table(columns), root or path.parent), kind="coco", found=found)


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise MimicError(f"{path} cannot be read as JSON ({str(error)[:100]}): check the file") from None
    if not isinstance(told, dict) or not {"images", "annotations"} <= set(told):
        raise MimicError(f"{path} has no images and annotations as COCO's captions have: a list of rows is a .jsonl")
    return told


def _rows(told: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The entries that are objects with a whole number for an id."""
    rows = told[name] if isinstance(told[name], list) else []
    return [each for each in rows if isinstance(each, dict) and type(each.get("id")) is int]


def _size(value: object) -> int | None:
    return value if type(value) is int and 0 < value < 2**31 else None
