"""Errors say the same in the process that they are sent to."""

import ast
import pickle
from pathlib import Path

import pytest

import mimic
from mimic.errors import MimicError, MissingExtra
from mimic.evaluation.bands import TooFewKnown
from mimic.training.exhaustion import ReferenceExhausted
from mimic.training.layers import UnknownLayer
from mimic.workspace.sealed import DamagedFile

EVERY = [
    MissingExtra("s3://", "s3"),
    TooFewKnown("judge more samples"),
    ReferenceExhausted("the model has caught up"),
    UnknownLayer("an RNN"),
    DamagedFile(Path("a.arrow"), "no digest"),
]


@pytest.mark.parametrize("error", [MimicError("one sentence"), *EVERY], ids=lambda error: type(error).__name__)
def test_an_error_survives_the_way_to_another_process(error: MimicError) -> None:
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)


def test_every_kind_is_among_them() -> None:
    found = set()
    for path in Path(mimic.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                bases = {ast.unparse(base) for base in node.bases}
                if bases & {"MimicError", *(type(error).__name__ for error in EVERY)}:
                    found.add(node.name)
    assert found == {type(error).__name__ for error in EVERY}
