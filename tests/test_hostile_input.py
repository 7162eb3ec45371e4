"""Two hundred broken and hostile files through the real commands: scored, or counted with a reason, or one sentence.

Every command runs in a process of its own with little memory and time (`tests.hostile.child`), in a home and a folder
that are empty, beside a folder with a secret. None of these may differ afterwards.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mimic.images import UnreadableImage, read_image
from mimic.models.build import build_model
from mimic.models.checkpoint import save_checkpoint
from mimic.workspace.files import reading
from mimic.workspace.layout import Workspace
from tests.hostile import BROKEN, MEMBERS, member, png, write_tar
from tests.hostile.images import STRIP, Case, cases
from tests.hostile.tables import DOCUMENTS, REFUSED, SCORED, TREES
from tests.hostile.weights import CHECKPOINTS, FEATURES

ROOT = Path(__file__).resolve().parents[1]
MEGABYTES = 1500  # beyond the libraries
SECONDS = 40  # on a machine that does other things as well
MODEL = ["--model", "small:mlp"]
CROP = {"mode": "L", "size": [28, 28], "mean": [0.5], "std": [0.5]}
# Class names that the model's checkpoint does not know: importing them is right, scoring says so in a sentence.
OTHER_CLASSES = {"labels that are dates", "labels that are truth values"}


@dataclass
class World:
    """A machine of its own: home, a folder to stand in, somebody else's secret, and what is imported."""

    folder: Path
    process: subprocess.Popen[str]

    def __call__(self, *arguments: object) -> dict[str, Any]:
        """A command's end; what holds of every command is checked here."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([*map(str, arguments), "--workspace", str(self.workspace.path)]) + "\n")
        self.process.stdin.flush()
        ended: dict[str, Any] = json.loads(self.process.stdout.readline())
        told = f"{ended['code']}, {ended['megabytes']:.0f} MB, {ended['seconds']:.1f} s: {ended['said'][-1500:]}"
        assert ended["code"] in (0, 2), told
        assert "Traceback" not in ended["said"], told
        assert ended["megabytes"] < MEGABYTES, told
        assert ended["seconds"] < SECONDS, told
        if ended["code"] == 2:
            assert sum(line.startswith("mimic: ") for line in ended["said"].splitlines()) == 1, told
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u202a-\u202e]", ended["said"].replace("\r", "")), told
        return ended

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder / "workspace")

    def score(self, dataset: str, *more: object) -> dict[str, Any]:
        weights = [
            part for name in ("reference", "start") for part in (f"--{name}", self.folder / f"{name}.safetensors")
        ]
        return self("score", dataset, *MODEL, *(more or weights))

    def forget(self, dataset: str) -> None:
        """Take a data set and its runs out of the workspace: every later command would look at them."""
        away = self.place()
        for run in self.workspace.runs(dataset):
            run.folder.rename(away / f"run {run.id}")
        self.workspace.dataset(dataset).folder.rename(away / "dataset")

    def place(self) -> Path:
        """An empty folder with a good image in it."""
        number = len(list((self.folder / "input").iterdir()))
        made = self.folder / "input" / str(number)
        made.mkdir()
        (made / "good.png").write_bytes(png(28))
        (made / "also.png").write_bytes(png(28, "green"))
        return made


def digest(folder: Path) -> str:
    """Of everything that is neither the workspace nor what was put in to be imported."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if inside.parts[0] in ("workspace", "input"):
            continue
        found.update(f"{inside} {path.lstat().st_mode}\n".encode())
        if path.is_file() and not path.is_symlink():
            found.update(path.read_bytes())
    return found.hexdigest()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with inhabited(tmp_path_factory.mktemp("world")) as made:
        yield made


@contextmanager
def inhabited(folder: Path) -> Iterator[World]:
    """A world in an empty folder; at the end nothing in it but the workspace may have changed."""
    for name in ("home", "here", "outside", "input", "workspace", "temporary"):
        (folder / name).mkdir()
    (folder / "input/outside").symlink_to("../outside")
    (folder / "outside/secret.png").write_bytes(png(28, "blue"))
    (folder / "outside/executed.not").touch()
    torch.manual_seed(0)
    notes = {"classes": json.dumps([str(number) for number in range(10)])}
    for name in ("reference", "start"):
        save_checkpoint(folder / f"{name}.safetensors", build_model("small:mlp", 10).module.state_dict(), notes)
    (folder / "crop.json").write_text(json.dumps(CROP))
    environment = os.environ | {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "temporary"),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "tests.hostile.child"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder / "here", env=environment
    ) as process:
        made = World(folder, process)
        before = digest(folder)
        yield made
        assert process.stdin
        process.stdin.close()
        assert process.wait(30) == 0
    assert digest(folder) == before  # nothing outside the workspace was touched


def rows(workspace: Workspace, dataset: str) -> dict[str, tuple[float | None, str | None]]:
    """path → (score, reason) of the data set's published run."""
    (run,) = [run for run in workspace.runs(dataset) if run.state == "published"]
    assert run.scores_file
    with reading(workspace.dataset(dataset).samples_file) as samples:
        paths = dict(samples.sql("SELECT sample, path FROM samples").fetchall())
    with reading(run.scores_file) as scores:
        found = scores.sql("SELECT s.sample, s.mimic, f.reason FROM scores s LEFT JOIN failures f USING (sample)")
        return {paths[sample]: (score, reason) for sample, score, reason in found.fetchall()}


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_pixels_of_every_kind(case: Case) -> None:
    if case.pixels is None:
        with pytest.raises(UnreadableImage, match=case.reason):
            read_image(case.data)
        return
    found = np.asarray(read_image(case.data).convert("RGB"))
    assert found.shape == case.pixels.shape
    assert np.abs(found.astype(int) - case.pixels).mean() <= case.tolerance


def test_images_are_scored_by_their_pixels_or_counted(world: World) -> None:
    from PIL import Image

    every, tree = [*cases(), STRIP], world.place() / "tree"
    (tree / "3").mkdir(parents=True)
    for case in every:
        (tree / "3" / case.name).write_bytes(case.data)
        if case.pixels is not None and not case.tolerance:
            Image.fromarray(case.pixels).save(tree / "3" / f"twin of {case.name}.png")
    assert world("import", tree, "--dataset", "images")["code"] == 0
    flags = [part for name in ("reference", "start") for part in (f"--{name}", world.folder / f"{name}.safetensors")]
    ended = world.score("images", *flags, "--preprocess", world.folder / "crop.json")
    assert ended["code"] == 0
    found = rows(world.workspace, "images")
    for case in every:
        score, reason = found[f"3/{case.name}"]
        if case.pixels is None:
            assert score is None, case.name
            assert re.search(case.reason, reason or ""), (case.name, reason)
        else:
            assert score is not None, case.name
            twin = found.get(f"3/twin of {case.name}.png")
            assert twin is None or score == pytest.approx(twin[0], rel=1e-5), case.name


@pytest.mark.parametrize("name", SCORED)
def test_manifests_that_can_be_read(world: World, name: str) -> None:
    made = SCORED[name](world.place())
    os.mkfifo(made.parent / "pipe.png")
    dataset = f"manifest-{list(SCORED).index(name)}"
    assert world("import", made, "--dataset", dataset)["code"] == 0
    ended = world.score(dataset)
    if name in OTHER_CLASSES:
        assert (ended["code"], "no output for the label" in ended["said"]) == (2, True)
        return
    assert ended["code"] == 0
    found = rows(world.workspace, dataset)
    assert found.pop("good.png")[0] is not None
    assert found.pop("also.png")[0] is not None
    assert all(score is None and reason for score, reason in found.values())
    world.forget(dataset)


@pytest.mark.parametrize("name", REFUSED)
def test_manifests_that_cannot(world: World, name: str) -> None:
    made = REFUSED[name](world.place())
    ended = world("import", made, "--dataset", "refused")
    if ended["code"] == 0:  # what can be imported is refused where a model meets it
        ended = world.score("refused")
        world.forget("refused")
    assert ended["code"] == 2


@pytest.mark.parametrize("name", TREES)
def test_folders(world: World, name: str) -> None:
    write, readable = TREES[name]
    dataset = f"tree-{list(TREES).index(name)}"
    ended = world("import", write(world.place()), "--dataset", dataset)
    assert ended["code"] == (0 if readable else 2)
    if readable:
        assert world.score(dataset)["code"] == 0
        found = rows(world.workspace, dataset)
        assert any(score is not None for score, _ in found.values())
        assert all((score is None) == (reason is not None) for score, reason in found.values())
        world.forget(dataset)


@pytest.mark.parametrize("name", MEMBERS)
def test_shards_with_members_that_lead_astray(world: World, name: str) -> None:
    label = [member("0.cls", b"0"), member("1.cls", b"1")]
    good = [member("0.png", png(28)), label[0], member("1.png", png(28)), label[1]]
    texts = [(entry, data) for entry, data in MEMBERS[name]]
    made = write_tar(world.place() / "0.tar", [*good, *texts])
    dataset = f"shard-{list(MEMBERS).index(name)}"
    assert world("import", made, "--dataset", dataset)["code"] == 0
    found = rows_of(world, dataset)
    assert sum(path.endswith(("/0.png", "/1.png")) for path in found) == 2


def rows_of(world: World, dataset: str) -> list[str]:
    with reading(world.workspace.dataset(dataset).samples_file) as samples:
        return [path for (path,) in samples.sql("SELECT path FROM samples").fetchall()]


@pytest.mark.parametrize("spoil", BROKEN, ids=lambda spoil: spoil.__name__)
def test_shards_that_are_broken(world: World, spoil: Callable[[Path], None]) -> None:
    made = write_tar(
        world.place() / "0.tar", [member("0.png", png(28)), member("0.cls", b"0"), member("1.png", png(28))]
    )
    spoil(made)
    assert world("import", made, "--dataset", "broken")["code"] == 2


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with a data set that is all right, and none of the others, which commands would look at each time."""
    with inhabited(tmp_path_factory.mktemp("plain")) as made:
        tree = made.place() / "tree"
        for label in range(10):
            (tree / str(label)).mkdir(parents=True)
            (tree / str(label) / "x.png").write_bytes(png(28, f"#{label}{label}5555"))
        assert made("import", tree, "--dataset", "plain")["code"] == 0
        assert made.score("plain")["code"] == 0
        yield made


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints(plain: World, name: str) -> None:
    made = CHECKPOINTS[name](plain.place())
    ended = plain.score("plain", "--reference", made, "--start", plain.folder / "start.safetensors")
    assert ended["code"] == 2
    assert not list(plain.folder.rglob("executed"))


@pytest.mark.parametrize("name", FEATURES)
def test_features(plain: World, name: str) -> None:
    made = FEATURES[name](plain.place())
    captions = made.with_name("captions.csv")
    captions.write_text("path,caption\ngood.png,red\nalso.png,green\n")
    dataset = f"pairs-{list(FEATURES).index(name)}"
    assert plain("import", captions, "--dataset", dataset)["code"] == 0
    reference = ["--reference", ROOT / "sample_data/captions/reference.safetensors"]
    ended = plain("score", dataset, "--model", "small:two-tower", *reference, "--features", made)
    assert (ended["code"], f"mimic: {made.name}" in ended["said"]) == (2, True), ended["said"]
    assert not list(plain.folder.rglob("executed"))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents(plain: World, name: str) -> None:
    """Files of a workspace that somebody else has made, and settings from a file."""
    made = plain.place() / "preprocess.json"
    made.write_text(DOCUMENTS[name])
    reference = ["--reference", plain.folder / "reference.safetensors"]
    assert plain.score("plain", *reference, "--preprocess", made)["code"] == 2
    for kind, command in (
        ("filters/odd.json", ["export", "odd", "--format", "csv", "--out", "x.csv"]),
        ("runs/odd/run.json", ["show", "odd"]),
        ("datasets/odd/dataset.json", ["relocate", "odd", "--root", plain.folder]),
    ):
        file = plain.workspace.path / kind
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(DOCUMENTS[name])
        ended = plain(*command)
        file.unlink()
        assert ended["code"] == 2, kind
