"""torchvision's sets, from small files in the layout that each set has on the disk."""

import gzip
import hashlib
import pickle
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from mimic.errors import MimicError, MissingExtra
from mimic.runs.importing import import_dataset
from mimic.sources.noise import Noise
from mimic.sources.torchvision import SETS, _written, read_torchvision
from mimic.workspace.layout import Workspace
from mimic.workspace.samples import read_samples

torchvision = pytest.importorskip("torchvision")

RNG = np.random.default_rng(0)


def photo(path: Path, size: int = 12) -> np.ndarray:
    pixels = RNG.integers(0, 256, (size, size, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    made.mkdir()
    return made


def test_dtd_lies_where_it_is(root: Path, tmp_path: Path) -> None:
    for split, names in (("train", "ab"), ("val", "c"), ("test", "d")):
        lines = [f"{kind}/{kind}_{name}.jpg" for kind in ("banded", "dotted") for name in names]
        for line in lines:
            photo(root / "dtd/dtd/images" / line)
        (root / "dtd/dtd/labels").mkdir(exist_ok=True)
        (root / f"dtd/dtd/labels/{split}1.txt").write_text("\n".join(lines) + "\n")
    listing = read_torchvision("DTD", root, tmp_path / "into")
    samples = list(listing.samples())
    assert listing.classes == ["banded", "dotted"]
    assert [(s.label, s.split) for s in samples[:3]] == [("banded", "train"), ("banded", "train"), ("dotted", "train")]
    assert [s.split for s in samples] == ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    assert samples[0].path == "dtd/dtd/images/banded/banded_a.jpg"
    assert all((listing.root / s.path).is_file() for s in samples)
    assert not (tmp_path / "into").exists()


def test_flowers(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = root / "flowers-102"
    for number in range(1, 7):
        photo(base / f"jpg/image_{number:05d}.jpg")
    scipy.io.savemat(base / "imagelabels.mat", {"labels": np.array([1, 1, 2, 2, 102, 3])})
    scipy.io.savemat(base / "setid.mat", {"trnid": [1, 3], "valid": [2, 5], "tstid": [4, 6]})
    sums = {
        "image": ("102flowers.tgz", ""),
        "label": ("imagelabels.mat", md5(base / "imagelabels.mat")),
        "setid": ("setid.mat", md5(base / "setid.mat")),
    }
    monkeypatch.setattr(torchvision.datasets.Flowers102, "_file_dict", sums)
    listing = read_torchvision("Flowers102", root, tmp_path / "into")
    samples = list(listing.samples())
    assert len(listing.classes) == 102
    assert [s.label for s in samples[:2]] == ["pink primrose", "hard-leaved pocket orchid"]
    assert [s.path for s in samples] == [f"flowers-102/jpg/image_0000{n}.jpg" for n in (1, 3, 2, 5, 4, 6)]


def test_pets(root: Path, tmp_path: Path) -> None:
    base = root / "oxford-iiit-pet"
    for name in ("Abyssinian_1", "Abyssinian_2", "great_pyrenees_7", "great_pyrenees_8"):
        photo(base / f"images/{name}.jpg")
    (base / "annotations").mkdir()
    (base / "annotations/trainval.txt").write_text("Abyssinian_1 1 1 1\ngreat_pyrenees_7 2 2 1\n")
    (base / "annotations/test.txt").write_text("Abyssinian_2 1 1 1\ngreat_pyrenees_8 2 2 1\n")
    listing = read_torchvision("OxfordIIITPet", root, tmp_path / "into")
    samples = list(listing.samples())
    assert listing.classes == ["Abyssinian", "Great Pyrenees"]
    assert [(s.path.rsplit("/", 1)[-1], s.label, s.split) for s in samples] == [
        ("Abyssinian_1.jpg", "Abyssinian", "train"),
        ("great_pyrenees_7.jpg", "Great Pyrenees", "train"),
        ("Abyssinian_2.jpg", "Abyssinian", "test"),
        ("great_pyrenees_8.jpg", "Great Pyrenees", "test"),
    ]


def test_stl10_is_written_out(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = root / "stl10_binary"
    base.mkdir()
    pixels = RNG.integers(0, 256, (5, 3, 96, 96), np.uint8)  # on the disk the columns come before the rows
    for name, images in (("train_X", pixels[:3]), ("test_X", pixels[3:]), ("unlabeled_X", pixels[:0])):
        (base / f"{name}.bin").write_bytes(images.transpose(0, 1, 3, 2).tobytes())
    (base / "train_y.bin").write_bytes(bytes([1, 10, 2]))
    (base / "test_y.bin").write_bytes(bytes([3, 1]))
    (base / "class_names.txt").write_text("airplane\nbird\ncar\ncat\ndeer\ndog\nhorse\nmonkey\nship\ntruck")
    kind = torchvision.datasets.STL10
    for name in ("train_list", "test_list"):
        monkeypatch.setattr(kind, name, [[file, md5(base / file)] for file, _ in getattr(kind, name)])
    samples, listing = written("STL10", root, tmp_path)
    assert [s.label for s in samples] == ["airplane", "truck", "bird", "car", "airplane"]
    for sample, expected in zip(samples, pixels, strict=True):
        with Image.open(listing.root / sample.path) as image:
            np.testing.assert_array_equal(np.asarray(image), expected.transpose(1, 2, 0))


@pytest.mark.parametrize(("name", "key"), [("CIFAR10", "labels"), ("CIFAR100", "fine_labels")])
def test_cifar_is_written_out(name: str, key: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = getattr(torchvision.datasets, name)
    base = root / kind.base_folder
    base.mkdir()
    pixels = {}
    for list_name in ("train_list", "test_list"):
        for file, _ in getattr(kind, list_name):
            pixels[file] = RNG.integers(0, 256, (2, 3072), np.uint8)
            (base / file).write_bytes(pickle.dumps({"data": pixels[file], key: [0, 2]}))
        monkeypatch.setattr(kind, list_name, [[file, md5(base / file)] for file, _ in getattr(kind, list_name)])
    (base / kind.meta["filename"]).write_bytes(pickle.dumps({kind.meta["key"]: ["airplane", "automobile", "bird"]}))
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": md5(base / kind.meta["filename"])})
    samples, listing = written(name, root, tmp_path)
    train = 2 * len(kind.train_list)
    assert [s.label for s in samples[:2]] == ["airplane", "bird"]
    assert [s.split for s in samples] == ["train"] * train + ["test"] * 2
    first = pixels[kind.train_list[0][0]][0].reshape(3, 32, 32).transpose(1, 2, 0)
    with Image.open(listing.root / samples[0].path) as image:
        np.testing.assert_array_equal(np.asarray(image), first)


def test_a_pickle_of_another_sum_is_never_opened(root: Path, tmp_path: Path) -> None:
    base = root / "cifar-10-batches-py"
    base.mkdir()
    for number in range(1, 6):
        (base / f"data_batch_{number}").write_bytes(b"cos\nsystem\n(S'touch opened'\ntR.")
    with pytest.raises(MimicError, match="CIFAR10 cannot be read"):
        read_torchvision("CIFAR10", root, tmp_path / "into")
    assert not Path("opened").exists()


def test_idx_files_have_grey_pixels(root: Path, tmp_path: Path) -> None:
    base = root / "FashionMNIST/raw"
    base.mkdir(parents=True)
    pixels = RNG.integers(0, 256, (4, 28, 28), np.uint8)
    for prefix, some in (("train", slice(0, 3)), ("t10k", slice(3, 4))):
        images, labels = pixels[some], np.array([9, 0, 1, 2], np.uint8)[some]
        (base / f"{prefix}-images-idx3-ubyte").write_bytes(
            struct.pack(">4i", 2051, len(images), 28, 28) + images.tobytes()
        )
        (base / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, len(labels)) + labels.tobytes())
        with gzip.open(base / f"{prefix}-images-idx3-ubyte.gz", "wb") as file:  # as a download leaves them
            file.write(b"")
    samples, listing = written("FashionMNIST", root, tmp_path)
    assert [s.label for s in samples] == ["Ankle boot", "T-shirt/top", "Trouser", "Pullover"]
    with Image.open(listing.root / samples[3].path) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels[3])


def written(name: str, root: Path, tmp_path: Path):
    """A set whose images are written out; twice, and the second time they are left as they are."""
    listing = read_torchvision(name, root, tmp_path / "into")
    samples = list(listing.samples())
    assert listing.root == tmp_path / "into"
    times = [(listing.root / s.path).stat().st_mtime_ns for s in samples]
    again = read_torchvision(name, root, tmp_path / "into")
    assert list(again.samples()) == samples
    assert [(listing.root / s.path).stat().st_mtime_ns for s in samples] == times
    assert sorted(p for p in (tmp_path / "into").rglob("*") if p.suffix == ".tmp") == []
    return samples, listing


def test_imported_with_noise_the_truth_is_kept_apart(root: Path, tmp_path: Path) -> None:
    for kind in ("AnnualCrop", "Forest"):
        for place in range(40):
            photo(root / f"eurosat/2750/{kind}/{kind}_{place}.jpg", 8)
    workspace = Workspace(tmp_path / "w")
    noise = Noise("symmetric", 0.5, seed=1)
    dataset, _ = import_dataset(workspace, Path("torchvision:EuroSAT"), "land", root, noise=noise)
    assert dataset.has_truth
    assert dataset.splits == {}
    samples = read_samples(dataset, 0, 80)
    assert [s.truth for s in samples] == ["AnnualCrop"] * 40 + ["Forest"] * 40
    assert 25 < sum(s.label != s.truth for s in samples) < 55
    again, _ = import_dataset(workspace, Path("torchvision:EuroSAT"), "land", root, noise=noise)
    assert again.content == dataset.content


def test_what_is_not_there_is_said(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MimicError, match="no classification set torchvision:COCO: one of CIFAR10"):
        read_torchvision("COCO", root, tmp_path / "into")
    with pytest.raises(MimicError, match=r"torchvision:DTD cannot be read from .*--root, or --download"):
        read_torchvision("DTD", root, tmp_path / "into")
    with pytest.raises(MimicError, match="classes of its own"):
        import_dataset(Workspace(tmp_path / "w"), Path("torchvision:DTD"), "d", root, classes=["a", "b"])
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingExtra, match=r"mimic-score\[models\]"):
        read_torchvision("DTD", root, tmp_path / "into")


def test_every_set_is_one_of_torchvision_s() -> None:
    assert [name for name in SETS if not hasattr(torchvision.datasets, name)] == []


def test_two_who_write_the_same_pictures_build_them_apart_and_leave_nothing(tmp_path: Path) -> None:
    pixels = [(Image.new("L", (4, 4), 60 * shade), 0) for shade in range(3)]
    first, second = (_written(pixels, tmp_path / "train") for _ in range(2))
    assert next(first) == next(second) == tmp_path / "train/000000.png"
    assert len(list(tmp_path.glob(".train.*.tmp"))) == 2
    assert [path.name for path in (*first, *second)] == ["000001.png", "000002.png"] * 2
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["000000.png", "000001.png", "000002.png", "train"]
