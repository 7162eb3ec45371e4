"""Where an answer needs a caution: an unfit reference, a rule that nobody chose; and what is advised instead."""

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
        assert "advised" not in command("filter", "first", "--rule", "mimic@top50%", "--dry-run")[2]
    finally:
        write_json(path, facts)


SAID = "caution     The reference check of first says Do not use: It knows nothing.\n"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["filter", "first", "--rule", "mimic@top50%", "--dry-run"], SAID),
        (["filter", "first", "--rule", "mimic@top50% & first:fine@top50% & second:fine@top50%", "--dry-run"], SAID),
        (["filter", "first", "--rule", "second:fine@top50%", "--dry-run"], ""),
        (["compare", "first", "second:fine"], SAID),
        (["compare", "second:mimic", "second:fine"], ""),
        (["export", "strict", "--format", "csv", "--out", "x.csv", "--dry-run"], SAID),
        (["evaluate", "quality", "d", "--run", "first"], SAID),
        (["evaluate", "quality", "d", "--run", "second"], ""),
    ],
)
def test_whatever_goes_by_an_unfit_reference_says_so(known, command, asked, said):
    path = known.workspace.runs_folder / "first" / "run.json"
    facts = read_json(path)
    write_json(path, facts | {"check": {"verdict": "Do not use", "sentence": "It knows nothing."}})
    try:
        code, _, beside = command(*asked)
        assert (code, beside) == (0, said)
    finally:
        write_json(path, facts)


def test_a_large_set_is_sent_to_the_page(known, command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cautions, "MOST_ADVISED", 1)
    assert "advice      is on the Evaluate page" in command("filter", "first", "--dry-run")[2]
