"""Thumbnails: every mode of picture, exact small ones, reasons for broken ones, the cache, nothing outside the root."""

import base64
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimic.workspace.thumbs import thumbnail

MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"]


def opened(thumb):
    assert thumb.reason == ""
    head, data = thumb.uri.split(",")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert head == f"data:image/{image.format.lower()};base64"
    assert image.size == (thumb.width, thumb.height)
    return image


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_shown(tmp_path, mode):
    ramp = np.linspace(0, 255, 300 * 200).reshape(200, 300)
    image = (
        Image.fromarray(ramp.astype(np.uint16) * 257)
        if mode == "I;16"
        else Image.fromarray(ramp.astype(np.uint8)).convert(mode)
    )
    image.save(tmp_path / "a.tif")
    shown = opened(thumbnail(tmp_path, "a.tif", tmp_path / "cache"))
    assert max(shown.size) == 160
    grey = np.asarray(shown.convert("L"), dtype=float)
    assert grey[:20].mean() < 70
    assert grey[-20:].mean() > 180


def test_a_small_image_keeps_its_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (28, 20), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    thumb = thumbnail(tmp_path, "a.png", tmp_path / "cache")
    assert thumb.small
    np.testing.assert_array_equal(np.asarray(opened(thumb)), pixels)


def test_a_small_image_is_enlarged_by_whole_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (28, 20), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    large = opened(thumbnail(tmp_path, "a.png", tmp_path / "cache", 200, enlarge=True))
    np.testing.assert_array_equal(np.asarray(large), pixels.repeat(7, axis=0).repeat(7, axis=1))


def test_a_long_image_is_not_small(tmp_path):
    Image.new("L", (400, 20)).save(tmp_path / "a.png")
    thumb = thumbnail(tmp_path, "a.png", tmp_path / "cache")
    assert (thumb.width, thumb.height, thumb.small) == (160, 8, False)


def test_the_cache_answers_for_the_same_content_wherever_it_lies(tmp_path):
    (tmp_path / "x").mkdir()
    Image.effect_noise((200, 200), 50).save(tmp_path / "x" / "a.png")
    first = thumbnail(tmp_path, "x/a.png", tmp_path / "cache")
    (stored,) = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    marked = Image.new("RGB", (10, 10), "red")
    marked.save(stored, "PNG")
    (tmp_path / "x" / "a.png").rename(tmp_path / "x" / "moved.png")
    moved = thumbnail(tmp_path, "x/moved.png", tmp_path / "cache")
    assert opened(moved).size == (10, 10)  # came from the cache
    assert moved != first


def test_a_changed_file_gets_a_new_picture(tmp_path):
    Image.new("L", (30, 30), 0).save(tmp_path / "a.png")
    before = thumbnail(tmp_path, "a.png", tmp_path / "cache")
    Image.new("L", (30, 30), 255).save(tmp_path / "a.png")
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert thumbnail(tmp_path, "a.png", tmp_path / "cache") != before


def test_what_cannot_be_shown_says_why(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    Image.new("L", (300, 300)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:-40])
    reasons = {
        name: thumbnail(tmp_path, name, tmp_path / "cache").reason
        for name in ("empty.png", "text.png", "cut.png", "no")
    }
    assert reasons["empty.png"] == "file is empty"
    assert reasons["text.png"] == "not an image of a known format"
    assert reasons["cut.png"].startswith("broken image")
    assert reasons["no"] == "file is missing"
    assert not (tmp_path / "cache").exists()


def test_nothing_outside_the_root_is_read(tmp_path):
    (tmp_path / "root").mkdir()
    Image.new("L", (30, 30)).save(tmp_path / "secret.png")
    assert (
        thumbnail(tmp_path / "root", "../secret.png", tmp_path / "c").reason == "path leads out of the data set's root"
    )
    assert thumbnail(tmp_path / "root", str(tmp_path / "secret.png"), tmp_path / "c").reason.startswith(
        "path leads out"
    )


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path):
    Image.new("L", (30, 30)).save(tmp_path / "a.png")
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert opened(thumbnail(tmp_path, "a.png", tmp_path / "cache")).size == (30, 30)


def test_two_who_store_a_picture_do_not_write_one_file(tmp_path, monkeypatch):
    write, named = Path.write_bytes, []

    def write_bytes(self, data):
        named.append(self)
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    Image.new("L", (30, 30)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    named.clear()
    for name in ("a.png", "b.png"):
        thumbnail(tmp_path, name, tmp_path / "cache")
        (stored,) = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
        stored.unlink()
    assert len(set(named)) == len(named) == 2
