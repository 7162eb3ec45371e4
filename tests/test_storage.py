"""What lies on a server is what lies here, however the server behaves; and names from outside stay below the root."""

from __future__ import annotations

import io
import shutil
import socket
import sys
import tarfile
import time
from pathlib import Path

import fsspec
import pytest
from fsspec.registry import _registry
from PIL import Image

from mimic import images, storage
from mimic.errors import MimicError, MissingExtra
from mimic.images import UnreachableImage, UnreadableImage, image_bytes, images_bytes, is_there
from mimic.runs.importing import import_dataset
from mimic.storage import Remote, location
from mimic.workspace import thumbs
from mimic.workspace.layout import Workspace
from mimic.workspace.samples import read_samples
from mimic.workspace.thumbs import thumbnail, thumbnails
from tests.servers import READS, ROOTS, Server, bad_days


def classes(folder: Path) -> Path:
    """FOLDER/<split>/<class>/…, with names that sort otherwise as text than as paths, hidden ones and other files."""
    for place, name in enumerate(["train/a/1.png", "train/a-b/0.png", "train/a/x/2.png", "val/b/3.png"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (80, 60), (40 * place, 0, 0)).save(folder / name)
    (folder / "train/a/notes.txt").write_text("no image")
    (folder / "train/.hidden").mkdir()
    shutil.copy(folder / "train/a/1.png", folder / "train/.hidden/1.png")
    return folder


def test_class_folders_on_a_server_are_listed_as_they_are_here(server: Server, tmp_path: Path) -> None:
    folder, workspace = classes(tmp_path / "folder"), Workspace(tmp_path / "w")
    url = server.upload(folder, "classes")
    here, found = import_dataset(workspace, folder, "here")
    there, found_there = import_dataset(workspace, location(url + "/"), "there")
    assert there.content == here.content
    assert found_there.found.counts.keys() == found.found.counts.keys()
    assert [sample.split for sample in read_samples(there, 0, 4)] == ["train", "train", "train", "val"]


def shard(path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        for key in range(6):
            image = io.BytesIO()
            Image.new("RGB", (100, 100), (0, 40 * key, 0)).save(image, "PNG")
            for name, data in ((f"{key:03}.png", image.getvalue()), (f"{key:03}.txt", f"thing {key}".encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path


def test_a_sample_of_a_tar_on_a_server_is_one_request_for_its_own_bytes(server: Server, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    shard(tmp_path / "shards/00000.tar")
    shard(tmp_path / "shards/00001.tar")
    url, workspace = server.upload(tmp_path / "shards", "shards"), Workspace(tmp_path / "w")
    here, _ = import_dataset(workspace, tmp_path / "shards", "here")
    server.fault = bad_days
    there, _ = import_dataset(workspace, location(url), "there")
    server.fault = lambda number: None
    assert there.content == here.content
    path = read_samples(there, 9, 10)[0].path
    assert path is not None
    server.asked.clear()
    assert image_bytes(there.root, path) == image_bytes(here.root, path)
    offset, size = (int(each) for each in path.partition("#")[2].partition("/")[0].split("+"))
    assert server.reads == [("shards/00001.tar", f"bytes={offset}-{offset + size - 1}")]
    assert is_there(there.root, path)
    assert not is_there(there.root, path.replace(f"+{size}/", "+99999999/"))


def test_pictures_of_a_gallery_come_together_and_are_kept(server: Server, tmp_path: Path) -> None:
    url = server.upload(classes(tmp_path / "folder"), "gallery")
    paths = ["train/a/1.png", "train/a-b/0.png", None, "val/b/none.png", "../secret.png"]
    server.asked.clear()
    shown = thumbnails(location(url), paths, tmp_path / "cache")
    assert [bool(each.uri) for each in shown] == [True, True, False, False, False]
    assert [each.reason for each in shown[2:]] == [
        "no image",
        "file is missing",
        "path leads out of the data set's root",
    ]
    assert shown[:2] == [thumbnail(tmp_path / "folder", path, tmp_path / "other") for path in paths[:2]]
    server.asked.clear()
    assert thumbnail(location(url), paths[0], tmp_path / "cache") == shown[0]
    assert server.asked == []


AWAY = "server could not be reached"


def timed_page(url: str, cache: Path) -> tuple[float, set[str]]:
    """How long a page's pictures take, and what stands in their places."""
    began = time.monotonic()
    shown = thumbnails(location(url), [f"{number}.png" for number in range(24)], cache)
    return time.monotonic() - began, {each.reason for each in shown}


def test_a_server_that_is_down_costs_a_page_a_moment_and_the_next_none(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.upload(classes(tmp_path / "folder"), "down")
    monkeypatch.setattr(storage, "_PAUSE", 0.5)  # as users have it
    monkeypatch.setattr(thumbs, "_AWAY", {})
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server.lead(monkeypatch, f"http://127.0.0.1:{unused.getsockname()[1]}")
        seconds, reasons = timed_page(url, tmp_path / "cache")
    assert (seconds < 6, reasons) == (True, {AWAY}), seconds
    server.lead(monkeypatch, server.url)  # it is back, and is left alone for the rest of the minute
    seconds, reasons = timed_page(url, tmp_path / "cache")
    assert (seconds < 0.5, reasons, server.asked) == (True, {AWAY}, [])
    thumbs._AWAY[location(url).server] = time.monotonic()
    assert timed_page(url, tmp_path / "cache")[1] == {"file is missing"}
    assert thumbnail(location(url), "val/b/3.png", tmp_path / "cache").uri


def test_a_server_that_takes_calls_and_says_nothing_is_not_waited_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_NO_ANSWER", 1.0)
    monkeypatch.setattr(storage, "_SOON", 0.5)
    monkeypatch.setattr(thumbs, "_AWAY", {})
    with socket.create_server(("127.0.0.1", 0), backlog=100) as dumb:
        server.lead(monkeypatch, f"http://127.0.0.1:{dumb.getsockname()[1]}")
        seconds, reasons = timed_page(f"{ROOTS[server.scheme]}/dumb", tmp_path / "cache")
        assert (seconds < 5, reasons) == (True, {AWAY}), seconds
        (found,) = images_bytes(location(f"{ROOTS[server.scheme]}/dumb"), ["a.png"], in_haste=True)
        assert str(found) == "file cannot be read (no answer within 1 s)"


def test_one_picture_that_fails_leaves_the_others(s3: Server, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(thumbs, "_AWAY", {})
    monkeypatch.setattr(storage, "_SOON", 60.0)  # however busy this machine is
    url = s3.upload(classes(tmp_path / "folder"), "some")
    s3.fault = lambda number: "slow" if "val" in s3.asked[number][0] else None
    shown = thumbnails(location(url), ["train/a/1.png", "val/b/3.png"], tmp_path / "cache")
    assert shown[0].uri
    assert "reduce your request rate" in shown[1].reason
    assert thumbs._AWAY == {}
    assert len(s3.asked) == 1 + storage.IN_HASTE


def test_files_of_a_client_that_asks_for_one_at_a_time_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    files = fsspec.filesystem("memory")
    for number in range(8):
        files.pipe_file(f"/slow/{number}", bytes([number]) * 10)
    read = MemoryFileSystem.cat_file

    def slowly(self, path, *where, **more):
        time.sleep(0.2)
        return read(self, path, *where, **more)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", slowly)
    began = time.monotonic()
    found = images_bytes(Remote("memory://slow"), [*map(str, range(8)), "none"])
    assert time.monotonic() - began < 1.2
    assert found[:8] == [bytes([number]) * 10 for number in range(8)]
    assert str(found[8]) == "file is missing"


def test_a_server_that_never_answers_is_a_counted_reason_soon(s3: Server, tmp_path: Path) -> None:
    url = s3.upload(classes(tmp_path / "folder"), "throttled")
    s3.fault = lambda number: "slow"
    began = time.monotonic()
    with pytest.raises(UnreadableImage, match=r"file cannot be read \(.*reduce your request rate"):
        image_bytes(location(url), "train/a/1.png")
    assert time.monotonic() - began < 20
    assert len(s3.asked) == storage.ATTEMPTS
    s3.fault = lambda number: "drop"
    assert isinstance(images_bytes(location(url), ["train/a/1.png"])[0], UnreadableImage)


def test_a_missing_key_is_not_asked_for_again(server: Server) -> None:
    server.put("something/there.png", b"1")
    with pytest.raises(UnreadableImage, match="file is missing"):
        image_bytes(location(f"{ROOTS[server.scheme]}/something"), "here.png")
    assert len(server.reads) <= 1
    assert len(server.asked) == len(set(server.asked))


def test_what_is_forbidden_is_not_asked_for_again(server: Server) -> None:
    server.put("locked/a.png", b"1")
    server.fault = lambda number: "forbidden"
    with (
        pytest.raises(MimicError, match=r"/locked cannot be read \(.*your keys"),
        storage.reached(place := location(f"{ROOTS[server.scheme]}/locked")),
    ):
        place.find()
    assert len(server.asked) == 1
    server.fault = lambda number: "forbidden" if READS[server.scheme].fullmatch(server.asked[number][0]) else None
    (found,) = images_bytes(place, ["a.png"])
    assert isinstance(found, UnreadableImage)
    assert not isinstance(found, UnreachableImage)
    assert len(server.reads) == 1


def test_a_bucket_that_is_not_there_is_a_sentence(server: Server, tmp_path: Path) -> None:
    root = ROOTS[server.scheme] + "-of-nobody"
    with pytest.raises(MimicError, match=rf"{root}/x does not exist"):
        import_dataset(Workspace(tmp_path), location(f"{root}/x"), "x")


def test_trouble_is_not_taken_for_absence(server: Server, tmp_path: Path) -> None:
    url = server.upload(classes(tmp_path / "folder"), "trouble")
    server.fault = lambda number: "slow"
    place = location(f"{url}/val")
    assert isinstance(place, Remote)
    for ask in (place.is_file, place.is_dir, place.exists):
        with pytest.raises(OSError, match=r"(?i)rate|unavailable"):
            ask()


def test_an_empty_object_is_said_as_an_empty_file_is(s3: Server) -> None:
    s3.put("empty/a.png", b"")
    assert image_bytes(location(f"{ROOTS['s3']}/empty"), "a.png") == b""


@pytest.mark.parametrize(
    "path", ["../up.png", "a/../../up.png", "/etc/passwd", "s3://other/a.png", "file:///etc/passwd", "a\0.png", ".."]
)
def test_no_name_leads_out_of_a_root_on_a_server(path: str) -> None:
    root = Remote("s3://bucket/images")
    with pytest.raises(ValueError, match="leads out"):
        root.relative(path)
    assert root.relative("s3://bucket/images/a/./b.png") == "a/b.png"
    assert root.relative("..a.jpg") == "..a.jpg"
    assert root.relative("...") == "..."


@pytest.mark.parametrize(
    "url", ["http://host/x", "simplecache::s3://bucket/x", "s3://a::file:///etc/passwd", "ssh://x/y"]
)
def test_other_kinds_of_urls_are_refused(url: str) -> None:
    with pytest.raises(MimicError, match="is of no kind that is read here"):
        location(url)


def test_a_path_stays_a_path() -> None:
    assert location("a/b") == Path("a/b")
    assert location("file:///a/b") == Path("/a/b")
    assert location("torchvision:DTD") == Path("torchvision:DTD")


def test_what_reads_a_kind_and_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(_registry, "gs", raising=False)  # it may have been imported already
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingExtra, match=r"mimic-score\[gs\]"):
        location("gs://bucket/x").exists()


def test_a_file_is_read_from_front_to_end_and_in_jumps() -> None:
    data = bytes(range(256)) * 100_000
    fsspec.filesystem("memory").pipe_file("/folder/big", data)
    with location("memory://folder/big").open() as file:
        assert file.seek(0, 2) == len(data)
        for place in (0, 512, 12_000_000, 11_999_000, 3):
            file.seek(place)
            assert file.read(700) == data[place : place + 700]
        file.seek(0)
        assert file.read() == data


def test_a_server_without_keys_is_a_sentence_at_once(
    s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(MimicError, match=r"s3://pictures/x cannot be read \(.*redentials.*your keys"):
        import_dataset(Workspace(tmp_path), location("s3://pictures/x"), "x")


def test_a_folder_called_credentials_is_asked_for_again(s3: Server, tmp_path: Path) -> None:
    url = s3.upload(classes(tmp_path / "folder"), "credentials")
    s3.fault = lambda number: "drop" if number == 0 else None
    assert image_bytes(location(url), "val/b/3.png") == (tmp_path / "folder/val/b/3.png").read_bytes()
    assert storage.passes(storage._error(RuntimeError("https://host/credentials/a.png: connection reset")))


def test_a_file_of_unknown_length_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(MemoryFileSystem, "size", lambda self, path: None)
    with pytest.raises(OSError, match=r"memory://a/b: the server does not say how long it is"):
        location("memory://a/b").open()


def test_what_fails_below_oranges_is_not_an_empty_file(monkeypatch: pytest.MonkeyPatch) -> None:
    said = OSError("the server at oranges/a.png is away")
    monkeypatch.setattr(images, "read_ranges", lambda wanted, in_haste: [said] * len(wanted))
    with pytest.raises(UnreadableImage, match="is away"):
        image_bytes(location("memory://oranges"), "a.png")
