"""Classes meet outputs by name, by place or by value; anything else is refused with what would work."""

import numpy as np
import pytest

from mimic.errors import MimicError
from mimic.runs.classes import map_classes


def test_names_in_the_checkpoint_decide() -> None:
    found = map_classes(["cat", "dog"], 3, ["dog", "bird", "cat"], "m")
    assert found.output_of.tolist() == [2, 0]
    assert found.outputs == ["dog", "bird", "cat"]
    assert found.labels(np.array([1, -1, 0], np.int32)).tolist() == [0, -1, 2]


def test_as_many_classes_as_outputs_go_by_place() -> None:
    assert map_classes(["cat", "dog"], 2, None, "m").output_of.tolist() == [0, 1]
    assert map_classes(["1", "3"], 2, None, "m").output_of.tolist() == [0, 1]


def test_whole_numbers_are_outputs() -> None:
    found = map_classes(["0", "03"], 4, None, "m")
    assert found.output_of.tolist() == [0, 3]
    assert found.outputs == ["0", "1", "2", "03"]


@pytest.mark.parametrize(
    ("classes", "outputs", "named", "sentence"),
    [
        (["cat", "cow"], 2, ["cat", "dog"], "no output for the label 'cow'.*cat, dog"),
        (["cat"], 3, ["cat", "dog"], "names 2 classes and m has 3 outputs"),
        (["cat", "dog"], 3, None, "2 classes .* 3 outputs.*--classes"),
        (["0", "7"], 5, None, "no output for the label '7': it has 5"),
    ],
)
def test_what_does_not_fit_is_refused(classes: list[str], outputs: int, named: list[str] | None, sentence: str) -> None:
    with pytest.raises(MimicError, match=sentence):
        map_classes(classes, outputs, named, "m")
