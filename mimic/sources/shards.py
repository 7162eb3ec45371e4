"""WebDataset shards, as img2dataset and DataComp write them: tar files where members of one name make a sample.

00000.tar   000000017.jpg    the image (jpg, png, webp …)
            000000017.txt    its caption
            000000017.cls    its class, in shards of labelled images
            000000017.json   facts, the caption among them if there is no txt: uid, label, split, fault, width, …

Nothing is unpacked. Each shard's headers are read once, and a sample's path says where in the tar its image lies (see
`mimic.images`). What a tar should not hold is left out and counted: links, devices, absolute names, names with `..`.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa

from mimic.data import Sample, Task
from mimic.errors import MimicError
from mimic.images import SUFFIXES, member_path
from mimic.sources.listing import Found, Listing, Root, class_order
from mimic.sources.text import LONGEST, clean
from mimic.storage import Location, children

TEXTS = ("txt", "cls", "json")
CAPTIONS = ("caption", "text", "captions")  # looked for in this order in a sample's JSON
# Of a sample's JSON: what has a place of its own, and what is long and no use here.
NOT_COLUMNS = frozenset({"uid", *CAPTIONS, "caption_group", "fault", "split", "truth", "label", "exif"})
COLUMNS = ("sample", "id", "path", "label", "label_code", "truth", "split", "caption", "caption_group", "fault")

_HEADER = 1 << 20  # bytes that one header may have: an extended one has no limit of its own
_TYPED_BY = 1000  # samples whose JSON says which further columns there are


def is_shards(path: Location) -> bool:
    """Whether a path is a tar file, or a folder with tar files right in it."""
    return path.suffix.lower() == ".tar" or (path.is_dir() and bool(_shards(path)))


def read_shards(path: Location, root: Location | None = None, classes: list[str] | None = None) -> Listing:
    """The samples of one shard or a folder of them, in the order of names, then of members.

    They are captions, unless the first shard has labels and no caption.

    Args:
        path: a .tar file, or a folder with some.
        root: what the shards' paths are relative to; by default the folder they lie in.
        classes: class names in the order wanted; by default `class_order` of the labels.

    Raises:
        MimicError: a shard that is no plain tar file, or whose name is no valid text.
    """
    file = path.suffix.lower() == ".tar" and path.is_file()
    folder = (path.parent if file else path).resolve()
    allowed = Root(root or folder)
    files = [allowed.relative(f"{folder}/{name}") for name in ([path.name] if file else _shards(path))]
    if odd := [name for name in files if clean(name) != name]:
        raise MimicError(f"{odd[0]!r} has a name that is not valid UTF-8: rename it")
    first = list(_groups(allowed.path, files[0], Found()).values())
    labelled = any(_label(group) is not None for group in first)
    captioned = any(_captions(group) != [None] for group in first)
    if labelled and classes is None:
        groups = (group for name in files for group in _groups(allowed.path, name, Found()).values())
        classes = class_order(label for group in groups if (label := _label(group)) is not None)
    types, found = _types(first), Found()

    def samples() -> Iterator[Sample]:
        found.counts.clear()
        return _samples(allowed.path, files, types, found)

    task: Task = "labels" if labelled and not captioned else "captions"
    return Listing("shards", path.resolve(), allowed.path, classes or [], samples, types, task, found)


def _shards(folder: Location) -> list[str]:
    """The names of the tar files right in a folder."""
    return [name for name in children(folder)[0] if name.lower().endswith(".tar") and not name.startswith(".")]


@dataclass
class _Group:
    """The members of one name.

    Attributes:
        key: the name, with its folders, up to the first dot.
        image: where the image lies, as `member_path` writes it; None where there is none.
        txt, cls, json: what those members hold.
        seen: the kinds of members that it has.
        ended: whether a member of another name has followed.
    """

    key: str
    image: str | None = None
    txt: str | None = None
    cls: str | None = None
    json: dict[str, Any] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    ended: bool = False


def _samples(root: Location, files: list[str], types: dict[str, pa.DataType], found: Found) -> Iterator[Sample]:
    number = 0
    for name in files:
        for group in _groups(root, name, found).values():
            if group.image is None:
                found.add("samples without an image", f"{name}: {group.key}")
                continue
            facts, captions = group.json, _captions(group)
            own = (
                _text(facts.get("uid"))
                or _text(facts.get("id"))
                or f"{PurePosixPath(name).with_suffix('')}/{group.key}"
            )
            for place, caption in enumerate(captions):
                yield Sample(
                    number,
                    own if place == 0 else f"{own}#{place}",
                    group.image,
                    _label(group),
                    _text(facts.get("truth")),
                    _text(facts.get("split")),
                    {column: _value(facts.get(column), kind) for column, kind in types.items()},
                    caption,
                    own if len(captions) > 1 else _text(facts.get("caption_group")),
                    _text(facts.get("fault")),
                )
                number += 1


def _label(group: _Group) -> str | None:
    label = _text(group.json.get("label"))
    return (group.cls if label is None else label) or None


def _captions(group: _Group) -> list[str | None]:
    """The sample's captions; [None] where it has none."""
    if group.txt is not None:
        return [group.txt]
    told = next((group.json[name] for name in CAPTIONS if group.json.get(name) is not None), None)
    several = told if isinstance(told, list) else [told]
    return [clean(one[:LONGEST]) for one in several if isinstance(one, str)] or [None]


def _groups(root: Location, name: str, found: Found) -> dict[str, _Group]:
    """The shard's samples by key, in the order of their first members."""
    groups: dict[str, _Group] = {}
    last: _Group | None = None
    with (root / name).open("rb") as file:
        for member in _members(root / name, file):
            said = f"{name}: {clean(member.name)[:200]}"
            if reason := _refused(member):
                found.add(reason, said)
                continue
            key, suffix = _split(member.name)
            if f".{suffix}" not in SUFFIXES and suffix not in TEXTS:
                found.add("members of no known kind", said)
                continue
            group = groups.setdefault(key, _Group(key))
            if last is not None and last is not group:
                last.ended = True
            if group.ended:
                found.add("members that lie apart from the rest of their sample (put together here)", said)
                group.ended = False
            last = group
            _take(group, suffix, member, file, name, found)
    return groups


def _take(group: _Group, suffix: str, member: tarfile.TarInfo, file: BinaryIO, shard: str, found: Found) -> None:
    """Put a member in its place in the sample; the first of a kind counts."""
    said = f"{shard}: {member.name[:200]}"
    kind = suffix if suffix in TEXTS else "image"
    if kind in group.seen:
        found.add("members of a kind that their sample has already", said)
        return
    group.seen.add(kind)
    if kind == "image":
        group.image = member_path(shard, member.offset_data, member.size, member.name)
        return
    if member.size > LONGEST:
        found.add("texts of more than a mebibyte", said)
        return
    text = _read(file, member).decode("utf-8", errors="replace")
    if kind != "json":
        setattr(group, kind, clean(text.strip()))
        return
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        facts = None
    if isinstance(facts, dict):
        group.json = facts
    else:
        found.add("JSON that is no object", said)


def _read(file: BinaryIO, member: tarfile.TarInfo) -> bytes:
    here = file.tell()
    file.seek(member.offset_data)
    data = file.read(member.size)
    file.seek(here)
    return data


class _Headers:
    """A tar file as `tarfile` reads its headers, which may ask for no more bytes at once than a header should have."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if size > _HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._file.read(size)


def _members(shard: Location, file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """The members of a plain tar file that are files and lie within it whole, and others that are to be refused."""
    length = file.seek(0, 2)
    file.seek(0)
    try:
        with tarfile.open(fileobj=_Headers(file), mode="r:") as archive:  # type: ignore[call-overload]
            while (member := archive.next()) is not None:
                archive.members.clear()  # it would keep them all
                if member.offset_data + member.size > length:
                    raise tarfile.ReadError(f"{clean(member.name)[:200]} ends after the file does")
                yield member
            file.seek(archive.offset)
            if file.read(512).strip(b"\0"):  # tarfile takes whatever is no header for the end
                raise tarfile.ReadError(f"something else than a header at byte {archive.offset:,}")
    except (tarfile.TarError, EOFError, ValueError, OverflowError, OSError) as error:
        raise MimicError(
            f"{shard} is no whole, plain tar file ({error}): download or pack it again, without compression"
        ) from None


def _refused(member: tarfile.TarInfo) -> str | None:
    """Why a member is left out, if it is."""
    if member.issym() or member.islnk():
        return "links"
    if member.isdir():
        return "folders"
    if not member.isreg() or member.issparse():
        return "members that are no plain files"
    parts = PurePosixPath(member.name).parts
    if member.name.startswith("/") or ".." in parts or "\\" in member.name:
        return "names that lead out of the shard"
    if clean(member.name) != member.name:
        return "names that are no valid text"
    return None


def _split(name: str) -> tuple[str, str]:
    """A member's key and kind, as webdataset splits them: at the first dot after the last slash."""
    folder, slash, base = name.rpartition("/")
    stem, _, suffix = base.partition(".")
    return folder + slash + stem, suffix.lower()


def _types(groups: list[_Group]) -> dict[str, pa.DataType]:
    """The further columns, by what the JSON of the first samples holds: text, numbers and truth values."""
    kinds: dict[str, set[type]] = {}
    taken: set[str] = set()
    for facts in [group.json for group in groups[:_TYPED_BY]]:
        for name, value in facts.items():
            if not isinstance(value, str | int | float) or name in NOT_COLUMNS:
                continue
            if name not in kinds and (not name or name.lower() in {*COLUMNS, *taken} or clean(name) != name):
                continue
            taken.add(name.lower())
            kinds.setdefault(name, set()).add(type(value))
    return {name: _type(of) for name, of in kinds.items()}


def _type(of: set[type]) -> pa.DataType:
    if of == {bool}:
        return pa.bool_()
    if of == {int}:
        return pa.int64()
    return pa.float64() if of <= {int, float} else pa.string()


def _value(value: object, kind: pa.DataType) -> object:
    """The value if it is of the column's type, or its text in a column of text; else nothing."""
    if value is None or isinstance(value, list | dict):
        return None
    if pa.types.is_string(kind):
        return clean(str(value)[:LONGEST])
    if pa.types.is_boolean(kind):
        return value if isinstance(value, bool) else None
    if isinstance(value, bool | str):
        return None
    if pa.types.is_int64(kind):
        return value if isinstance(value, int) and -(2**63) <= value < 2**63 else None
    return float(value) if isinstance(value, float) or abs(value) < 2**1000 else None  # type: ignore[arg-type]


def _text(value: object) -> str | None:
    return clean(str(value)[:LONGEST]) if isinstance(value, str | int) else None
