"""A class-folder tree is read as ImageFolder reads it, and nothing outside the root."""

import os
from pathlib import Path

import pytest

from mimic.errors import MimicError
from mimic.sources.folder import read_folder
from mimic.sources.listing import class_order


def grow(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def test_labels_are_folder_names_and_paths_are_relative(tmp_path: Path) -> None:
    grow(
        tmp_path,
        "dog/b.PNG",
        "cat/deep/a.jpg",
        "cat/z.webp",
        "cat/notes.txt",
        "cat/.hidden.png",
        ".git/x/a.png",
        "top.png",
    )
    listing = read_folder(tmp_path)
    found = [(s.number, s.id, s.path, s.label, s.split) for s in listing.samples()]
    assert found == [
        (0, "cat/deep/a.jpg", "cat/deep/a.jpg", "cat", None),
        (1, "cat/z.webp", "cat/z.webp", "cat", None),
        (2, "dog/b.PNG", "dog/b.PNG", "dog", None),
    ]
    assert listing.classes == ["cat", "dog"]
    ((count, example),) = listing.found.counts.values()
    assert (count, Path(example).name) == (1, "notes.txt")


def test_a_tree_of_splits_has_its_classes_one_level_lower(tmp_path: Path) -> None:
    grow(tmp_path, "train/cat/a.png", "train/dog/a.png", "val/cat/a.png")
    listing = read_folder(tmp_path)
    assert [(s.label, s.split) for s in listing.samples()] == [("cat", "train"), ("dog", "train"), ("cat", "val")]
    assert listing.classes == ["cat", "dog"]


def test_class_order_is_by_name_or_by_value() -> None:
    assert class_order(["b", "B", "a"]) == ["B", "a", "b"]
    assert class_order(["10", "9", "010"]) == ["9", "010", "10"]
    assert class_order(["10", "9", "x"]) == ["10", "9", "x"]


def test_links_may_not_leave_the_root_but_a_wider_root_may_be_given(tmp_path: Path) -> None:
    grow(tmp_path, "pool/1.png", "view/cat/own.png")
    (tmp_path / "view/cat/link.png").symlink_to(tmp_path / "pool/1.png")
    (tmp_path / "view/dog").symlink_to(tmp_path / "pool", target_is_directory=True)
    with pytest.raises(MimicError, match=r"link\.png' leads out of the root"):
        read_folder(tmp_path / "view")
    (tmp_path / "view/cat/link.png").unlink()
    with pytest.raises(MimicError, match="leads out of the root"):
        read_folder(tmp_path / "view")
    wider = read_folder(tmp_path / "view", root=tmp_path)
    assert [s.path for s in wider.samples()] == ["view/cat/own.png", "view/dog/1.png"]


def test_a_link_in_a_circle_ends(tmp_path: Path) -> None:
    grow(tmp_path, "cat/a.png")
    (tmp_path / "cat/again").symlink_to(tmp_path / "cat", target_is_directory=True)
    assert [s.path for s in read_folder(tmp_path).samples()] == ["cat/a.png"]


def test_bad_folders_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(MimicError, match="does not exist"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(MimicError, match="holds no images in class folders"):
        read_folder(tmp_path)
    grow(tmp_path, "a.png", "cat/readme.md")
    with pytest.raises(MimicError, match="holds no images in class folders"):
        read_folder(tmp_path)
    (tmp_path / os.fsdecode(b"\xff")).mkdir()
    with pytest.raises(MimicError, match="not valid UTF-8"):
        read_folder(tmp_path)
