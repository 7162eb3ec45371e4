"""Checkpoints that lie about themselves, hold code, or unpack to far more than they are."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

Writer = Callable[[Path], Path]


class Runs:
    """Unpickled, it would leave a file behind."""

    def __init__(self, call: Callable[..., Any], *arguments: object) -> None:
        self.made_by = (call, arguments)

    def __reduce__(self) -> Any:
        return self.made_by


CODE = [
    Runs(os.system, "touch executed"),
    Runs(eval, "open('executed', 'w')"),
    Runs(exec, "open('executed', 'w')"),
    Runs(__import__, "antigravity"),
]


def _bytes(data: bytes, name: str = "reference.safetensors") -> Writer:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return write


def tensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with this header, whatever it says."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def _saved(content: object, name: str = "reference.pt", **options: Any) -> Writer:
    def write(folder: Path) -> Path:
        torch.save(content, folder / name, **options)
        return folder / name

    return write


def _zip_bomb(folder: Path) -> Path:
    """Two gigabytes of zeros where torch keeps a tensor, packed to two megabytes."""
    torch.save({"head.weight": torch.zeros(4)}, folder / "small.pt")
    with (
        zipfile.ZipFile(folder / "small.pt") as small,
        zipfile.ZipFile(folder / "reference.pt", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as big,
    ):
        for name in small.namelist():
            with big.open(name, "w", force_zip64=True) as out:
                if "/data/" in name:
                    for _ in range(2048):
                        out.write(bytes(1 << 20))
                else:
                    out.write(small.read(name))
    return folder / "reference.pt"


def _bomb_of_tomorrow(folder: Path) -> Path:
    """The same, said to need a version of zip that Python does not read, which torch never asks about."""
    path = _zip_bomb(folder)
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\1\2")
    while at >= 0:
        content[at + 6] = 99
        at = content.find(b"PK\1\2", at + 4)
    path.write_bytes(content)
    return path


def _stretched(folder: Path) -> Path:
    """A classifier of a billion outputs that takes four bytes: every row is the same one."""
    state = {
        "head.weight": torch.zeros(1).expand(1_000_000_000, 128),
        "head.bias": torch.zeros(1).expand(1_000_000_000),
    }
    torch.save(state, folder / "reference.pt")
    return folder / "reference.pt"


def _circle(folder: Path) -> Path:
    circle: dict[str, object] = {}
    circle["state_dict"] = circle
    torch.save(circle, folder / "reference.pt")
    return folder / "reference.pt"


def _index(weight_map: object) -> Writer:
    def write(folder: Path) -> Path:
        path = folder / "reference.safetensors.index.json"
        path.write_text(weight_map if isinstance(weight_map, str) else json.dumps({"weight_map": weight_map}))
        return path

    return write


def _old_tar(folder: Path) -> Path:
    """torch's format of 2016: a tar file, with members that lead out."""
    with tarfile.open(folder / "reference.tar", "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors", "../../executed", "/executed"):
            entry = tarfile.TarInfo(name)
            data = pickle.dumps(CODE[0])
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return folder / "reference.tar"


def _sparse(name: str) -> Writer:
    def write(folder: Path) -> Path:
        with (folder / name).open("wb") as file:
            file.truncate(1 << 40)
        return folder / name

    return write


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "reference.safetensors")
    return folder / "reference.safetensors"


def _folder(folder: Path) -> Path:
    (folder / "reference.safetensors").mkdir()
    return folder / "reference.safetensors"


def _features_bomb(folder: Path) -> Path:
    """DataComp's embeddings of two gigabytes of zeros, packed."""
    path = folder / "reference.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("l14_img", "l14_txt"):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as out:
                head = {"descr": "<f2", "fortran_order": False, "shape": (1 << 20, 1024)}
                np.lib.format.write_array_header_1_0(out, head)  # type: ignore[arg-type]
                for _ in range(2048):
                    out.write(bytes(1 << 20))
    return path


CHECKPOINTS: dict[str, Writer] = {
    "nothing": _bytes(b""),
    "rubbish": _bytes(b"\xff" * 64),
    "a header longer than the file": _bytes(tensors({}, length=1 << 40)),
    "a header of negative length": _bytes(tensors({}, length=(1 << 64) - 1)),
    "a header that is no JSON": _bytes(tensors(b"{nothing")),
    "a header of depth": _bytes(tensors(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)),
    "a header that is a list": _bytes(tensors([])),
    "no tensors": _bytes(tensors({})),
    "offsets past the end": _bytes(tensors({"head.weight": entry([4], 0, 16)}, b"1234")),
    "offsets the wrong way round": _bytes(tensors({"head.weight": entry([1], 4, 0)}, b"1234")),
    "negative offsets": _bytes(tensors({"head.weight": entry([1], -4, 0)}, b"1234")),
    "offsets of another shape": _bytes(tensors({"head.weight": entry([7], 0, 4)}, b"1234")),
    "a shape that overflows": _bytes(tensors({"head.weight": entry([1 << 62, 1 << 62], 0, 4)}, b"1234")),
    "a negative shape": _bytes(tensors({"head.weight": entry([-1], 0, 4)}, b"1234")),
    "tensors on top of one another": _bytes(
        tensors({"head.weight": entry([1], 0, 4), "head.bias": entry([1], 0, 4)}, b"1234")
    ),
    "a hole between tensors": _bytes(
        tensors({"head.weight": entry([1], 0, 4), "head.bias": entry([1], 8, 12)}, bytes(12))
    ),
    "an unknown dtype": _bytes(tensors({"head.weight": entry([1], 0, 4, "F99")}, b"1234")),
    "a dtype that torch lacks": _bytes(tensors({"head.weight": entry([8], 0, 4, "F4")}, b"1234")),
    "a tensor without fields": _bytes(tensors({"head.weight": {}})),
    "a dtype that is a number": _bytes(tensors({"head.weight": {**entry([1], 0, 4), "dtype": 7}}, b"1234")),
    "metadata that is no text": _bytes(tensors({"__metadata__": {"classes": 7}, "a": entry([1], 0, 4)}, b"1234")),
    "classes of depth": _bytes(
        tensors({"__metadata__": {"classes": "[" * 100_000}, "head.weight": entry([1], 0, 4)}, b"1234")
    ),
    "classes of many digits": _bytes(
        tensors({"__metadata__": {"classes": "9" * 5000}, "head.weight": entry([1], 0, 4)}, b"1234")
    ),
    "names with escapes": _bytes(tensors({"\x1b]0;title\x07\x1b[31m\nred": entry([1], 0, 4)}, b"1234")),
    "a tensor of no numbers": _bytes(tensors({"head.weight": entry([0, 128], 0, 0)})),
    "another architecture": _bytes(tensors({"conv.weight": entry([1], 0, 4)}, b"1234")),
    "a terabyte of zeros": _sparse("reference.safetensors"),
    "a terabyte of zeros as torch's": _sparse("reference.pt"),
    "a pipe": _pipe,
    "an empty folder": _folder,
    "an ending that nobody knows": _bytes(b"", "reference.h5"),
    **{
        f"code {place} in {kind}": _saved(
            {"head.weight": code}, f"reference.{kind}", _use_new_zipfile_serialization=new
        )
        for place, code in enumerate(CODE)
        for kind, new in (("pt", True), ("pth", False))
    },
    "code in a bare pickle": _bytes(pickle.dumps({"a": CODE[0]}), "reference.bin"),
    "code as the first protocol writes it": _bytes(b"cos\nsystem\n(S'touch executed'\ntR.", "reference.pt"),
    "code in a tar": _old_tar,
    "a pickle cut off": _bytes(pickle.dumps({"a": [1] * 1000})[:500], "reference.pt"),
    "a pickle of depth": _bytes(b"\x80\x02" + b"]" * 1_000_000 + b"a" * 999_999 + b".", "reference.pt"),
    "a pickle of a text of terabytes": _bytes(b"\x80\x04\x8d" + struct.pack("<Q", 1 << 42) + b"x.", "reference.pt"),
    "a pickle that pops nothing": _bytes(b"\x80\x020000.", "reference.pt"),
    "a pickle that recalls nothing": _bytes(b"\x80\x02h\xff.", "reference.pt"),
    "wrappers in a circle": _circle,
    "wrappers of depth": _saved({"model": {"model": {"model": {"model": {"a": 1}}}}}),
    "no state dict": _saved([1, 2, 3]),
    "a module": _saved(torch.nn.Linear(2, 2)),
    "a zip of other things": _bytes(b"PK\5\6" + bytes(18), "reference.pt"),
    "a bomb of zeros": _zip_bomb,
    "a bomb that asks for another zip": _bomb_of_tomorrow,
    "a classifier of a billion outputs": _stretched,
    "an index of depth": _index("[" * 100_000),
    "an index of lists": _index(["a"]),
    "an index that leads out": _index({"head.weight": "../../outside/secret.png"}),
    "an index of itself": _index({"head.weight": "reference.safetensors.index.json"}),
    "an index of numbers": _index({"head.weight": 7}),
}
FEATURES: dict[str, Writer] = {
    "a bomb": _features_bomb,
    "rubbish": _bytes(b"PK\3\4rubbish", "reference.npz"),
    "objects": lambda folder: _objects(folder),
    "ids of depth": _bytes(
        tensors(
            {"__metadata__": {"ids": "[" * 100_000}, "image": entry([1, 1], 0, 4), "text": entry([1, 1], 4, 8)},
            bytes(8),
        )
    ),
}


def _objects(folder: Path) -> Path:
    np.savez(folder / "reference.npz", l14_img=np.array([CODE[0]], object), l14_txt=np.array([1]))
    return folder / "reference.npz"
