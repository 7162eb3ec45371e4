"""Named filters survive the disk, never overwrite one another unasked, and say what is wrong."""

import json

import pytest

from mimic.errors import MimicError
from mimic.workspace.filters import list_filters, load_filter, save_filter
from mimic.workspace.layout import Workspace

RULE = {"kind": "threshold", "run": "r", "signal": "mimic", "threshold": 0.25, "drop_unscored": False}
COUNTS = {"kept": 8, "dropped": 2, "not_scored": 1}


def test_a_filter_comes_back_as_it_was_saved(tmp_path):
    workspace = Workspace(tmp_path)
    saved = save_filter(workspace, "strict", "pets", RULE, COUNTS)
    assert load_filter(workspace, "strict") == saved
    written = json.loads((tmp_path / "filters" / "strict.json").read_text())
    assert written["format"] == 1
    assert written["rule"] == RULE
    assert list_filters(workspace, "pets") == [saved]
    assert list_filters(workspace, "cars") == []


def test_the_newest_comes_first(tmp_path):
    workspace = Workspace(tmp_path)
    names = ["b", "a", "c"]
    for name in names:
        save_filter(workspace, name, "pets", RULE, COUNTS)
        path = tmp_path / "filters" / f"{name}.json"
        path.write_text(path.read_text().replace('"created": "20', f'"created": "{30 + names.index(name)}'))
    assert [one.name for one in list_filters(workspace)] == ["c", "a", "b"]


def test_a_taken_name_is_kept_unless_replaced(tmp_path):
    workspace = Workspace(tmp_path)
    first = save_filter(workspace, "strict", "pets", RULE, COUNTS)
    assert save_filter(workspace, "strict", "pets", RULE, COUNTS) == first
    other = RULE | {"threshold": 0.5}
    with pytest.raises(MimicError, match="'strict' is there with another rule"):
        save_filter(workspace, "strict", "pets", other, COUNTS)
    with pytest.raises(MimicError, match=r"for data set pets \(a workspace has one filter of a name\).*--replace"):
        save_filter(workspace, "strict", "cars", RULE, COUNTS)
    assert load_filter(workspace, "strict").rule == RULE
    assert save_filter(workspace, "strict", "pets", other, COUNTS, replace=True).rule == other


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "x" * 200])
def test_a_name_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(MimicError, match="cannot name a filter"):
        save_filter(Workspace(tmp_path), name, "pets", RULE, COUNTS)


def test_what_is_missing_or_broken_is_named(tmp_path):
    workspace = Workspace(tmp_path)
    with pytest.raises(MimicError, match=r"no filter 'lost' .* it has none yet; .* --name lost .*makes one"):
        load_filter(workspace, "lost")
    save_filter(workspace, "strict", "pets", RULE, COUNTS)
    with pytest.raises(MimicError, match=r"no filter 'lost' .* strict"):
        load_filter(workspace, "lost")
    (tmp_path / "filters" / "half.json").write_text("{}")
    with pytest.raises(MimicError, match=r"half\.json lacks the field 'dataset'"):
        load_filter(workspace, "half")
