"""The caption sample is what its README says: small, whole, a fifth of it wrong, and no family on two sides."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from mimic.images import image_bytes, read_image
from mimic.sources.shards import read_shards
from sample_data import make_captions

FOLDER = Path(make_captions.__file__).parent / "captions"
SAMPLES = list(read_shards(FOLDER).samples())
JUDGED = [sample for sample in SAMPLES if sample.split == "train"]
# where `npm pack emoji-datasource-google@16.0.0` left its file
PACKAGE = Path(os.environ.get("EMOJI_PACKAGE", make_captions.PACKAGE))
needs_package = pytest.mark.skipif(
    not PACKAGE.is_file(), reason="needs EMOJI_PACKAGE=FILE (npm pack emoji-datasource-google@16.0.0)"
)


def test_it_is_small_and_as_listed() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 5_000_000
    lines = (FOLDER / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert sorted([*listed, "SHA256SUMS"]) == sorted(path.name for path in FOLDER.iterdir())
    for name, digest in listed.items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest


def test_a_fifth_of_the_judged_captions_is_wrong_half_of_them_swapped() -> None:
    assert Counter(sample.split for sample in SAMPLES) == {"train": 900, "test": 100}
    faults = Counter(sample.fault for sample in JUDGED)
    junk = {name: faults[name] for name in ("generic", "symbols", "file name", "over-long")}
    assert (faults[""], faults["swapped"], sum(junk.values())) == (720, 90, 90)
    assert min(junk.values()) >= 22
    assert {sample.fault for sample in SAMPLES if sample.split == "test"} == {""}
    assert all(len((s.caption or "").split()) >= make_captions.LONG_WORDS for s in JUDGED if s.fault == "over-long")


def test_every_picture_opens_and_every_id_is_a_uid_of_its_own() -> None:
    assert all(read_image(image_bytes(FOLDER, sample.path or "")).size == (64, 64) for sample in SAMPLES)
    assert len({sample.id for sample in SAMPLES}) == 1000
    assert all(sample.id == make_captions.uid(str(sample.extra["emoji"])) for sample in SAMPLES)


def test_no_family_is_judged_and_tested() -> None:
    sides = defaultdict(set)
    for sample in SAMPLES:
        sides[sample.extra["family"]].add(sample.split)
    assert all(len(side) == 1 for side in sides.values())


def test_families_hold_variants_together() -> None:
    def entry(name: str, unified: str, kind: str, category: str = "People & Body") -> dict[str, str]:
        return {"name": name, "unified": unified, "subcategory": kind, "category": category}

    entries = [
        entry("MAN FARMER", "1F468-200D-1F33E", "person-role"),
        entry("WOMAN FARMER", "1F469-200D-1F33E", "person-role"),
        entry("FARMER", "1F9D1-200D-1F33E", "person-role"),
        entry("EAR OF RICE", "1F33E", "plant-other", "Animals & Nature"),
        entry("GREEN BOOK", "1F4D7", "book-paper", "Objects"),
        entry("ORANGE BOOK", "1F4D9", "book-paper", "Objects"),
        entry("GRINNING FACE", "1F600", "face-smiling", "Smileys & Emotion"),
        entry("POUTING CAT FACE", "1F63E", "cat-face", "Smileys & Emotion"),
        entry("ARIES", "2648", "zodiac", "Symbols"),
        entry("TAURUS", "2649", "zodiac", "Symbols"),
    ]
    numbers = make_captions.families(entries)
    same = [numbers[0:3], numbers[3:4], numbers[4:6], numbers[6:8], numbers[8:10]]
    assert [len(set(group)) for group in same] == [1, 1, 1, 1, 1]
    assert len(set(numbers)) == 5


@needs_package
def test_the_shards_are_made_again_the_same(tmp_path: Path) -> None:
    pairs = make_captions.read_pairs(PACKAGE)
    drawn = make_captions.draw(pairs)
    sides = [{pairs[i].family for i in side} for side in (drawn.judged, drawn.test, drawn.reference)]
    assert not sides[0] & sides[1]
    assert not (sides[0] | sides[1]) & sides[2]
    for name in make_captions.write_shards(tmp_path, pairs, drawn):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()


def test_a_missing_package_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(
        "sys.argv", ["make_captions.py", "--source", str(tmp_path / "no.tgz"), "--output", str(tmp_path)]
    )
    with pytest.raises(SystemExit) as stopped:
        make_captions.main()
    assert stopped.value.code == 2
    assert "npm pack" in capsys.readouterr().err
