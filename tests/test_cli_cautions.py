"""`mimic filter RUN` without a rule, where its answer needs a caution; and the command that is advised."""

import re
import shlex

import pytest

from mimic.evaluation import cautions
from mimic.files import read_json, write_json
from tests.test_cli_filtering import command  # noqa: F401
from tests.workspace.queries.conftest import known  # noqa: F401

# ruff: noqa: F811 (fixtures are imported by name)


def test_the_check_is_heeded_and_the_advised_command_works(known, command):
    path = known.workspace.runs_folder / "first" / "run.json"
    facts = read_json(path)
    check = {"verdict": "Weak", "sentence": "It knows little.", "samples": 1141, "reference_agreement": 0.3}
    check |= {"start_agreement": 0.2, "mean": 1.0, "mean_low": 0.5, "mean_high": 1.5}  # as older versions kept it
    write_json(path, facts | {"check": check})
    try:
        code, said, beside = command("filter", "first", "--dry-run")
        assert code == 0
        assert "caution" not in said
        assert "check of first says Weak: It knows little." in re.sub(r"\s+", " ", beside)
        (line,) = [line for line in beside.splitlines() if line.startswith("advised")]
        asked = shlex.split(line.removeprefix("advised"))
        if asked[0] == "mimic":
            words = asked[1 : asked.index("--name")]
            assert command(*words, "--dry-run")[0] == 0
        else:
            assert "keep everything" in line
        beside = command("filter", "first", "--rule", "mimic@top50%", "--dry-run")[2]
        assert "caution" not in beside
        assert "advised" not in beside
    finally:
        write_json(path, facts)


def test_a_large_set_is_sent_to_the_page(known, command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cautions, "MOST_ADVISED", 1)
    assert "advice      is on the Evaluate page" in command("filter", "first", "--dry-run")[2]
