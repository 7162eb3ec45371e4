"""Opening somebody else's image file, safely: the pixels, or the reason why not.

Used by scoring and by thumbnails alike, so that a picture is readable in both places or in neither. Pillow's pixel
limit stays on, truncated files are refused, vector formats never reach a parser, and only the first frame of an
animation counts.

A sample's path is a file below the data set's root, or a member of a tar or an Arrow file there, by its place in it:
``shards/00000.tar#1536+7421/000000003.jpg`` is the 7,421 bytes from byte 1,536 on. So a member is read without looking
through the file, and everything that handles paths handles members; the name after the slash is for people. The root
may be a folder here, or one on a server (`mimic.storage`).
"""

from __future__ import annotations

import io
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mimic.storage import Location, Remote, begins_beyond, passes, read_ranges, said_of

# Raster formats of Pillow that people keep training images in (MPO opens as JPEG). Everything else stays shut: EPS, PDF
# and WMF run interpreters.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif"})

# Of a file: its pixels would be more than Pillow's limit long before. A sparse file of terabytes costs nothing to make.
MOST_BYTES = 1 << 30

_MEMBER = re.compile(r"(.+\.(?:tar|arrow))#([0-9]{1,18})\+([0-9]{1,18})/[^/]+", re.IGNORECASE | re.DOTALL)


class UnreadableImage(Exception):
    """An image that could not be read; the message is the reason, fit to be counted and shown."""


class UnreachableImage(UnreadableImage):
    """One that a server does not give now, and may give later."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of an image lie.

    Attributes:
        file: the file that holds them, not yet looked at.
        offset: of the first byte.
        size: how many bytes; None: all to the file's end.
    """

    file: Location
    offset: int = 0
    size: int | None = None


def locate(root: Location, path: str) -> Place:
    """Where a sample's path leads. Whether that is inside the root is for the caller to see.

    Raises:
        ValueError: the root is on a server, and the path leads out of it.
    """
    found = _MEMBER.fullmatch(path) if "#" in path else None
    if found is None:
        return Place(root / path)
    return Place(root / found[1], int(found[2]), int(found[3]))


def member_path(file: str, offset: int, size: int, name: str) -> str:
    """The path of a file's member; see `locate`. Of its name the last part is kept."""
    return f"{file}#{offset}+{size}/{name.rsplit('/', 1)[-1]}"


def is_there(root: Location, path: str) -> bool:
    """Whether the file that a path leads to exists, and is as long as the path says."""
    try:
        place = locate(root, path)
        if not place.file.is_file():
            return False
        size = place.file.size() if isinstance(place.file, Remote) else place.file.stat().st_size
        return size >= place.offset + (place.size or 0)
    except (OSError, ValueError):
        return False


def image_bytes(root: Location, path: str) -> bytes:
    """The bytes of a sample's image.

    Raises:
        UnreadableImage: missing, no plain file, shorter than the path says, too long, or not to be read.
    """
    if isinstance(root, Remote):
        (data,) = images_bytes(root, [path])
        if isinstance(data, UnreadableImage):
            raise data
        return data
    place = locate(root, path)
    assert not isinstance(place.file, Remote)
    try:
        found = place.file.stat()
        if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for whoever writes into it
            raise UnreadableImage("not a plain file")
        size = found.st_size if place.size is None else place.size
        if place.size is not None and found.st_size < place.offset + place.size:
            raise UnreadableImage(f"{place.file.suffix[1:]} file is shorter than it was")
        if size > MOST_BYTES:
            raise UnreadableImage(f"more than {MOST_BYTES >> 20} MiB")
        with place.file.open("rb") as file:
            file.seek(place.offset)
            return file.read(size)
    except FileNotFoundError:
        raise UnreadableImage("file is missing") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UnreadableImage(f"file cannot be read ({reason})") from None


def images_bytes(root: Remote, paths: Sequence[str], in_haste: bool = False) -> list[bytes | UnreadableImage]:
    """The bytes of several images on a server, asked for at the same time; or why each cannot be had.

    Args:
        root: the data set's root.
        paths: of the images, below it.
        in_haste: see `mimic.storage.read_ranges`.
    """
    found: list[bytes | UnreadableImage] = [UnreadableImage("path leads out of the data set's root")] * len(paths)
    places: dict[int, Place] = {}
    for row, path in enumerate(paths):
        try:
            places[row] = locate(root, path)
        except ValueError:
            continue
    wanted = [
        (place.file, place.offset, MOST_BYTES + 1 if place.size is None else place.size)
        for place in places.values()
        if isinstance(place.file, Remote)
    ]
    for (row, place), data in zip(places.items(), read_ranges(wanted, in_haste) if wanted else [], strict=True):
        found[row] = _whole(place, data)
    return found


def _whole(place: Place, data: bytes | OSError) -> bytes | UnreadableImage:
    if isinstance(data, FileNotFoundError):
        return UnreadableImage("file is missing")
    if isinstance(data, OSError):
        if place.offset == 0 and begins_beyond(data):  # no byte of an empty file can be asked for
            return b""
        return (UnreachableImage if passes(data) else UnreadableImage)(f"file cannot be read ({said_of(data)})")
    if place.size is not None and len(data) < place.size:
        return UnreadableImage(f"{place.file.suffix[1:]} file is shorter than it was")
    return data if len(data) <= MOST_BYTES else UnreadableImage(f"more than {MOST_BYTES >> 20} MiB")


def read_image(data: bytes) -> Image.Image:
    """The first frame of an image file, decoded, upright by its EXIF tag.

    Args:
        data: the file's bytes.

    Returns:
        A loaded image, 8 bits a channel, in the file's own mode (convert it with `Image.convert`).

    Raises:
        UnreadableImage: empty, truncated, not an image, a format not in `FORMATS`, or over Pillow's pixel limit.
    """
    if not data:
        raise UnreadableImage("file is empty")
    limit = Image.MAX_IMAGE_PIXELS or 0
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        # Pillow only warns between its limit and twice its limit: for a stranger's file the limit is the limit.
        if limit and image.width * image.height > limit:
            raise UnreadableImage(f"more than {limit:,} pixels")
        image.load()
        deep = image.format == "PPM" and image.mode == "I"  # what PGM of 16 bits is opened as, scaled to 0 … 65535
        return _eight_bits(ImageOps.exif_transpose(image), deep)
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage("not an image of a known format") from None
    except Image.DecompressionBombError:
        raise UnreadableImage(f"more than {limit:,} pixels") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error … on broken files
        raise UnreadableImage(f"broken image ({str(error) or type(error).__name__})"[:200]) from None


def _eight_bits(image: Image.Image, deep: bool) -> Image.Image:
    """16-bit grey by its high byte, as Pillow itself reads 16-bit colour: `convert` would clip it to white."""
    if deep or image.mode.startswith("I;16"):
        high = np.asarray(image).astype(np.uint16) >> 8
        return Image.fromarray(high.astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UnreadableImage(f"pixels of mode {image.mode} have no known range: save it with 8 bits a channel")
    return image
