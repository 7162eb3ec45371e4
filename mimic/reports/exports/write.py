"""One export from beginning to end: built under a temporary name, described beside it, and only then named.

PATH        the file or folder
PATH.json   rule, counts, failures, versions, and the SHA-256; nothing in it depends on when or where it was made
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from mimic.errors import MimicError
from mimic.files import make_folder, needing_room, read_json, remove, replacing, temporary_name, write_json
from mimic.filters.rule import Rule
from mimic.reports.exports.job import Job
from mimic.reports.exports.options import Options
from mimic.reports.exports.registry import FORMATS
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
    if form not in FORMATS:
        raise MimicError(f"no export format {form!r}: choose one of {', '.join(FORMATS)}")
    _refuse_to_overwrite(path, overwrite)
    make_folder(path.parent)
    job = Job(selection, options or Options(), {"made_by": _MADE_BY, "format": form} | selection.facts())
    digest = _file(job, path) if FORMATS[form].suffix else _folder(job, path)
    return Export(path, digest, job.facts["counts"], job.failures.count, tuple(job.notes))


def export_bytes(table: Dense, rule: Rule, form: str) -> bytes:
    """The file of an export of the rule alone, for a download; formats that are one file only."""
    with tempfile.TemporaryDirectory(prefix="mimic-") as folder:
        return write_export(Selection(table, rule), Path(folder) / "export", form).path.read_bytes()


def rule_bytes(saved: NamedFilter) -> bytes:
    """A named filter as JSON, for a download beside its export."""
    return (json.dumps(asdict(saved), indent=2, ensure_ascii=False) + "\n").encode()


def _file(job: Job, path: Path) -> str:
    with replacing(path) as temporary:
        FORMATS[job.facts["format"]].write(job, temporary)
        digest = _sha256(temporary)
        _describe(job, path, digest)
    return digest


def _folder(job: Job, path: Path) -> str:
    with needing_room(path):
        temporary, replaced = temporary_name(path), temporary_name(path)
        temporary.mkdir()
        try:
            FORMATS[job.facts["format"]].write(job, temporary)
            digest = _tree_sha256(temporary)
            _describe(job, path, digest)
            if path.exists():
                path.rename(replaced)
            temporary.rename(path)
        finally:
            if replaced.exists() and not path.exists():
                replaced.rename(path)  # the new one did not get there: the old one has its name again
            remove(temporary)
            remove(replaced)
    return digest


def _refuse_to_overwrite(path: Path, overwrite: bool) -> None:
    if not path.exists() and not path.is_symlink():
        return
    if not overwrite:
        raise MimicError(f"{path} is there already: choose another path, or say --overwrite")
    if path.is_dir() and not _is_ours(path):
        raise MimicError(f"{path} is a folder that no export made, so it is not replaced: choose another path")


def _is_ours(path: Path) -> bool:
    beside = _beside(path)
    return beside.is_file() and not path.is_symlink() and read_json(beside).get("made_by") == _MADE_BY


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _describe(job: Job, path: Path, digest: str) -> None:
    """Written before the export takes its name, so that a folder of ours is always known for one."""
    more = {"failures": job.failures.facts(), "notes": job.notes, "name": path.name, "sha256": digest}
    write_json(_beside(path), job.facts | more)


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
