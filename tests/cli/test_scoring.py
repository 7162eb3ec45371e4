"""What the options of `mimic score` mean together, and what they refuse."""

from __future__ import annotations

from functools import partial

import pytest

from mimic.cli.scoring import work
from mimic.errors import MimicError
from mimic.runs import forked, local, on_ray


def test_here_is_this_process_or_several() -> None:
    assert work("auto", 3).execute is local.execute
    several = work("cpu", 4, processes=2).execute
    assert isinstance(several, partial)
    assert (several.func, several.keywords) == (forked.execute, {"processes": 2})


@pytest.mark.parametrize(
    ("device", "gpus", "driver"), [("auto", 0.0, "cpu"), ("auto", 1.0, "auto"), ("cuda", 0.5, "cuda")]
)
def test_on_ray_the_driver_is_where_actors_compute(device: str, gpus: float, driver: str) -> None:
    made = work(device, 2, on="ray", address="head:6379", actors=3, gpus=gpus)
    assert isinstance(made.execute, partial)
    assert made.execute.func is on_ray.execute
    assert made.execute.keywords == {"size": on_ray.Size(3, 2, gpus), "address": "head:6379"}
    assert (made.device, made.threads) == (driver, 2)


def test_each_actor_takes_one_cpu_unless_told_otherwise() -> None:
    assert work("auto", None, on="ray").threads == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"on": "ray", "processes": 2}, "--actors says how many"),
        ({"on": "ray", "device": "cuda"}, "--device cuda does not go with --on ray --gpus-per-actor 0"),
        ({"on": "ray", "device": "cpu", "gpus": 1.0}, "--device cpu does not go with"),
        ({"actors": 2}, "are for --on ray"),
        ({"address": "auto"}, "are for --on ray"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(MimicError, match=said):
        work(**{"device": "auto", "threads": None, **options})
