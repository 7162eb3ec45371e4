"""Opening somebody else's image file, safely: the pixels, or the reason why not.

Used by scoring and by thumbnails alike, so that a picture is readable in both places or in neither. Pillow's pixel
limit stays on, truncated files are refused, vector formats never reach a parser, and only the first frame of an
animation counts.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# Raster formats of Pillow that people keep training images in (MPO opens as JPEG). Everything else stays shut: EPS, PDF
# and WMF run interpreters.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif"})


class UnreadableImage(Exception):
    """An image that could not be read; the message is the reason, fit to be counted and shown."""


def read_image(source: Path | bytes) -> Image.Image:
    """The first frame of an image file, decoded, upright by its EXIF tag.

    Args:
        source: a file, or its bytes.

    Returns:
        A loaded image, 8 bits a channel, in the file's own mode (convert it with `Image.convert`).

    Raises:
        UnreadableImage: missing, empty, truncated, not an image, a format not in `FORMATS`, or over Pillow's
            pixel limit.
    """
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
    except FileNotFoundError:
        raise UnreadableImage("file is missing") from None
    except OSError as error:
        raise UnreadableImage(f"file cannot be read ({error.strerror or type(error).__name__})") from None
    if not data:
        raise UnreadableImage("file is empty")
    limit = Image.MAX_IMAGE_PIXELS or 0
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        # Pillow only warns between its limit and twice its limit: for a stranger's file the limit is the limit.
        if limit and image.width * image.height > limit:
            raise UnreadableImage(f"more than {limit:,} pixels")
        image.load()
        return _eight_bits(ImageOps.exif_transpose(image))
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage("not an image of a known format") from None
    except Image.DecompressionBombError:
        raise UnreadableImage(f"more than {limit:,} pixels") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error … on broken files
        raise UnreadableImage(f"broken image ({str(error) or type(error).__name__})"[:200]) from None


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey by its high byte, as Pillow itself reads 16-bit colour: `convert` would clip it to white."""
    if image.mode.startswith("I;16"):
        high = np.asarray(image).astype(np.uint16) >> 8
        return Image.fromarray(high.astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UnreadableImage(f"pixels of mode {image.mode} have no known range: save it with 8 bits a channel")
    return image
