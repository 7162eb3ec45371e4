"""What a run is called in choosers: short, and never as another one."""

from __future__ import annotations

from pathlib import Path

from mimic.workspace.layout import Run
from pages.widgets.runs import short_names


def run(id: str, dataset: str = "photos", spec: str | None = "timm:resnet50", **facts: object) -> Run:
    known = {"run": id, "dataset": dataset, "created": "2026-11-24T09:05:41+00:00", "scope": "last", "kind": "score"}
    return Run(Path(id), known | {"model": {"spec": spec} if spec else None} | facts)


def test_model_scope_and_date_tell_runs_apart():
    names = short_names([run("photos-resnet50-last-0123456789"), run("b", kind="train"), run("c", kind="signals")])
    assert list(names.values()) == [
        "resnet50 · last · 24 Nov 2026 09:05",
        "resnet50 · last · training · 24 Nov 2026 09:05",
        "resnet50 · last · further signals · 24 Nov 2026 09:05",
    ]


def test_the_data_set_stands_before_where_there_are_several():
    names = short_names([run("a"), run("b", dataset="digits")])
    assert [name.split(" · ")[0] for name in names.values()] == ["photos", "digits"]


def test_no_two_are_called_alike():
    ids = ["photos-x-0123456789", "photos-x-9876543210", "imported-table"]
    runs = [run(ids[0]), run(ids[1]), run(ids[2], spec=None)]
    names = short_names(runs)
    assert len(set(names.values())) == 3
    assert names[ids[0]].endswith("· 0123456789")
    assert names["imported-table"] == "imported-table"


def test_a_date_that_is_none_is_left_out():
    assert short_names([run("a", created="yesterday")]) == {"a": "resnet50 · last"}
