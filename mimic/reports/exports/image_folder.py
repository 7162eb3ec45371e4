"""A view for torchvision's ImageFolder: ``<split>/<class>/<number>.<suffix>`` of the kept samples.

Classes become folders by percent-encoding what a file system might refuse; classes.json beside the splits says which
folder is which class. ImageFolder numbers classes by their folders' names, so each has its folder, even if it is empty.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

from mimic.data import counted
from mimic.errors import MimicError
from mimic.reports.exports.images import place_row, suffix
from mimic.reports.exports.job import Job

# What torchvision takes for an image by its name (its IMG_EXTENSIONS).
_KNOWN = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
WITHOUT_SPLIT = "train"


def write_image_folder(job: Job, target: Path) -> None:
    """The folder tree, and classes.json."""
    names = job.selection.published.classes
    folders = {name: folder_name(name) for name in names}
    _refuse_clashes(folders)
    filled: dict[str, set[str]] = {}
    for row in job.selection.kept():
        ending = suffix(row["path"], _KNOWN)
        split = folder_name(row["split"] or WITHOUT_SPLIT)
        if split not in filled:
            filled[split] = set()
            for folder in folders.values():
                (target / split / folder).mkdir(parents=True, exist_ok=True)
        if row["label"] is None:
            reason = "has no label"
        elif ending is None:
            reason = "torchvision reads no image with this suffix"
        else:
            file = target / split / folders[row["label"]] / f"{row['sample']:09d}{ending}"
            reason = place_row(job.selection.published.root, row, file, job.options.images)
        if reason:
            job.failures.add(row["id"], reason)
        else:
            filled[split].add(row["label"])
    order = sorted(folders.values())
    classes = [{"folder": folders[name], "class": name, "index": order.index(folders[name])} for name in names]
    (target / "classes.json").write_text(json.dumps(classes, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    for split, present in filled.items():
        if empty := [name for name in names if name not in present]:
            job.notes.append(
                f"split {split}: nothing is left of {counted(len(empty), 'class')}, e.g. {empty[0]!r}: "
                "ImageFolder needs allow_empty=True there"
            )


def folder_name(name: str) -> str:
    """A class or split as the name of a folder: letters, digits, blanks and ``_.-()'`` stay, the rest is %XX.

    A leading or trailing dot or blank is encoded too, so no name leads out of its folder.
    """
    written = quote(name, safe=" _.-()'&,+") or "%"
    for edge in (". ", " "):
        if written[0] in edge:
            written = f"%{ord(written[0]):02X}" + written[1:]
        if written[-1] in edge:
            written = written[:-1] + f"%{ord(written[-1]):02X}"
    return written


def _refuse_clashes(folders: dict[str, str]) -> None:
    seen: dict[str, str] = {}
    for name, folder in folders.items():
        if len(folder) > 200:
            raise MimicError(f"the class {name[:40]!r}… has too long a name for a folder: export another format")
        other = seen.setdefault(folder.lower(), name)
        if other != name:
            raise MimicError(
                f"the classes {other!r} and {name!r} are one folder where case does not count: export another format"
            )
