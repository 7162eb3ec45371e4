"""Image files of every kind that people have, and of kinds that nobody should: each with its pixels, or with a reason.

What a file should look like is worked out here in NumPy, from the picture that it was made of; never by Pillow.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.hostile import bomb, png

Pixels = NDArray[np.uint8]
HEIGHT, WIDTH = 20, 28


@dataclass(frozen=True)
class Case:
    """A file, and what is to become of it.

    Attributes:
        name: a file name, fit to be one.
        data: its bytes.
        pixels: (H, W, 3) as it should be read; None where it cannot be.
        reason: words of the reason where it cannot.
        tolerance: mean difference allowed, of 255: what lossy formats lose.
    """

    name: str
    data: bytes
    pixels: Pixels | None = None
    reason: str = ""
    tolerance: float = 0.0


def picture() -> Pixels:
    """(20, 28, 3): smooth, so that lossy formats keep it, and unlike itself in every turn and mirror."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [255 * x / WIDTH, 255 * y / HEIGHT, 128 + 100 * np.sin((x + 2 * y) / 9)]
    return np.stack(planes, -1).astype(np.uint8)


RGB = picture()
GREY = RGB[..., 0]
THREE_GREYS = np.repeat(GREY[..., None], 3, axis=-1)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)  # type: ignore[arg-type]
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG written by hand: what Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def deep(pixels: Pixels) -> bytes:
    """Rows of a 16-bit PNG whose high bytes are these pixels and whose low bytes are noise."""
    noise = np.random.default_rng(0).integers(0, 256, pixels.shape, np.uint16)
    words = ((pixels.astype(np.uint16) << 8) | noise).astype(">u2")
    return b"".join(b"\0" + row.tobytes() for row in words)


def upright() -> Iterator[Case]:
    """The eight orientations that EXIF knows: what is stored is turned so that the tag turns it back."""
    stored = {
        1: RGB, 2: RGB[:, ::-1], 3: RGB[::-1, ::-1], 4: RGB[::-1], 5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB, 1), 7: RGB[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(RGB, -1),
    }  # fmt: skip
    for tag, pixels in stored.items():
        exif = Image.Exif()
        exif[0x0112] = tag
        image = Image.fromarray(np.ascontiguousarray(pixels))
        yield Case(f"exif-{tag}.png", encoded(image, "PNG", exif=exif), RGB)
        yield Case(f"exif-{tag}.jpg", encoded(image, "JPEG", quality=95, subsampling=0, exif=exif), RGB, tolerance=4)
    exif = Image.Exif()
    exif[0x0112] = 77
    yield Case("exif-77.png", encoded(Image.fromarray(RGB), "PNG", exif=exif), RGB)
    broken = b"Exif\0\0MM\0*\xff\xff\xff\xff"
    yield Case("exif-broken.jpg", encoded(Image.fromarray(RGB), "JPEG", quality=95, exif=broken), RGB, tolerance=4)


def readable() -> Iterator[Case]:
    """Every kind that can be scored."""
    rgb, grey = Image.fromarray(RGB), Image.fromarray(GREY)
    yield Case("rgb.png", encoded(rgb, "PNG"), RGB)
    yield Case("grey.png", encoded(grey, "PNG"), THREE_GREYS)
    yield from upright()

    few = (RGB // 64) * 64
    yield Case("palette.png", encoded(Image.fromarray(few).quantize(64), "PNG"), few, tolerance=3)
    yield Case("palette.gif", encoded(Image.fromarray(few).quantize(64), "GIF"), few, tolerance=3)
    through = Image.fromarray(few).quantize(64)
    yield Case("palette-transparent.png", encoded(through, "PNG", transparency=3), few, tolerance=3)
    black = np.where(GREY > 127, 255, 0).astype(np.uint8)
    one_bit = Image.fromarray(black).convert("1", dither=Image.Dither.NONE)
    for kind in ("png", "tif", "bmp"):
        yield Case(
            f"one-bit.{kind}",
            encoded(one_bit, {"tif": "TIFF"}.get(kind, kind.upper())),
            np.repeat(black[..., None], 3, -1),
        )

    clear = np.dstack([RGB, 255 - GREY])  # alpha is dropped, as torchvision's loader does
    yield Case("alpha.png", encoded(Image.fromarray(clear), "PNG"), RGB)
    yield Case("alpha.webp", encoded(Image.fromarray(clear), "WEBP", lossless=True, exact=True), RGB)
    yield Case("alpha.tif", encoded(Image.fromarray(clear), "TIFF"), RGB)
    yield Case("alpha-grey.png", encoded(Image.fromarray(np.dstack([GREY, 255 - GREY])), "PNG"), THREE_GREYS)

    yield Case("16-bit-grey.png", raw_png(WIDTH, HEIGHT, 16, 0, deep(GREY)), THREE_GREYS)
    yield Case("16-bit-rgb.png", raw_png(WIDTH, HEIGHT, 16, 2, deep(RGB)), RGB)
    yield Case("16-bit-alpha.png", raw_png(WIDTH, HEIGHT, 16, 6, deep(clear)), RGB)
    yield Case("16-bit-grey-alpha.png", raw_png(WIDTH, HEIGHT, 16, 4, deep(clear[..., 2:])), np.repeat(clear[..., 2:3], 3, -1))  # fmt: skip  # noqa: E501
    words = (GREY.astype(np.uint16) << 8) + 77
    yield Case("16-bit-grey.tif", encoded(Image.fromarray(words), "TIFF"), THREE_GREYS)
    yield Case("16-bit-grey.pgm", b"P5 %d %d 65535\n" % (WIDTH, HEIGHT) + words.astype(">u2").tobytes(), THREE_GREYS)
    yield Case(
        "2-bit-grey.png", raw_png(4, 1, 2, 0, b"\0\x1b"), np.repeat(np.uint8([[[0], [85], [170], [255]]]), 3, -1)
    )

    # ink: C = 255 − R and so on, no black; JPEG stores it inverted, as Adobe does
    ink = Image.fromarray(np.dstack([255 - RGB, np.zeros_like(GREY)]), "CMYK")
    yield Case("cmyk.jpg", encoded(ink, "JPEG", quality=95), RGB, tolerance=4)
    yield Case("cmyk.tif", encoded(ink, "TIFF"), RGB)
    yield Case("ycbcr.jpg", encoded(rgb, "JPEG", quality=95, subsampling=0), RGB, tolerance=4)
    yield Case("progressive.jpg", encoded(rgb, "JPEG", quality=95, subsampling=0, progressive=True), RGB, tolerance=4)

    later = [Image.fromarray(255 - RGB), Image.fromarray(RGB[::-1].copy())]
    yield Case("animated.png", encoded(rgb, "PNG", save_all=True, append_images=later), RGB)
    yield Case("animated.webp", encoded(rgb, "WEBP", save_all=True, append_images=later, lossless=True), RGB)
    few_later = [Image.fromarray(255 - few).quantize(64)]
    yield Case(
        "animated.gif",
        encoded(Image.fromarray(few).quantize(64), "GIF", save_all=True, append_images=few_later),
        few,
        tolerance=3,
    )
    yield Case("pages.tif", encoded(rgb, "TIFF", save_all=True, append_images=later), RGB)
    yield Case("photos.mpo.jpg", encoded(rgb, "MPO", save_all=True, append_images=later, quality=95), RGB, tolerance=4)
    yield Case("lossy.avif", encoded(rgb, "AVIF", quality=95), RGB, tolerance=6)

    yield Case("plain.ppm", encoded(rgb, "PPM"), RGB)
    yield Case("lzw.tif", encoded(rgb, "TIFF", compression="tiff_lzw"), RGB)
    yield Case("wrong-ending.jpg", encoded(rgb, "PNG"), RGB)
    yield Case("rubbish-after-the-end.png", encoded(rgb, "PNG") + b"PK\3\4" * 100, RGB)
    yield Case("script-inside.png", encoded(rgb, "PNG") + b"<script>alert(1)</script>", RGB)
    yield Case("one-pixel.png", encoded(Image.fromarray(RGB[:1, :1]), "PNG"), RGB[:1, :1])
    long_text = b"Comment\0" + b"x" * 5000
    yield Case("comment.png", raw_png(1, 1, 8, 2, b"\0\1\2\3", chunk(b"tEXt", long_text)), np.uint8([[[1, 2, 3]]]))


def unreadable() -> Iterator[Case]:
    """Broken files, bombs, and formats that stay shut."""
    whole, photo = encoded(Image.fromarray(RGB), "PNG"), encoded(Image.fromarray(RGB), "JPEG")
    yield Case("empty.png", b"", reason="empty")
    yield Case("zeros.png", bytes(5000), reason="not an image")
    for name, data in {"png": whole, "jpg": photo, "webp": encoded(Image.fromarray(RGB), "WEBP")}.items():
        yield Case(f"half.{name}", data[: len(data) // 2], reason="broken|truncated|not an image")
        yield Case(f"head.{name}", data[:9], reason="broken|not an image")
    flipped = bytearray(whole)
    flipped[60] ^= 0xFF
    yield Case("flipped.png", bytes(flipped), reason="broken")
    for name, data in {
        "vector.png": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(touch executed) run\n",
        "document.jpg": b"%PDF-1.7\n1 0 obj<</OpenAction 2 0 R>>endobj\n%%EOF",
        "icon.png": encoded(Image.fromarray(RGB), "ICO"),
        "photoshop.tif": b"8BPS\0\1" + bytes(400),
        "program.png": b"\x7fELF" + bytes(400),
        "zip.png": b"PK\3\4" + bytes(400),
        "python.png": b"import os; os.system('touch executed')\n",
        "pickle.jpg": b"\x80\x04cos\nsystem\n(S'touch executed'\ntR.",
    }.items():
        yield Case(name, data, reason="not an image")

    yield Case("says-900-megapixels.png", bomb(), reason="more than .* pixels")
    rows = bytes(1 + 20_000 // 8) * 20_000
    yield Case("holds-400-megapixels.png", raw_png(20_000, 20_000, 1, 0, rows), reason="more than .* pixels")
    gif = bytearray(encoded(Image.fromarray(RGB).quantize(4), "GIF"))
    gif[6:10] = b"\xff\xff\xff\xff"
    yield Case("huge-canvas.gif", bytes(gif), reason="more than .* pixels")
    yield Case("huge.ppm", b"P6 60000 60000 255\n", reason="more than .* pixels")
    yield Case("huge.bmp", b"BM" + struct.pack("<IIIIiiHHIIiiII", 99, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0), reason="more than .* pixels")  # fmt: skip  # noqa: E501
    jpeg = bytearray(photo)
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = b"\xff\xdc\xff\xdc"
    yield Case("says-4-gigapixels.jpg", bytes(jpeg), reason="more than .* pixels")
    yield Case(
        "text-bomb.png",
        raw_png(
            1,
            1,
            8,
            2,
            b"\0\1\2\3",
            *[chunk(b"zTXt", b"k%d\0\0" % k + zlib.compress(bytes(900_000), 9)) for k in range(120)],
        ),
        reason="broken",
    )
    yield Case("text-too-long.png", raw_png(1, 1, 8, 2, b"\0\1\2\3", chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(60_000_000), 9))), reason="broken")  # fmt: skip  # noqa: E501
    yield Case("no-size.png", raw_png(0, 0, 8, 2, b""), reason="broken|not an image")
    yield Case("odd-depth.png", raw_png(4, 4, 7, 2, bytes(99)), reason="broken|not an image")
    yield Case("no-pixels.png", raw_png(4, 4, 8, 2, b""), reason="broken")
    loop = b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + struct.pack("<HHII", 256, 3, 1, 4) + struct.pack("<I", 8)
    yield Case("looping.tif", loop, reason="broken|not an image")
    many = b"II*\0\x08\0\0\0\xff\xff" + bytes(100)
    yield Case("many-tags.tif", many, reason="broken|not an image")
    yield Case("float.tif", encoded(Image.fromarray(GREY.astype(np.float32)), "TIFF"), reason="no known range")
    yield Case("32-bit.tif", encoded(Image.fromarray(GREY.astype(np.int32)), "TIFF"), reason="no known range")
    yield Case("negative.bmp", b"BM" + struct.pack("<IIIIiiHHIIiiII", 99, 0, 54, 40, -5, 5, 1, 24, 0, 0, 0, 0, 0, 0), reason="more than .* pixels")  # fmt: skip  # noqa: E501
    yield Case("text.ppm", b"P6 a b c\n", reason="broken|not an image")
    yield Case("long-number.ppm", b"P6 " + b"9" * 100_000, reason="broken|not an image")
    yield Case("only-a-head.avif", b"\0\0\0\x20ftypavif" + bytes(20), reason="broken|not an image")


# Eighty million pixels side by side: few enough to be read, but enlarged until the shorter side is a model's they
# would be billions.
STRIP = Case("strip.png", raw_png(80_000_000, 1, 1, 0, bytes(10_000_001)), reason="sides are too unequal")


def cases() -> list[Case]:
    """All of them; no two of one name."""
    found = [*readable(), *unreadable(), Case("good.png", png(28), np.full((28, 28, 3), (255, 0, 0), np.uint8))]
    assert len({case.name for case in found}) == len(found)
    return found
