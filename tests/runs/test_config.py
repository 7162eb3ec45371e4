"""A run's name changes with what determines its result, and with nothing else."""

import pytest

from mimic.errors import MimicError
from mimic.runs.config import ScoreConfig, run_id
from mimic.workspace.layout import check_name

BASE = {"dataset": "photos", "model": "small:convnet", "reference": "a.safetensors"}
IDENTITY = {"content": "c", "reference": "r", "start": "s"}


def named(identity: dict[str, str] = IDENTITY, **settings: object) -> str:
    config = ScoreConfig.checked(**(BASE | settings))
    return run_id(config, identity, config.scopes[0])


def test_the_same_contents_elsewhere_are_the_same_run() -> None:
    assert named() == named(reference="/moved/b.safetensors") == named(preprocess={})
    assert named().startswith("photos-convnet-last-")


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "small:mlp"},
        {"scopes": ("full",)},
        {"scopes": ("last", "full")},
        {"signals": ("mimic",)},
        {"method": "jvp"},
        {"batch_size": 64},
        {"split": "test"},
        {"limit": 10},
        {"identity": {**IDENTITY, "reference": "other"}},
    ],
)
def test_whatever_changes_the_result_changes_the_name(settings: dict[str, object]) -> None:
    assert named(**settings) != named()


@pytest.mark.parametrize("model", ["timm:vit/b 16.é", "module:a.b:c", "small:" + "x" * 300])
def test_names_are_fit_for_files(model: str) -> None:
    check_name("run", named(model=model))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"batch_size": 0}, "batch_size = 0"),
        ({"limit": -1}, "limit = -1"),
        ({"method": "magic"}, "method = 'magic'.*'auto', 'closed'"),
        ({"scopes": ()}, "scopes"),
        ({"signals": ("margin",)}, "must contain mimic"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_bad_settings_name_the_field(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(MimicError, match=sentence):
        ScoreConfig.checked(**(BASE | settings))
