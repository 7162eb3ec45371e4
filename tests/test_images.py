"""Reading a stranger's image: the pixels of every kind that can be had, and a reason for every one that cannot."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimic.images import FORMATS, UnreadableImage, image_bytes, is_there, member_path, read_image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_come_back_pixel_for_pixel(picture: Image.Image, kind: str) -> None:
    assert np.array_equal(np.asarray(read_image(encoded(picture, kind)).convert("RGB")), np.asarray(picture))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_named_opens(picture: Image.Image, kind: str) -> None:
    assert read_image(encoded(picture, kind)).size == picture.size


def test_a_photo_taken_sideways_comes_upright(picture: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    assert read_image(encoded(picture, "JPEG", exif=exif)).size == (12, 20)


def test_only_the_first_frame_of_an_animation_counts(picture: Image.Image) -> None:
    frames = [picture.point(lambda value, k=k: value // (k + 1)) for k in range(3)]
    data = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert np.array_equal(np.asarray(read_image(data).convert("RGB")), np.asarray(picture))


def test_reasons(picture: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encoded(picture, "PNG")
    cases = [
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (whole[: len(whole) // 2], "broken image"),
    ]
    for data, reason in cases:
        with pytest.raises(UnreadableImage, match=reason):
            read_image(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadableImage, match="more than 100 pixels"):
        read_image(whole)


def test_sixteen_bit_grey_keeps_its_shades() -> None:
    deep = np.linspace(0, 65535, 240).astype(np.uint16).reshape(12, 20)
    assert np.array_equal(np.asarray(read_image(encoded(Image.fromarray(deep), "PNG"))), deep >> 8)


def test_pixels_without_a_range_are_refused() -> None:
    with pytest.raises(UnreadableImage, match="no known range"):
        read_image(encoded(Image.new("F", (4, 4), 0.5), "TIFF"))


def test_files_and_members_by_their_path(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"head" + b"picture" + b"rest")
    (tmp_path / "b#1+2.png").write_bytes(b"plain")
    path = member_path("a.tar", 4, 7, "folder/x.png")
    assert path == "a.tar#4+7/x.png"
    assert (image_bytes(tmp_path, path), image_bytes(tmp_path, "b#1+2.png")) == (b"picture", b"plain")
    assert is_there(tmp_path, path)
    assert not is_there(tmp_path, "a.tar#4+12/x.png")
    cases = [
        ("a.tar#4+12/x.png", "shorter"),
        ("absent.tar#4+12/x.png", "missing"),
        ("absent.png", "missing"),
        (".", "not a plain file"),
        ("nul\0.png", "cannot be read"),
    ]
    for wrong, reason in cases:
        with pytest.raises(UnreadableImage, match=reason):
            image_bytes(tmp_path, wrong)
