"""Manifests that are broken, huge, nested, or not what their ending says, and folders of images that lead astray.

Each writer is given an empty folder with `good.png` in it and returns what to import. What is to become of it stands
beside: `SCORED` (perhaps with rows left out or counted), or `REFUSED` with one sentence.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.hostile import HUGE, png, write_tar
from tests.hostile import member as tar_member

Writer = Callable[[Path], Path]
HEAD = "path,label\n"
ROW = "good.png,0\nalso.png,1\n"


def _csv(text: str | bytes, name: str = "m.csv") -> Writer:
    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape"))
        return path

    return write


def _jsonl(text: str) -> Writer:
    return _csv(text, "m.jsonl")


def _parquet(columns: dict[str, pa.Array], **options: object) -> Writer:
    def write(folder: Path) -> Path:
        path = folder / "m.parquet"
        pq.write_table(pa.table(columns), path, **options)  # type: ignore[arg-type]
        return path

    return write


def _repeated(rows: int) -> Writer:
    """One path so many times over: some kilobytes on the disk."""

    def write(folder: Path) -> Path:
        path, group = folder / "m.parquet", pa.array([0] * 10_000_000, pa.int32())
        column = pa.DictionaryArray.from_arrays(group, ["good.png"])
        with pq.ParquetWriter(path, pa.schema({"path": column.type, "label": column.type})) as writer:
            for _ in range(rows // len(group)):
                writer.write_table(pa.table({"path": column, "label": column}))
        return path

    return write


def _flipped(folder: Path) -> Path:
    path = _parquet({"path": pa.array(["good.png"] * 999), "label": pa.array(["0"] * 999)})(folder)
    data = bytearray(path.read_bytes())
    for place in range(10, len(data) - 10, 37):
        data[place] ^= 0x55
    path.write_bytes(data)
    return path


def _cut(folder: Path) -> Path:
    path = _parquet({"path": pa.array(["good.png"]), "label": pa.array(["0"])})(folder)
    path.write_bytes(path.read_bytes()[:-20])
    return path


TWO = {"path": pa.array(["good.png", "also.png"]), "label": pa.array(["0", "1"])}

SCORED: dict[str, Writer] = {
    "a further field of 10 MB": _csv("path,label,notes\ngood.png,0,\nalso.png,1," + "x" * HUGE + "\n"),
    "a path of 10 MB": _csv(HEAD + ROW + "y" * HUGE + ",1\n"),
    "a path of a thousand folders": _csv(HEAD + ROW + "a/" * 1000 + "b.png,1\n"),
    "a truth of 10 MB": _csv("path,label,truth\ngood.png,0,a\nalso.png,1," + "x" * HUGE + "\n"),
    "a split of 10 MB": _csv("path,label,split\ngood.png,0,a\nalso.png,1," + "x" * HUGE + "\n"),
    "an id of 10 MB": _csv("path,label,id\ngood.png,0,a\nalso.png,1," + "x" * HUGE + "\n"),
    "a byte-order mark": _csv(b"\xef\xbb\xbf" + (HEAD + ROW).encode()),
    "line ends of three kinds": _csv("path,label\r\ngood.png,0\r\nalso.png,1\n\n"),
    "formulas": _csv('path,label,note\nalso.png,1,-1\ngood.png,0,"=HYPERLINK(""http://x"",""y"")"\n'),
    "columns that are SQL": _csv('path,label,"x""; DROP TABLE samples; --"\ngood.png,0,1\nalso.png,1,1\n'),
    "escapes in a column's name": _csv("path,label,\x1b[31m\ngood.png,0,1\nalso.png,1,1\n"),
    "a thousand columns": _csv(
        "path,label,"
        + ",".join(f"c{i}" for i in range(1000))
        + "\ngood.png,0"
        + ",1" * 1000
        + "\nalso.png,1"
        + ",1" * 1000
        + "\n"
    ),
    "numbers out of every range": _csv("path,label,n\ngood.png,0,1e999\nalso.png,1,-99999999999999999999\n"),
    "a device": _csv(HEAD + ROW + "pipe.png,1\n"),
    "JSON with numbers of many digits": _jsonl(
        '{"path": "good.png", "label": "0", "n": 1e300}\n'
        + '{"path": "also.png", "label": "1", "n": 12345678901234567890123}\n'
    ),
    "nested further columns": _parquet(TWO | {"s": pa.array([{"a": [1], "b": {"c": 2}}, None])}),
    "lists of lists": _parquet(TWO | {"s": pa.array([[[1]], []])}),
    "decimals": _parquet(TWO | {"s": pa.array([1, 2], pa.decimal128(38))}),
    "intervals": _parquet(TWO | {"s": pa.array([1, 2], pa.duration("ns"))}),
    "half floats": _parquet(TWO | {"s": pa.array([1.0, 2.0], pa.float16())}),
    "bytes": _parquet(TWO | {"s": pa.array([b"\xff\0", b""])}),
    "maps": _parquet(TWO | {"s": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int32()))}),
    "large strings": _parquet({name: column.cast(pa.large_string()) for name, column in TWO.items()}),
    "dictionaries": _parquet({name: column.dictionary_encode() for name, column in TWO.items()}),
    "labels that are numbers": _parquet(TWO | {"label": pa.array([0.0, 1.0])}),
    "labels that are dates": _parquet(TWO | {"label": pa.array([0, 1], pa.date32())}),
    "labels that are missing": _parquet(
        {"path": pa.array(["good.png", "also.png", "absent.png"]), "label": pa.array(["0", "1", None])}
    ),
    "labels that are truth values": _parquet(TWO | {"label": pa.array([True, False])}),
}

REFUSED: dict[str, Writer] = {
    "a path with NULs": _csv(HEAD + ROW + "a\0b.png,1\n"),
    "JSON with half a surrogate pair": _jsonl(
        '{"path": "good.png", "label": "0", "t": "\\ud800"}\n{"path": "also.png", "label": "1"}\n'
    ),
    "times beyond the calendar": _parquet(TWO | {"s": pa.array([2**62, -(2**62)], pa.timestamp("us"))}),
    "a label of 5,000 digits": _csv(HEAD + ROW + "absent.png," + "9" * 5000 + "\n"),
    "a label of 10 MB": _csv(HEAD + ROW + "absent.png," + "x" * HUGE + "\n"),
    "a label of 20 digits": _csv(HEAD + ROW + "absent.png," + "9" * 20 + "\n"),
    "a label with escapes": _csv(HEAD + ROW + "absent.png,\x1b]0;title\x07\x1b[31m\n"),
    "a million labels": _csv(HEAD + ROW + "".join(f"{i}.png,c{i}\n" for i in range(200_000))),
    "nothing": _csv(""),
    "a head alone": _csv(HEAD),
    "no line end and no rows": _csv("path"),
    "no column path": _csv("label,x\n0,1\n"),
    "two columns of one name": _csv("path,path,label\ngood.png,good.png,0\n"),
    "a column called sample": _csv("path,label,Sample\ngood.png,0,1\n"),
    "a column without a name": _csv("path,label,\ngood.png,0,1\n"),
    "rows of unequal length": _csv(HEAD + ROW + "a,b,c\n"),
    "an open quote": _csv(HEAD + ROW + '"' + "x" * 100_000),
    "Latin-1": _csv((HEAD + ROW).encode() + b"caf\xe9.png,1\n"),
    "UTF-16": _csv((HEAD + ROW).encode("utf-16")),
    "zeros": _csv(bytes(100_000)),
    "rubbish": _csv(bytes(range(256)) * 400),
    "a picture as CSV": _csv(png()),
    "a field of 70 MB": _csv(HEAD + "x" * 70_000_000 + ",0\n"),
    "rows without a path": _csv(HEAD + ",0\n"),
    "a path that leads out": _csv(HEAD + ROW + "../outside/secret.png,1\n"),
    "an absolute path": _csv(HEAD + ROW + "/etc/passwd,1\n"),
    "a path through dots": _csv(HEAD + ROW + "a/../../outside/secret.png,1\n"),
    "the same id twice": _csv("path,label,id\ngood.png,0,x\nabsent.png,1,x\n"),
    "no image there": _csv(HEAD + "absent.png,0\n"),
    "depth": _jsonl("[" * 1_000_000),
    "depth in a field": _jsonl('{"path": "good.png", "label": "0", "x": ' + "[" * 100_000 + "]" * 100_000 + "}\n"),
    "depth of objects": _jsonl(
        '{"path": "good.png", "label": "0", "x": ' + '{"a":' * 100_000 + "1" + "}" * 100_000 + "}"
    ),
    "JSON that is no object": _jsonl("17\n"),
    "JSON cut off": _jsonl('{"path": "good.png", "label"'),
    "JSON of two types": _jsonl('{"path": "good.png", "label": "0"}\n{"path": 7, "label": {"a": 1}}\n'),
    "a path that is a number": _jsonl('{"path": {"a": 1}, "label": "0"}\n'),
    "CSV as Parquet": _csv(HEAD + ROW, "m.parquet"),
    "Parquet cut off": _cut,
    "Parquet with flipped bytes": _flipped,
    "Parquet that says it is longer": _csv(b"PAR1" + bytes(50) + b"\xff\xff\xff\x7fPAR1", "m.parquet"),
    "a path that is a list": _parquet(TWO | {"path": pa.array([["good.png"], []])}),
    "a path that is a struct": _parquet(TWO | {"path": pa.array([{"a": "good.png"}, None])}),
    "a path that is no text": _parquet(TWO | {"path": pa.array([b"\xff\xfe", b"good.png"])}),
    "a label that is a list": _parquet(TWO | {"label": pa.array([["0"], []])}),
    "a label with a fraction": _parquet(TWO | {"label": pa.array([0.5, 1.0])}),
    "a row 200 million times": _repeated(200_000_000),
    "no columns": _parquet({}),
    "an ending that nobody knows": _csv(HEAD + ROW, "m.xlsx"),
    "no ending": _csv(HEAD + ROW, "m"),
}


def _tree(folder: Path) -> Path:
    """Class folders 0 and 1 with a good image each."""
    top = folder / "tree"
    for name in ("0", "1"):
        (top / name).mkdir(parents=True)
        (top / name / "good.png").write_bytes(png(28))
    return top


def _loops(folder: Path) -> Path:
    top = _tree(folder)
    (top / "0/up").symlink_to("..")
    (top / "0/self").symlink_to("self")
    (top / "0/there").symlink_to("back")
    (top / "0/back").symlink_to("there")
    return top


def _farm(folder: Path) -> Path:
    """Twelve folders with links to one another: more ways through them than anyone could walk."""
    top = _tree(folder)
    for one in range(12):
        (top / f"0/{one}").mkdir()
        for other in range(12):
            (top / f"0/{one}/{other}").symlink_to(f"../{other}")
    return top


def _deep(folder: Path) -> Path:
    top, here = _tree(folder), Path.cwd()
    os.chdir(top / "1")
    try:
        for _ in range(400):
            os.mkdir("d")  # noqa: PTH102 (a path this long can only be walked)
            os.chdir("d")
    finally:
        os.chdir(here)
    return top


def _odd_names(folder: Path) -> Path:
    top = _tree(folder)
    names = ["\x1b[31mred.png", "new\nline.png", "tab\t.png", "'; DROP TABLE samples; --.png", "--help.png", "%s%n.png"]
    names += ["<img src=x onerror=alert(1)>.png", "\u202egnp.png", "a" * 250 + ".png", " .png", "…​.png", "${HOME}.png"]
    for name in names:
        if "/" not in name:
            (top / "0" / name).write_bytes(png(28))
    return top


def _no_text(folder: Path) -> Path:
    top = _tree(folder)
    Path(os.fsdecode(os.fsencode(top / "0") + b"/\xff\xfe.png")).write_bytes(png(28))
    return top


def _pipes(folder: Path) -> Path:
    top = _tree(folder)
    os.mkfifo(top / "0/pipe.png")
    (top / "1/folder.png").mkdir()
    return top


def _sparse(folder: Path) -> Path:
    top = _tree(folder)
    with (top / "0/huge.png").open("wb") as file:
        file.truncate(1 << 42)
    return top


def _link_out(folder: Path) -> Path:
    top = _tree(folder)
    (top / "0/out.png").symlink_to("../../../outside/secret.png")
    return top


def _folder_out(folder: Path) -> Path:
    top = _tree(folder)
    (top / "0/out").symlink_to("../../../outside")
    return top


def _member_out(folder: Path) -> Path:
    """A folder called like a place in a tar file, beside a tar file that is a link to somebody's secret."""
    top = _tree(folder)
    (top / "0/x.tar").symlink_to("../../../outside/secret.png")
    (top / "0/x.tar#0+70").mkdir()
    (top / "0/x.tar#0+70/y.png").write_bytes(png(28))
    return top


def _many(folder: Path) -> Path:
    members = [tar_member(f"{i}.cls", b"0") for i in range(30_000)]
    return write_tar(
        folder / "many.tar",
        [
            *(tar_member(f"{n}.{kind}", png(28) if kind == "png" else b"0") for n in "gh" for kind in ("png", "cls")),
            *members,
        ],
    )


TREES: dict[str, tuple[Writer, bool]] = {
    "links in circles": (_loops, True),
    "links between all of twelve folders": (_farm, True),
    "names with control characters": (_odd_names, True),
    "pipes and folders named like images": (_pipes, True),
    "a file of four terabytes": (_sparse, True),
    "a shard of 30,000 texts": (_many, True),
    "four hundred folders deep": (_deep, False),
    "a name that is no text": (_no_text, False),
    "a link out of the root": (_link_out, False),
    "a linked folder out of the root": (_folder_out, False),
    "a member of a linked tar out of the root": (_member_out, False),
}

# Files that the workspace itself is made of, where somebody else has written one; and what --preprocess reads.
DOCUMENTS: dict[str, str] = {
    "nothing": "",
    "depth": "[" * 200_000,
    "depth of objects": '{"a":' * 200_000 + "1" + "}" * 200_000,
    "a list": "[]",
    "a number of many digits": '{"format": ' + "9" * 5000 + "}",
    "no number": '{"format": NaN}',
    "another format": '{"format": 99}',
    "cut off": '{"format": 1, "run"',
    "nothing but the format": '{"format": 1}',
    "other types": json.dumps({"format": 1, "name": 3, "dataset": [], "rule": "x", "created": {}, "counts": 1}),
}
