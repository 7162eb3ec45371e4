"""Errors say the same in the process that they are sent to."""

import pickle

import pytest

from mimic.errors import MimicError, MissingExtra


@pytest.mark.parametrize("error", [MimicError("one sentence"), MissingExtra("s3://", "s3")])
def test_an_error_survives_the_way_to_another_process(error: MimicError) -> None:
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
