"""The demonstration elsewhere than in a clone; in one, it is run by tests/test_cli.py."""

from pathlib import Path

import pytest

from mimic.errors import MimicError
from mimic.runs import demo


def test_an_installed_package_says_what_the_demo_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_FOLDER", tmp_path / "sample_data")
    with pytest.raises(MimicError, match="needs the sample data of a clone"):
        demo.sample_folder()
