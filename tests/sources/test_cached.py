"""A manifest of URLs finds what somebody has downloaded, by key or by the URL's digest, and never fetches."""

import hashlib
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from mimic.errors import MimicError
from mimic.sources.manifest import read_manifest

URLS = [f"https://example.com/{i}.jpg?size=ü" for i in range(4)]


def manifest(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("kind", ["sha256", "sha1", "md5"])
@pytest.mark.parametrize("ending", ["", ".jpg", ".WEBP"])
def test_by_digest(kind: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", None)
    names = [hashlib.new(kind, url.encode()).hexdigest() for url in URLS]
    (tmp_path / "cache/ab").mkdir(parents=True)
    for name in names[:3]:
        (tmp_path / f"cache/ab/{name}{ending}").touch()
    rows = [{"url": url, "caption": "c"} for url in URLS]
    listing = read_manifest(manifest(tmp_path, rows), tmp_path / "cache")
    paths = [sample.path for sample in listing.samples()]
    assert paths[:3] == [f"ab/{name}{ending}" for name in names[:3]]
    assert paths[3] == hashlib.sha256(URLS[3].encode()).hexdigest()
    assert listing.found.counts == {"URLs without a file in the cache (nothing is downloaded)": (1, URLS[3])}


def test_by_key_as_img2dataset_writes_files(tmp_path: Path) -> None:
    rows = [
        {"url": url, "key": f"{shard:05}{i:04}", "caption": "c", "status": "success"}
        for i, url in enumerate(URLS)
        for shard in (0, 1)
    ]
    for row in rows:
        file = tmp_path / f"out/{row['key'][:5]}/{row['key']}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        file.with_suffix(".txt").write_text("c")
    samples = list(read_manifest(manifest(tmp_path, rows), tmp_path / "out").samples())
    assert [sample.path for sample in samples][:2] == ["00000/000000000.jpg", "00001/000010000.jpg"]
    assert samples[0].extra["status"] == "success"


def test_a_key_in_a_csv_keeps_its_zeros(tmp_path: Path) -> None:
    (tmp_path / "000000017.jpg").touch()
    (tmp_path / "m.csv").write_text(f"url,key,label\n{URLS[0]},000000017,x\n")
    assert [sample.path for sample in read_manifest(tmp_path / "m.csv").samples()] == ["000000017.jpg"]


def test_a_path_goes_first_and_a_hostile_key_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    both = read_manifest(manifest(tmp_path, [{"url": URLS[0], "path": "a.jpg", "label": "x"}]))
    assert [sample.path for sample in both.samples()] == ["a.jpg"]
    rows = [{"url": URLS[0], "key": "a", "label": "x"}, {"url": URLS[1], "key": "../../etc/passwd", "label": "x"}]
    assert [sample.path for sample in read_manifest(manifest(tmp_path, rows)).samples()] == ["a.jpg", "passwd"]


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(MimicError, match="holds none of their images"):
        read_manifest(manifest(tmp_path, [{"url": URLS[0], "label": "x"}]))
    with pytest.raises(MimicError, match="neither a path nor a URL"):
        read_manifest(manifest(tmp_path, [{"url": None, "label": "x"}, {"url": URLS[0], "label": "y"}]))
