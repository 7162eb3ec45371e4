"""Workspaces for the pages: one with a published run, and copies of it in every other state."""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from benchmarks import synthetic
from mimic.data import Sample
from mimic.files import write_json
from mimic.workspace.datasets import Source, create_dataset
from mimic.workspace.layout import Workspace
from mimic.workspace.publish import publish, write_part
from pages.widgets.frame import UNFORESEEN

APP = Path(__file__).parents[2] / "app.py"
ROWS, CLASSES, SHARD = 1500, 5, 400
Open = Callable[..., AppTest]


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A data set with two published runs; treat it as read-only."""
    workspace = Workspace(tmp_path_factory.mktemp("published"))
    synthetic.build(workspace, ROWS, classes=CLASSES, shard=SHARD, pictures=20)
    dataset = workspace.dataset(f"synthetic-{ROWS}")
    other = synthetic.begin(workspace, dataset, "other", SHARD)
    for shard in other.shards:
        write_part(other, shard, synthetic.part(shard, synthetic.draw(shard, CLASSES, 7), other.signals))
    publish(other, dataset, {})
    return workspace


@pytest.fixture
def copy(published: Workspace, tmp_path: Path) -> Workspace:
    """The same, to write in."""
    shutil.copytree(published.path, tmp_path / "copy")
    return Workspace(tmp_path / "copy")


@pytest.fixture
def running(copy: Workspace) -> Iterator[Workspace]:
    """With a run that is going, one that failed and one that was cut off."""
    dataset = copy.dataset(f"synthetic-{ROWS}")
    runs = {name: synthetic.begin(copy, dataset, name, SHARD) for name in ("going", "broken", "cut")}
    for name, parts in (("going", 2), ("cut", 1)):
        for shard in runs[name].shards[:parts]:
            table = synthetic.part(shard, synthetic.draw(shard, CLASSES, 1), runs[name].signals)
            write_part(runs[name], shard, table)
    write_json(runs["broken"].folder / "run.json", runs["broken"].facts | {"error": "no head *fits* the checkpoint"})
    with runs["going"].lock.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield copy


HOSTILE = [
    "![x](http://example.com/a.png)",
    "<img src=http://example.com/b.png onerror=alert(1)>",
    '=HYPERLINK("http://example.com")',
    "$\\int$ :smile: **bold** [a](javascript:alert(1))",
    "line\nbreak \u202egnp.exe \U0001f600 " + "long" * 3000,
]


def add_hostile(workspace: Workspace) -> None:
    """A data set and run whose class names, ids, columns and reasons would like to be something else than words."""
    column = HOSTILE[1]
    samples = (
        Sample(
            i,
            f"{i} {HOSTILE[i % 5]}",
            f"{i}.png",
            HOSTILE[i % 5],
            HOSTILE[(i + i // 50) % 5],
            extra={column: HOSTILE[2]},
        )
        for i in range(100)
    )
    source = Source("manifest", Path("x"))
    dataset = create_dataset(workspace, "hostile", samples, HOSTILE, source, workspace.path, {column: pa.string()})
    run = synthetic.begin(workspace, dataset, "hostile", 100)
    table = synthetic.part(run.shards[0], synthetic.draw(run.shards[0], 5, 0), run.signals)
    reasons = pa.array([HOSTILE[1] if reason else None for reason in table["reason"].to_pylist()], pa.string())
    table = table.set_column(table.schema.get_field_index("reason"), "reason", reasons)
    write_part(run, run.shards[0], table)
    publish(run, dataset, {})


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens a page of the app on a workspace, as a link would."""

    def opened(workspace: Workspace, page: str, **address: object) -> AppTest:
        monkeypatch.setenv("MIMIC_WORKSPACE", str(workspace.path))
        app = AppTest.from_file(str(APP), default_timeout=60)
        if page != "overview":
            app.switch_page(f"pages/{page}.py")
        for name, value in address.items():
            app.query_params[name] = value
        app.run()
        assert not app.exception, app.exception
        assert not any(UNFORESEEN in error.value for error in app.error), app.error
        return app

    return opened


def metrics(app: AppTest) -> dict[str, str]:
    """Label → value of every metric."""
    return {metric.label: metric.value for metric in app.metric}


def address(app: AppTest, name: str) -> str:
    """What the address says of one part of the view, where it says one thing."""
    value = app.query_params[name]
    return value[0] if isinstance(value, list) else value


def markup(app: AppTest) -> str:
    """Everything that Markdown is made of on the page."""
    parts = [*app.markdown, *app.caption, *app.error, *app.warning, *app.info, *app.success, *app.toast]
    return "\n".join([*(part.value for part in parts), *(metric.label for metric in app.metric)])


def words(app: AppTest) -> str:
    """The same, plain text, and what is there to be copied."""
    return "\n".join([markup(app), *(part.value for part in app.text), *to_copy(app)])


def to_copy(app: AppTest) -> list[str]:
    """The blocks of words to be copied."""
    return [block["words"] for block in every_handed(app, "mimic-copied")]


def handed(app: AppTest, component: str) -> Any:
    """What the page hands to the first component of that name."""
    return every_handed(app, component)[0]


def every_handed(app: AppTest, component: str) -> list[Any]:
    """What the page hands to each component of that name."""
    found = (one.proto for one in app.get("bidi_component"))
    return [json.loads(proto.json) for proto in found if proto.component_name == component]
