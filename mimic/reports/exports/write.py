"""One export from beginning to end: built under a temporary name, described beside it, and only then named.

PATH        the file or folder
PATH.json   rule, counts, failures, versions, and the SHA-256; nothing in it depends on when or where it was made
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from mimic.errors import MimicError
from mimic.files import finish, make_folder, needing_room, read_json, remove, temporary_name, write_json
from mimic.filters.rule import Rule
from mimic.reports.exports.job import Job
from mimic.reports.exports.options import Options
from mimic.reports.exports.registry import format_of
from mimic.reports.exports.selection import Selection
from mimic.workspace.filters import NamedFilter
from mimic.workspace.queries.dense import Dense

_MADE_BY = "mimic export"


@dataclass(frozen=True)
class Export:
    """A written export.

    Attributes:
        path: the file or folder.
        sha256: of the file; of a folder, of its list of files with their hashes, where a symbolic link counts by name.
        counts: as `Selection.counts` says.
        failures: how many kept samples could not be written; PATH.json says which and why.
        notes: sentences worth reading.
    """

    path: Path
    sha256: str
    counts: dict[str, int]
    failures: int
    notes: tuple[str, ...]


def write_export(
    selection: Selection, path: Path, form: str, options: Options | None = None, *, overwrite: bool = False
) -> Export:
    """Write an export and PATH.json beside it.

    Args:
        selection: who is kept.
        path: the file or folder to make.
        form: a name in `FORMATS`.
        options: how images leave, and so on.
        overwrite: replace an earlier export at that path. A folder that is no export of ours is never replaced.

    Raises:
        MimicError: an unknown format; something is at the path; what the format itself cannot do.
    """
    about = {"made_by": _MADE_BY, "format": form, "holds": format_of(form).holds}
    _put_back(path)
    _refuse_to_overwrite(path, overwrite)
    make_folder(path.parent)
    job = Job(selection, options or Options(), about | selection.facts())
    digest = _built(job, path)
    return Export(path, digest, job.facts["counts"], job.failures.count, tuple(job.notes))


def export_bytes(table: Dense, rule: Rule, form: str) -> bytes:
    """The file of an export of the rule alone, for a download; formats that are one file only."""
    with tempfile.TemporaryDirectory(prefix="mimic-") as folder:
        return write_export(Selection(table, rule), Path(folder) / "export", form).path.read_bytes()


def rule_bytes(saved: NamedFilter) -> bytes:
    """A named filter as JSON, for a download beside its export."""
    return (json.dumps(asdict(saved), indent=2, ensure_ascii=False) + "\n").encode()


def _built(job: Job, path: Path) -> str:
    form = format_of(job.facts["format"])
    with needing_room(path):
        temporary = temporary_name(path)
        try:
            if not form.suffix:
                temporary.mkdir()
            form.write(job, temporary)
            digest = _sha256(temporary) if form.suffix else _tree_sha256(temporary)
            with _described(job, path, digest):
                if form.suffix:
                    finish(temporary, path)
                else:
                    _replace_folder(path, temporary)
        finally:
            remove(temporary)
    return digest


def _replace_folder(path: Path, new: Path) -> None:
    """Give a folder its name; the one that had it is removed, or has it again if anything goes wrong."""
    if path.exists():
        path.rename(_aside(path))
    try:
        new.rename(path)
    finally:
        _put_back(path)


def _put_back(path: Path) -> None:
    """Undo or end what `_replace_folder` was killed in."""
    if (before := _aside(path)).exists():
        if path.exists():
            remove(before)
        else:
            before.rename(path)


def _aside(path: Path) -> Path:
    """Where an export's folder waits while the new one takes its name; no leaving of ours, so nobody clears it away."""
    return path.with_name(f".{path.name}.replaced")


def _refuse_to_overwrite(path: Path, overwrite: bool) -> None:
    if not path.exists() and not path.is_symlink():
        return
    if not overwrite:
        raise MimicError(f"{path} is there already: choose another path, or have it replaced (--overwrite)")
    if path.is_dir() and not _is_ours(path):
        raise MimicError(f"{path} is a folder that no export made, so it is not replaced: choose another path")


def _is_ours(path: Path) -> bool:
    beside = _beside(path)
    return beside.is_file() and not path.is_symlink() and read_json(beside).get("made_by") == _MADE_BY


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".json")


@contextmanager
def _described(job: Job, path: Path, digest: str) -> Iterator[None]:
    """Around the export's taking its name: described before, so that a folder of ours is always known for one.

    If it does not get its name, the description is again what it was.
    """
    beside, more = _beside(path), {"failures": job.failures.facts(), "notes": job.notes, "name": path.name}
    before = beside.read_bytes() if beside.exists() else None
    write_json(beside, job.facts | more | {"sha256": digest})
    try:
        yield
    except BaseException:
        if before is None:
            beside.unlink()
        else:
            beside.write_bytes(before)
        raise


def _tree_sha256(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*"), key=lambda file: file.relative_to(folder).as_posix()):
        name = file.relative_to(folder).as_posix()
        if file.is_symlink():
            digest.update(f"link  {name}\n".encode())
        elif file.is_file():
            digest.update(f"{_sha256(file)}  {name}\n".encode())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
