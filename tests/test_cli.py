"""The commands as people meet them: what they print, how they end, and one sentence for every mistake."""

# ruff: noqa: F811 (fixtures are imported by name)

import os
import pickle
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks import synthetic
from mimic import cli
from mimic.cli.scoring import SPECS
from mimic.models.build import SMALL, SMALL_TWO_TOWER, build_model
from mimic.models.checkpoint import save_checkpoint
from mimic.workspace.layout import Workspace
from mimic.workspace.queries.progress import progress
from tests.runs.conftest import JUDGED, MODEL, Digits, digits, workspace  # noqa: F401

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mimic(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    workspace: Workspace,
) -> Command:
    """Runs a command on the workspace that holds the digits; gives exit code, stdout and stderr."""

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mimic", *map(str, arguments), "--workspace", str(workspace.path)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return command


def scoring(digits: Digits, **options: object) -> list[str]:
    given = {"model": MODEL, "reference": digits.reference, "start": digits.start} | options
    flags = [[f"--{name.replace('_', '-')}", str(value)] for name, value in given.items()]
    return ["score", "digits", *(part for flag in flags for part in flag)]


def test_from_import_to_show(mimic: Command, digits: Digits, workspace: Workspace) -> None:
    code, out, _ = mimic("import", digits.manifest, "--dataset", "again")
    assert code == 0
    assert out.splitlines()[0] == "data set again: 600 samples, 10 classes, truth known"
    assert out.splitlines()[1].startswith("images are opened when they are scored")
    code, out, _ = mimic("import", digits.manifest)
    assert code == 0
    assert f"data set {digits.manifest.stem}: 600 samples" in out
    assert "named after its source" in out
    code, out, err = mimic(*scoring(digits))
    assert code == 0
    assert "600 scored, 0 not scored" in out
    assert "reference   Good, by 600 samples. The reference lies downhill" in out
    assert "600 of 600 (100%)" in err
    assert re.search(r"published .* 600 scored, 0 not scored, in \d+ s of work", out)
    assert re.search(r"run \S+ was ready after \d+ s, with preparing, checking and publishing", err)
    assert "images/s" in err
    (run,) = workspace.runs()
    code, out, _ = mimic("runs")
    row, short = out.splitlines()[1].split(), run.facts["reference"]["sha256"][:6]
    assert row[:7] == [run.id, "digits", "published", "600", "0", "last", "start.safetensors"]
    assert row[7:10] == ["reference.safetensors", short, "Good"]
    code, out, _ = mimic("show", run.id)
    assert code == 0
    for told in ("small:mlp", "closed", "reference.safetensors", "published", "mimic_path", "cosine of"):
        assert told in out
    assert "nothing was computed again" in mimic(*scoring(digits))[2]
    code, out, _ = mimic("relocate", "digits", "--root", digits.folder)
    assert (code, str(digits.folder) in out) == (0, True)


def test_all_scopes_are_told(mimic: Command, digits: Digits, workspace: Workspace) -> None:
    code, out, _ = mimic(*scoring(digits, limit=60), "--scope", "last", "--scope", "full")
    assert code == 0
    assert "mean score of scope last" in out
    assert "scopes      last, full: " in out
    (run,) = workspace.runs()
    for said in (out, mimic("show", run.id)[1]):
        rows = {line.split()[0]: line.split()[1:3] for line in said.splitlines() if line.startswith(" ")}
        assert {name: rows[name] for name in run.signals} == {name: ["60", "0"] for name in run.signals}
        assert "mimic_full" in run.signals
    assert re.search(r"scope +last, ‖v‖ = [\d.]+; also full", said)


def test_the_help_names_every_small_network() -> None:
    named = set(re.findall(r"small:([\w-]+)", SPECS))
    assert named == {*SMALL, SMALL_TWO_TOWER}


def test_runs_of_one_data_set(mimic: Command, digits: Digits, workspace: Workspace) -> None:
    other = synthetic.build(workspace, 100, classes=3, pictures=2)
    code, _, err = mimic("runs", "digits")
    assert (code, f"data set 'digits' has no runs yet: `mimic score digits --workspace {workspace.path} …`" in err) == (
        2,
        True,
    )
    mimic(*scoring(digits, limit=60))
    (mine,) = workspace.runs("digits")
    listed = [mimic("runs", *names)[1] for names in ([], ["digits"], ["synthetic-100"])]
    assert [mine.id in one for one in listed] == [True, True, False]
    assert [other.id in one for one in listed] == [True, False, True]
    assert "no data set 'lost'" in mimic("runs", "lost")[2]


def test_a_folder_with_faults_is_published_with_reasons(
    mimic: Command,
    digits: Digits,
    tmp_path: Path,
    workspace: Workspace,
) -> None:
    whole = (digits.folder / "images/0.png").read_bytes()
    for label in range(10):
        (tmp_path / f"tree/{label}").mkdir(parents=True)
        (tmp_path / f"tree/{label}/[bold]{label}.png").write_bytes(whole)
    (tmp_path / "tree/3/half.png").write_bytes(whole[:200])
    (tmp_path / "tree/4/text.jpg").write_text("no picture")
    (tmp_path / "tree/5/empty.png").touch()
    (tmp_path / "tree/6/notes.txt").touch()
    code, out, _ = mimic("import", tmp_path / "tree", "--dataset", "tree")
    assert (code, "found files that are no images by name: 1, e.g. " in out) == (0, True)
    arguments = scoring(digits)
    arguments[1] = "tree"
    code, out, err = mimic(*arguments)
    assert (code, "10 scored, 3 not scored" in out, "3 unreadable" in err) == (0, True, True)
    code, out, _ = mimic("show", workspace.runs()[0].id)
    for told in ("3/half.png", "broken image", "4/text.jpg", "not an image", "5/empty.png", "file is empty"):
        assert told in out


def test_classes_can_be_listed_or_read_from_a_file(
    mimic: Command, digits: Digits, tmp_path: Path, workspace: Workspace
) -> None:
    order = [str(i) for i in reversed(range(10))]
    (tmp_path / "classes.txt").write_text("\n".join(order) + "\n")
    assert mimic("import", digits.manifest, "--dataset", "a", "--classes", ",".join(order))[0] == 0
    assert mimic("import", digits.manifest, "--dataset", "b", "--classes", tmp_path / "classes.txt")[0] == 0
    assert workspace.dataset("a").classes == workspace.dataset("b").classes == order


class Malice:
    def __reduce__(self):
        return os.system, ("touch executed",)


def bad_inputs(folder: Path, digits: Digits) -> dict[str, tuple[list[object], str]]:
    """name → (command, words of the sentence)."""
    (folder / "empty").mkdir()
    rows = pd.read_csv(digits.manifest, dtype=str).assign(path=lambda t: str(digits.folder) + "/" + t["path"])
    rows.rename(columns={"label": "class"}).to_csv(folder / "columns.csv", index=False)
    rows.assign(id=["twice", "twice", *rows.index[2:].astype(str)]).to_csv(folder / "ids.csv", index=False)
    save_checkpoint(folder / "other.safetensors", build_model("small:convnet", 10).module.state_dict())
    (folder / "code.pt").write_bytes(pickle.dumps({"a": Malice()}))
    (folder / "header.safetensors").write_bytes(b"\xff" * 64)
    (folder / "words.json").write_text("[]")
    (folder / "bad.json").write_text('{"size": [28, 28], "mean": [0.5]}')
    (folder / "file").touch()
    twelve = build_model(MODEL, 12).module.state_dict()
    save_checkpoint(folder / "twelve.safetensors", twelve, {"classes": str([*"abcdefghijkl"]).replace("'", '"')})
    named = ["--dataset", "bad"]
    return {
        "missing folder": (["import", folder / "nowhere", *named], "does not exist"),
        "empty folder": (["import", folder / "empty", *named], "holds no images in class folders"),
        "no column": (["import", folder / "columns.csv", "--root", "/", *named], "no column label"),
        "duplicate ids": (["import", folder / "ids.csv", "--root", "/", *named], "the id 'twice' 2 times"),
        "outside the root": (["import", folder / "ids.csv", *named], "leads out of the root"),
        "label without class": (["import", digits.manifest, *named, "--classes", "1,2"], "has the label"),
        "unsafe name": (["import", digits.manifest, "--dataset", "../x"], "cannot name a data set"),
        "no data set": (["score", "none", "--model", MODEL, "--reference", digits.reference], "it has digits"),
        "label without output": (
            scoring(digits, reference=folder / "twelve.safetensors", start=folder / "twelve.safetensors"),
            "no output for the label '0'",
        ),
        "architecture": (scoring(digits, reference=folder / "other.safetensors"), "another architecture"),
        "pickle": (scoring(digits, reference=folder / "code.pt"), "code.pt"),
        "header": (scoring(digits, reference=folder / "header.safetensors"), "broken safetensors file"),
        "no checkpoint": (scoring(digits, reference="nowhere.safetensors"), "no such checkpoint"),
        "spec": (scoring(digits, model="module:no.such.module:make"), "does not import"),
        "spec's kind": (scoring(digits, model="magic:net"), "names no model"),
        "scope": (scoring(digits, scope="first"), "no scope 'first'"),
        "signal": (scoring(digits, signals="mimic,luck"), "no signal 'luck'"),
        "method": (scoring(digits, method="guess"), "method = 'guess'"),
        "split": (scoring(digits, split="val"), "no split 'val'"),
        "device": (scoring(digits, device="abacus"), "no device 'abacus'"),
        "preprocess": (scoring(digits, preprocess=folder / "bad.json"), "--preprocess"),
        "preprocess words": (scoring(digits, preprocess=folder / "words.json"), "no JSON object"),
        "the start itself": (scoring(digits, reference=digits.start), "equals the start"),
        "run": (["show", "nothing"], "it has none yet"),
        "runs": (["runs"], "has no runs yet"),
        "root": (["relocate", "digits", "--root", folder / "empty"], "does not hold images/0.png"),
    }


def test_every_mistake_is_one_sentence(mimic: Command, digits: Digits, tmp_path: Path, workspace: Workspace) -> None:
    for name, (arguments, words) in bad_inputs(tmp_path, digits).items():
        code, out, err = mimic(*arguments)
        assert (name, code, out) == (name, 2, "")
        assert words in err, name
        assert err.startswith("mimic: "), name
        assert err.count("\n") == 1, err
    assert workspace.runs() == []
    assert [dataset.name for dataset in workspace.datasets()] == ["digits"]
    assert not Path("executed").exists()


def test_no_permission_to_write(digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "mimic.cli", "import", str(digits.manifest), "--dataset", "d"]
    ended = subprocess.run([*command, "--workspace", str(tmp_path / "file/w")], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("mimic: cannot make the folder")
    assert ended.stderr.count("\n") == 1


SLOW = """
import time
from mimic.models.small import SMALL, small_preprocess

def make(num_classes):
    model = SMALL["mlp"](num_classes)
    model.register_forward_pre_hook(lambda module, args: time.sleep(0.2))
    return model, small_preprocess("mlp")
"""


def test_ctrl_c_says_how_to_go_on(digits: Digits, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "slow_factory.py").write_text(SLOW)
    arguments = scoring(digits, model="module:slow_factory:make", batch_size=64)
    command = [sys.executable, "-m", "mimic.cli", *arguments, "--workspace", str(workspace.path)]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    run = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored by what runs in the background
    )
    deadline = time.monotonic() + 60
    while run.poll() is None and not list(workspace.runs_folder.glob("*/parts/0*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=30)
    assert (run.returncode, out) == (130, "")
    assert "the same command goes on from there: mimic score digits --model module:slow_factory:make" in err
    assert "Traceback" not in err
    (interrupted,) = workspace.runs()
    done = progress(interrupted).done
    assert (interrupted.state, 0 < done < JUDGED) == ("interrupted", True)
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert again.returncode == 0
    assert f"{done} of 600 samples are done, going on" in again.stderr
    assert "600 scored" in again.stdout


def test_demo(mimic: Command, workspace: Workspace) -> None:
    torch.set_num_threads(1)
    code, out, err = mimic("demo", "--no-app")
    assert (code, "3,000 of 3,000" in err) == (0, True)
    assert "Good, by " in out
    assert out.splitlines()[-1] == f"next        mimic app {workspace.path}"
    labels, captions = (
        {row.split()[0]: float(row.split()[1]) for row in part.splitlines() if row.startswith((" mimic", " clip"))}
        for part in out.split("wrong captions of data set captions")
    )
    assert labels["mimic"] > 0.85
    assert (captions["clip"] > 0.7, captions["mimic"] > 0.7) == (True, True)
    assert {(run.dataset, run.size) for run in workspace.runs()} == {("sample", 3000), ("captions", 900)}
    code, again, err = mimic("demo", "--no-app")
    assert (code, again) == (0, out)
    assert "nothing was computed again" in err
    assert "nothing was computed again" in err


def test_a_run_is_deleted_only_when_it_is_said_for_sure(mimic: Command, workspace: Workspace) -> None:
    run = synthetic.build(workspace, 100, classes=3, pictures=2)
    code, _, err = mimic("runs", "--delete", run.id)
    assert (code, "add --yes to do it" in err, run.folder.exists()) == (2, True, True)
    code, out, _ = mimic("runs", "--delete", run.id, "--yes")
    assert (code, f"deleted run {run.id}" in out, run.folder.exists()) == (0, True, False)
    code, _, err = mimic("runs", "--delete", run.id, "--yes")
    assert (code, "no run 'synthetic-100'" in err) == (2, True)


def test_suggested_commands_name_the_workspace_and_the_environment_gives_it(
    mimic: Command, digits: Digits, workspace: Workspace, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    mimic(*scoring(digits))
    (run,) = workspace.runs()
    code, out, err = mimic("filter", "digits", "--rule", "mimic@top80%", "--name", "strict")
    assert (code, f"run {run.id}: the newest that scores data set digits" in err) == (0, True)
    (suggested,) = (line.partition(": ")[2] for line in out.splitlines() if line.startswith("saved "))
    assert suggested.endswith(f" --workspace {workspace.path}")
    _, _, err = mimic("show", "nothing")
    assert "no run 'nothing'" in err
    code, out, _ = mimic("show", "digits")
    assert (code, run.id in out) == (0, True)
    code, out, _ = mimic("runs")
    assert f"reference.safetensors {run.facts['reference']['sha256'][:6]}" in out
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIMIC_WORKSPACE", str(workspace.path))
    for command, code in ((shlex.split(suggested), 0), (["mimic", "show", run.id], 0)):
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert (ended.value.code or 0) == code
    assert (tmp_path / "strict.parquet").is_file()
    assert run.id in capsys.readouterr().out


def test_a_data_set_that_nobody_scored_is_no_run(mimic: Command, digits: Digits, workspace: Workspace) -> None:
    code, _, err = mimic("signal", "add", "digits")
    assert (code, f"`mimic score digits --workspace {workspace.path} …` makes one" in err) == (2, True)
