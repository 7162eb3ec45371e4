"""Whatever bytes a manifest, a checkpoint or a rule is made of: it is read, or refused with a `MimicError`.

Four parsers, so many inputs each: `QUICK` in every run of the tests, `MANY` in `make test-slow`. Inputs are valid ones
that hypothesis has cut, flipped and spliced, so that they get past the first check.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimic.errors import MimicError
from mimic.filters.expression import expression, parse
from mimic.filters.rules import read_rule
from mimic.models.checkpoint import load_checkpoint
from mimic.sources.manifest import read_manifest
from tests.hostile import png
from tests.hostile.weights import entry, tensors

QUICK, MANY = 150, 20_000
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def spliced(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """One of these with some stretches replaced by other bytes, or by a stretch of another."""

    @st.composite
    def made(draw: st.DrawFn) -> bytes:
        data = draw(st.sampled_from(seeds))
        for _ in range(draw(st.integers(0, 4))):
            begin = draw(st.integers(0, len(data)))
            end = min(begin + draw(st.integers(0, 12)), len(data))
            other = draw(st.binary(max_size=12) | st.sampled_from([seed[begin:end] for seed in seeds]))
            data = data[:begin] + other + data[end:]
        return data

    return made()


def _table(columns: dict[str, object]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def _torch(content: object, new: bool) -> bytes:
    out = io.BytesIO()
    torch.save(content, out, _use_new_zipfile_serialization=new)
    return out.getvalue()


CSV = [
    b'path,label,id,note\ngood.png,0,"a ""b""",1\ngood.png,1,c,-3.5e7\n',
    b"file_name,caption,uid\r\ngood.png,a cat,1\r\n",
    b"path\tlabel\ngood.png\t\xef\xbb\xbf\n",
]
LINES = [
    b'{"path": "good.png", "label": "0", "x": [1, {"a": null}]}\n{"path": "good.png", "label": 1, "id": "b"}\n',
    b'{"path": "good.png", "captions": ["a", "b\\ud83d"], "s": true}\n',
]
TABLES = [
    _table({"path": ["good.png", "x.png"], "label": [0, 1], "more": [[1.5], None]}),
    _table({"path": ["good.png"], "caption": [["a", "b"]], "uid": ["1"]}),
]
STATE = {"head.weight": torch.zeros(2, 3), "head.bias": torch.ones(2)}
HEADERS = [
    tensors({"a": entry([2], 0, 8), "b.c": entry([1, 1], 8, 12, "F16")}, bytes(12)),
    tensors({"__metadata__": {"classes": '["x"]'}, "a": entry([1], 0, 4)}, bytes(4)),
]
PICKLES = [_torch(STATE, True), _torch({"state_dict": STATE, "epoch": 3}, False), pickle.dumps({"a": [1.5, "x"]})]
RULES = [
    b'clip@top30% - r:mimic@bottom15%/class{a 3%, "b c" 10%}',
    b"majority(r:a >= -1.5e-3, (r:b@mixture | r:c@two_means)!) & mean_rank(r:a, r:b)@top50%",
    b"weighted(2 * r:a >= 0, .5 * visits(t, neg_loss@top5%, dawid_skene)!) minus r:a@bottom3",
]


def fuzz(examples: int, inputs: st.SearchStrategy[object], read: Callable[[object], object]) -> None:
    """Let `read` loose on so many inputs: it returns, or raises a `MimicError`."""

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(inputs)
    def every(data: object) -> None:
        with suppress(MimicError):
            read(data)

    every()


def manifests(folder: Path, examples: int) -> None:
    (folder / "good.png").write_bytes(png())

    def read(data: object) -> None:
        suffix, content = data
        path = folder / f"m{suffix}"
        path.write_bytes(content)
        list(read_manifest(path).samples())

    kinds = {".csv": CSV, ".tsv": CSV, ".jsonl": LINES, ".parquet": TABLES}
    every = st.one_of(st.tuples(st.just(suffix), spliced(*seeds)) for suffix, seeds in kinds.items())
    fuzz(examples, every, read)


def checkpoints(folder: Path, examples: int) -> None:
    def read(data: object) -> None:
        suffix, content = data
        path = folder / f"reference{suffix}"
        path.write_bytes(content)
        loaded = load_checkpoint(path)
        assert loaded.tensors
        assert loaded.classes is None or isinstance(loaded.classes, list)

    written = JSON.map(lambda header: tensors(header, bytes(16)))
    named = st.dictionaries(st.text(max_size=6), JSON, max_size=3).map(lambda header: tensors(header, bytes(16)))
    fields = st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["F32", "F8_E4M3", "I64", "BOOL", "F4", "C64", "U16"]),
            "shape": JSON,
            "data_offsets": JSON,
        }
    )
    shaped = st.dictionaries(st.text(max_size=6), fields, max_size=3).map(lambda header: tensors(header, bytes(16)))
    header = spliced(*HEADERS) | written | named | shaped
    every = st.tuples(st.just(".safetensors"), header) | st.tuples(st.just(".pt"), spliced(*PICKLES))
    fuzz(examples, every, read)


def expressions(folder: Path, examples: int) -> None:
    def read(data: object) -> None:
        rule = parse(data.decode("utf-8", "replace"))
        assert parse(expression(rule)) == rule  # what was understood can be written again

    words = st.lists(
        st.sampled_from(
            ["r:a", "@", "top", "bottom", "30%", "5", "(", ")", "!", "&", "|", " - ", ">=", "{", "}", ",", "/class"]
        )
        | st.sampled_from(
            ["majority(", "weighted(", "visits(", "mean(", '"', "*", "-1e309", "nan", "filter(", "mixture"]
        ),
        max_size=14,
    ).map(lambda parts: " ".join(parts).encode())
    fuzz(examples, spliced(*RULES) | words | st.binary(max_size=40), read)


def rules(folder: Path, examples: int) -> None:
    valid = [parse(text.decode().replace("clip@", "r:clip@")).model_dump(mode="json") for text in RULES]

    @st.composite
    def changed(draw: st.DrawFn) -> object:
        """A valid rule with some part of it replaced, somewhere."""
        top = json.loads(json.dumps(draw(st.sampled_from(valid))))
        for _ in range(draw(st.integers(1, 3))):
            here = top
            while True:
                places = list(here) if isinstance(here, dict) else list(range(len(here)))
                if not places:
                    break
                place = draw(st.sampled_from(places))
                if isinstance(here[place], dict | list) and draw(st.booleans()):
                    here = here[place]
                    continue
                here[place] = draw(JSON)
                break
        return top

    def read(data: object) -> None:
        rule = read_rule(data)
        assert read_rule(rule.model_dump(mode="json")) == rule

    anything = st.dictionaries(st.sampled_from(["kind", "rules", "of", "without", "column", "best", "threshold"]), JSON)
    fuzz(examples, changed() | anything, read)


PARSERS = [manifests, checkpoints, expressions, rules]


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.__name__)
def test_some_inputs(parser: Callable[[Path, int], None], tmp_path: Path) -> None:
    parser(tmp_path, QUICK)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.__name__)
def test_many_inputs(parser: Callable[[Path, int], None], tmp_path: Path) -> None:
    parser(tmp_path, MANY)
