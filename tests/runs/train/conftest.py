"""Trainings of the digits that take a second."""

from collections.abc import Callable

import pytest

from mimic.runs.train.config import TrainConfig
from tests.runs.conftest import MODEL, Digits

Configured = Callable[..., TrainConfig]


@pytest.fixture
def config(digits: Digits) -> Configured:
    """Settings of a short training; some may be changed."""

    def configured(**settings: object) -> TrainConfig:
        given = {"dataset": "digits", "model": MODEL, "reference": digits.reference, "start": digits.start}
        return TrainConfig.checked(**(given | {"epochs": 2, "lr": 1e-3, "batch_size": 50, "window": 10} | settings))

    return configured
