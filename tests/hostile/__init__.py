"""Files that somebody made to do harm: tars, tables and texts, written anew by the tests that read them."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image

HUGE = 10_000_000


def png(size: int = 8, colour: str = "red") -> bytes:
    """A small picture."""
    out = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(out, "PNG")
    return out.getvalue()


def bomb() -> bytes:
    """A PNG of some bytes that says it has 900 million pixels, and holds none of them."""
    data = bytearray(png())
    data[16:24] = struct.pack(">II", 30_000, 30_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    """A tar member of any kind, with any name."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.type, entry.linkname = len(data), kind, link
    return entry, data


def write_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """A plain tar file of these members, in this order."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for entry, data in members:
            archive.addfile(entry, io.BytesIO(data))
    return path


# What a shard must not lead a reader to: each beside two samples that are all right.
MEMBERS: dict[str, list[tuple[tarfile.TarInfo, bytes]]] = {
    "links": [
        member("a.png", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        member("b.png", kind=tarfile.LNKTYPE, link="../../secret.png"),
    ],
    "members that are no plain files": [
        member("a.png", kind=tarfile.FIFOTYPE),
        member("b.png", kind=tarfile.CHRTYPE),
    ],
    "names that lead out of the shard": [
        member("../../out.png", png()),
        member("/etc/out.png", png()),
        member("a/../../out.png", png()),
        member("..\\out.png", png()),
    ],
    "names that are no valid text": [
        member("nul\0.png", png()),
        member("half\udc80.png", png()),
    ],
    "texts of more than a mebibyte": [member("a.png", png()), member("a.txt", b"x" * HUGE)],
    "JSON that is no object": [
        member("a.png", png()),
        member("a.json", b"[" * 100_000),
        member("b.png", png()),
        member("b.json", b"17"),
    ],
    "members of a kind that their sample has already": [member("a.png", png()), member("a.png", png(9))],
    "samples without an image": [member("a.txt", b"words alone")],
}


def cut(path: Path) -> None:
    """The last image ends after the file does."""
    path.write_bytes(path.read_bytes()[:700])


def overwritten(path: Path) -> None:
    """Rubbish where the second header should be."""
    data = bytearray(path.read_bytes())
    data[1024:1536] = b"\xa5" * 512
    path.write_bytes(data)


def long_header(path: Path) -> None:
    """An extended header that says it has a gigabyte, and a file that has it, without taking room on the disk."""
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.XHDTYPE, 1 << 30
    path.write_bytes(entry.tobuf(tarfile.USTAR_FORMAT))
    with path.open("r+b") as file:
        file.truncate((1 << 30) + 1024)


def compressed(path: Path) -> None:
    """A gzipped tar under a plain one's name."""
    import gzip

    path.write_bytes(gzip.compress(path.read_bytes()))


def empty(path: Path) -> None:
    """No bytes at all."""
    path.write_bytes(b"")


BROKEN: list[Callable[[Path], None]] = [cut, overwritten, long_header, compressed, empty]

# A caption that is code somewhere: in HTML, Markdown, a spreadsheet, a terminal, SQL, a text direction.
CAPTIONS = [
    "<img src=x onerror=alert(1)>",
    "[a](javascript:alert(1)) **b** `c` $x$ :smile: :red[d]",
    '=HYPERLINK("http://x","y")',
    "\x1b]0;title\x07\x1b[31mred",
    "'); DROP TABLE samples; --",
    "\u202egnp.exe",
    'tab\tand\nline\r\nbreaks "quoted", with commas',
    "NULL",
]


def manifest(path: Path, captions: list[str]) -> Path:
    """A CSV of captioned images that holds these captions, and the images beside it."""
    import csv

    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "caption"])
        for place, caption in enumerate(captions):
            (path.parent / f"{place}.png").write_bytes(png())
            writer.writerow([f"{place}.png", caption])
    return path
