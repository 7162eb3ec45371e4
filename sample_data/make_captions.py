"""Builds sample_data/captions from the Noto emoji: pictures with captions of which a fifth are wrong, as shards.

    npm pack emoji-datasource-google@16.0.0
    python -m sample_data.make_captions --source emoji-datasource-google-16.0.0.tgz

Stages: read pictures and names → sort them into families, so that variants of one picture stay together → draw families
for judging, for testing and for a reference → spoil a fifth of the judged captions → write shards, img2dataset's way.

Country flags are left out: one of another country cannot teach to tell them. The same bytes come out every time with
one version of Pillow.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mimic.errors import MimicError

PACKAGE = "emoji-datasource-google-16.0.0.tgz"
JUDGED, TEST = 900, 100  # pictures
SWAPPED, JUNK = 90, 90  # wrong captions among the judged
SHARD = 500
SEED = 2501_06708  # the paper's number

LEFT_OUT = {"country-flag", "subdivision-flag", "skin-tone"}
# What a name says beside the thing itself: two names that share only such a word show two things.
SMALL_WORDS = "a an and at for from in of on the to up with without face sign symbol black white heavy"
# Zero-width joiner, emoji presentation, and the people, genders, directions and skins that others are varied by.
MODIFIERS = "200D FE0F 1F468 1F469 1F9D1 1F466 1F467 2640 2642 27A1 1F3FB 1F3FC 1F3FD 1F3FE 1F3FF"
ALIKE = {"family": "person", "person-symbol": "person"}  # kinds that are drawn alike

GENERIC = ["Image", "image", "Photo", "picture", "untitled", "Image of", "thumbnail", "a picture", "img", "Untitled 1"]
SYMBOLS = ["#", "...", "-", "***", "##", "?", "_", "--", "•••", "1"]
FILE_NAMES = ["IMG_{0:04}.JPG", "DSC{0:05}.jpg", "image-{0}.png", "{0:08x}.webp", "Screenshot {0}.png"]
LONG_WORDS = 80
JUNK_KINDS = ("generic", "symbols", "file name", "over-long")


@dataclass(frozen=True)
class Pair:
    """A picture and its true caption.

    Attributes:
        key: its code points, which the package names its file by.
        image: 64×64 RGB, on white.
        caption: its name and what kind of thing it is, in lower case.
        category: Unicode's word for its kind.
        family: the number of its family: variants of one picture are of one family.
    """

    key: str
    image: Image.Image
    caption: str
    category: str
    family: int


@dataclass(frozen=True)
class Draw:
    """Sorted indices of pairs, no family on two sides. The reference's are all that are left."""

    judged: NDArray[np.int64]
    test: NDArray[np.int64]
    reference: NDArray[np.int64]


def read_pairs(source: Path) -> list[Pair]:
    """Every picture of the package that is not left out, in the order of its keys.

    Args:
        source: the package as npm packs it.

    Raises:
        MimicError: the file is not there.
    """
    if not source.is_file():
        raise MimicError(f"{source} is missing: npm pack emoji-datasource-google@16.0.0, or name it with --source")
    with tarfile.open(source) as package:
        listed = json.load(_member(package, "package/emoji.json"))
        entries = [one for one in listed if one["has_img_google"] and one["subcategory"] not in LEFT_OUT]
        entries.sort(key=lambda entry: entry["image"])
        images = [_on_white(_member(package, f"package/img/google/64/{entry['image']}")) for entry in entries]
    return [
        Pair(entry["image"].removesuffix(".png"), image, _caption(entry), entry["category"], family)
        for entry, image, family in zip(entries, images, families(entries), strict=True)
    ]


def _member(package: tarfile.TarFile, name: str) -> io.BytesIO:
    found = package.extractfile(name)
    assert found is not None
    return io.BytesIO(found.read())


def _on_white(file: io.BytesIO) -> Image.Image:
    with Image.open(file) as image:
        picture = image.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    return white.convert("RGB")


def _caption(entry: dict[str, Any]) -> str:
    """The name, then the words of the short name and of the kind that it does not hold already."""
    name = entry["name"].lower()
    said, further = set(re.findall(r"\w+", name)), []
    for words in (entry["short_name"], entry["subcategory"]):
        new = [word for word in re.findall(r"[a-z]+", words) if word not in said]
        said |= set(new)
        further += [" ".join(new)] if new else []
    return ", ".join([name, *further])


def families(entries: Sequence[dict[str, Any]]) -> list[int]:
    """(N,) family numbers.

    Of one family are, directly or through others: faces; symbols of one kind; pictures of one kind whose names share a
    word, or whose code points differ only by a person, gender, direction or skin.
    """
    small, modifiers = SMALL_WORDS.split(), MODIFIERS.split()
    groups: dict[tuple[str, str], list[int]] = {}
    for place, entry in enumerate(entries):
        kind = ALIKE.get(entry["subcategory"], entry["subcategory"])
        if entry["category"] == "Symbols" or "face" in kind:
            groups.setdefault(("face" if "face" in kind else kind, ""), []).append(place)
        codes = [code for code in entry["unified"].split("-") if code not in modifiers]
        groups.setdefault((kind, "-".join(codes)), []).append(place)
        for word in re.findall(r"[a-z]+", entry["name"].lower()):
            if word not in small:
                groups.setdefault((kind, word.removesuffix("s")), []).append(place)
    above = list(range(len(entries)))

    def top(place: int) -> int:
        while above[place] != place:
            place = above[place]
        return place

    for members in groups.values():
        for first, second in combinations(members, 2):
            above[top(second)] = top(first)
    numbers = {place: number for number, place in enumerate(sorted({top(i) for i in range(len(entries))}))}
    return [numbers[top(place)] for place in range(len(entries))]


def draw(pairs: Sequence[Pair], seed: int = SEED, judged: int = JUDGED, test: int = TEST) -> Draw:
    """Whole families at random: for judging and for testing, of each so many pictures exactly; the rest for the
    reference, with what is over of the families cut off so, which nobody gets.
    """
    numbers = np.array([pair.family for pair in pairs])
    order = np.random.default_rng(seed).permutation(numbers.max() + 1)
    sides: list[NDArray[np.int64]] = []
    for wanted in (test, judged):
        side: list[int] = []
        while len(side) < wanted:
            side += np.flatnonzero(numbers == order[0]).tolist()
            order = order[1:]
        sides.append(np.array(sorted(side[:wanted])))
    return Draw(sides[1], sides[0], np.flatnonzero(np.isin(numbers, order)))


def spoil(pairs: Sequence[Pair], seed: int = SEED) -> tuple[list[str], list[str]]:
    """Captions with known faults.

    Returns:
        (N,) given captions, and (N,) faults: ``"swapped"`` for the caption of a picture of another family; for junk
        ``"generic"``, ``"symbols"``, ``"file name"`` or ``"over-long"``; "" where the caption is the true one.
    """
    rng = np.random.default_rng([seed, 1])
    order = rng.permutation(len(pairs))
    captions, faults = [pair.caption for pair in pairs], [""] * len(pairs)
    swapped = order[:SWAPPED]
    while any(pairs[a].family == pairs[b].family for a, b in zip(swapped, np.roll(swapped, 1), strict=True)):
        swapped = rng.permutation(swapped)
    for a, b in zip(swapped, np.roll(swapped, 1), strict=True):
        captions[a], faults[a] = pairs[b].caption, "swapped"
    for turn, i in enumerate(order[SWAPPED : SWAPPED + JUNK]):
        faults[i] = JUNK_KINDS[turn % 4]
        captions[i] = junk_caption(faults[i], pairs, i, rng)
    return captions, faults


def junk_caption(kind: str, pairs: Sequence[Pair], i: int, rng: np.random.Generator) -> str:
    """A caption with a fault of one of `JUNK_KINDS`; an over-long one is the pair's own words and other captions."""
    if kind == "generic":
        return str(rng.choice(GENERIC))
    if kind == "symbols":
        return str(rng.choice(SYMBOLS))
    if kind == "file name":
        return str(rng.choice(FILE_NAMES)).format(int(rng.integers(10_000)))
    words = pairs[i].caption.split()
    while len(words) < LONG_WORDS:
        words += pairs[rng.integers(len(pairs))].caption.split()
    return " ".join(words)


def write_shards(folder: Path, pairs: Sequence[Pair], drawn: Draw) -> list[str]:
    """The judged and then the test pairs as tar files of webp, txt and json members.

    Returns:
        Their names.
    """
    judged, test = ([pairs[i] for i in side] for side in (drawn.judged, drawn.test))
    captions, faults = spoil(judged)
    rows = [(pair, caption, fault, "train") for pair, caption, fault in zip(judged, captions, faults, strict=True)]
    rows = [rows[i] for i in np.random.default_rng([SEED, 2]).permutation(len(rows))]
    rows += [(pair, pair.caption, "", "test") for pair in test]
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for first in range(0, len(rows), SHARD):
        names.append(f"{first // SHARD:05}.tar")
        with tarfile.open(folder / names[-1], "w", format=tarfile.USTAR_FORMAT) as shard:
            for place, row in enumerate(rows[first : first + SHARD]):
                for suffix, data in _members(f"{first // SHARD:05}{place:04}", *row):
                    entry = tarfile.TarInfo(f"{first // SHARD:05}{place:04}.{suffix}")
                    entry.size = len(data)
                    shard.addfile(entry, io.BytesIO(data))
    return names


def _members(key: str, pair: Pair, caption: str, fault: str, split: str) -> Iterator[tuple[str, bytes]]:
    picture = io.BytesIO()
    pair.image.save(picture, "WEBP", quality=75, method=6)
    facts = {"key": key, "uid": uid(pair.key), "caption": caption, "fault": fault, "split": split}
    facts |= {"family": pair.family, "category": pair.category, "emoji": pair.key}
    yield "webp", picture.getvalue()
    yield "txt", caption.encode()
    yield "json", json.dumps(facts).encode()


def uid(key: str) -> str:
    """The pair's id in DataComp's manner: 32 hexadecimal digits."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def build(source: Path, folder: Path) -> None:
    """The whole folder."""
    pairs = read_pairs(source)
    names = write_shards(folder, pairs, draw(pairs))
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(names)]
    (folder / "SHA256SUMS").write_text("".join(sums))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path(PACKAGE), help="the package as npm packs it")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "captions")
    asked = parser.parse_args()
    try:
        build(asked.source, asked.output)
    except MimicError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
